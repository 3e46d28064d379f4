//! Ways out, each of which a boundary has to close. `Ok` says what was reached.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::mount::MountFlags;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Signal};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Tries one way.
pub fn attempt(what: &str, to: &[&str]) -> anyhow::Result<String> {
    let first = to.first().copied().unwrap_or_default();
    match what {
        "write" => done(fs::write(first, "x").is_ok() || append(first).is_ok(), "written"),
        "remove" => fs::remove_file(first).map(|()| "removed".to_owned()).map_err(Into::into),
        "move-in" => fs::rename(first, "moved").map(|()| "moved".to_owned()).map_err(Into::into),
        "chmod" => Ok(fs::set_permissions(first, fs::Permissions::from_mode(0o777)).map(|()| "changed".to_owned())?),
        "read" => read(first),
        "read-any" => {
            to.iter().find_map(|path| fs::read(path).ok()).map(|bytes| format!("{} bytes", bytes.len())).context("none")
        }
        "write-by-link" => {
            std::os::unix::fs::symlink(first, "link")?;
            done(fs::write("link", "x").is_ok(), "written")
        }
        "read-by-link" => {
            std::os::unix::fs::symlink(first, "link")?;
            read("link")
        }
        "read-by-hard-link" => {
            fs::hard_link(first, "hard")?;
            read("hard")
        }
        "move-git" => {
            fs::rename(".git", "git-before")?;
            fs::create_dir_all(".git/hooks")?;
            Ok("moved away".to_owned())
        }
        "answer-for-init" => answer_for_init(),
        "environments" => environments(first),
        "gateway" => gateway(first),
        "fetch" => fetch(first),
        "device" => device(),
        "signal" => signal(first),
        "python" => python(first, to.get(1).copied().unwrap_or("0")),
        "unshare" => {
            #[expect(deprecated, reason = "the safe form, without CLONE_FILES")]
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWUSER)?;
            Ok("a user namespace".to_owned())
        }
        "mount" => {
            fs::create_dir_all("at")?;
            rustix::mount::mount("tmpfs", "at", "tmpfs", MountFlags::empty(), None)?;
            Ok("mounted".to_owned())
        }
        "tcp" => connect(first),
        "udp" => {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"out", first)?;
            bail!("sent; whether it came is seen outside")
        }
        "unix" => UnixStream::connect(first).map(|_| "connected".to_owned()).map_err(Into::into),
        "datagram" => {
            std::os::unix::net::UnixDatagram::unbound()?.send_to(b"out", first)?;
            Ok("sent".to_owned())
        }
        "own-socket" => own_socket(),
        "abstract" => {
            let address = SocketAddr::from_abstract_name(first)?;
            UnixStream::connect_addr(&address).map(|_| "connected".to_owned()).map_err(Into::into)
        }
        "socket" => {
            let family: u16 = first.parse()?;
            rustix::net::socket(AddressFamily::from_raw(family), SocketType::DGRAM, None)?;
            Ok("a socket".to_owned())
        }
        "fork" => fork(),
        "memory" => memory(),
        "fill" => fill(),
        "sleep" => {
            std::thread::sleep(Duration::from_secs(50));
            Ok("slept on".to_owned())
        }
        "work" => work(),
        other => bail!("no such try: {other}"),
    }
}

fn done(escaped: bool, what: &str) -> anyhow::Result<String> {
    if escaped { Ok(what.to_owned()) } else { bail!("refused") }
}

/// What is covered is there and empty.
fn read(path: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    anyhow::ensure!(!text.is_empty(), "it is empty");
    Ok(text)
}

fn append(path: &str) -> std::io::Result<()> {
    fs::File::options().append(true).open(path)?.write_all(b"x")
}

/// Reads what any other process was started with, and looks for a word in it.
fn environments(word: &str) -> anyhow::Result<String> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(word) {
            return Ok(entry.path().display().to_string());
        }
    }
    bail!("in no process that can be looked into")
}

/// Reaches the gateway, which is what is wanted.
fn gateway(port: &str) -> anyhow::Result<String> {
    ask(&format!("127.0.0.1:{port}"), "who is there?")
}

/// Reaches the one listed address through the proxy, and nothing in any other way.
fn fetch(listed: &str) -> anyhow::Result<String> {
    anyhow::ensure!(ask(listed, "GET / HTTP/1.0\r\n\r\n").is_err(), "reached without the proxy");
    let proxy = std::env::var("HTTP_PROXY")?;
    let proxy = proxy.strip_prefix("http://").context("the proxy's address")?;
    let through = |authority: &str| ask(proxy, &format!("GET http://{authority}/ HTTP/1.0\r\n\r\n"));
    let said = through(listed)?;
    anyhow::ensure!(said.ends_with("from outside"), "{said}");
    for unlisted in [listed.replace("127.0.0.1", "localhost"), "127.0.0.1:1".to_owned()] {
        let said = through(&unlisted)?;
        anyhow::ensure!(said.starts_with("HTTP/1.1 403"), "{unlisted}: {said}");
    }
    Ok("through the proxy alone".to_owned())
}

fn ask(address: &str, words: &str) -> anyhow::Result<String> {
    let mut server = std::net::TcpStream::connect_timeout(&address.parse()?, CONNECT_MAX)?;
    server.write_all(words.as_bytes())?;
    let mut said = String::new();
    server.read_to_string(&mut said)?;
    Ok(said)
}

/// Says in the place of the first process how the program ended.
fn answer_for_init() -> anyhow::Result<String> {
    for number in 0..16 {
        if let Ok(mut file) = fs::File::options().write(true).open(format!("/proc/1/fd/{number}")) {
            file.write_all(b"{\"exited\":0}")?;
            return Ok(format!("wrote to its file {number}"));
        }
    }
    bail!("none of its files can be opened")
}

/// Reads a disk behind the file system's back.
fn device() -> anyhow::Result<String> {
    use std::os::unix::fs::FileTypeExt as _;
    for entry in fs::read_dir("/dev")?.flatten() {
        let is_raw = entry.file_type().is_ok_and(|kind| kind.is_block_device());
        let is_memory = ["mem", "kmem", "port"].iter().any(|name| entry.file_name() == *name);
        let mut byte = [0];
        if (is_raw || is_memory) && fs::File::open(entry.path()).is_ok_and(|mut file| file.read(&mut byte).is_ok()) {
            return Ok(entry.path().display().to_string());
        }
    }
    bail!("no device can be read")
}

fn signal(pid: &str) -> anyhow::Result<String> {
    let pid = Pid::from_raw(pid.parse()?).context("a process id")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    Ok("sent".to_owned())
}

/// A system call that safe Rust has no word for: its number with arguments, by libc.
fn python(call: &str, pid: &str) -> anyhow::Result<String> {
    let script = match call {
        // PTRACE_SEIZE
        "ptrace" => "r = c.ptrace(0x4206, P, 0, 0)",
        "process_vm_readv" => "r = c.syscall(310, P, 0, 0, 0, 0, 0)",
        "pidfd_getfd" => "r = c.syscall(438, c.syscall(434, P, 0), 0, 0)",
        "keyctl" => "r = c.syscall(250, 0, -3, 1)",
        "bpf" => "r = c.syscall(321, 0, 0, 0)\nif ctypes.get_errno() == 22: r = 0",
        "io_uring" => "r = c.syscall(425, 1, ctypes.create_string_buffer(120))",
        "userfaultfd" => "r = c.syscall(323, 1)",
        "perf" => {
            "r = c.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)\nif ctypes.get_errno() in (2, 22): r = 0"
        }
        // CLONE_NEWUSER by clone: the child ends at once.
        "clone" => "r = c.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\nif r == 0: os._exit(0)",
        // getpid by the x32 numbering, which exists on few kernels; unshare by it.
        "x32" => "r = c.syscall(0x40000000 | 272, 0x10000000)",
        _ => bail!("no such call: {call}"),
    };
    let script = format!(
        "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\nP = {pid}\n{script}\nprint(r, os.strerror(ctypes.get_errno()))\nraise SystemExit(0 if r != -1 else 1)"
    );
    let out = Command::new("/usr/bin/python3").args(["-I", "-c", &script]).output()?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if out.status.success() { Ok(said) } else { bail!("{said} {}", String::from_utf8_lossy(&out.stderr)) }
}

fn connect(address: &str) -> anyhow::Result<String> {
    std::net::TcpStream::connect_timeout(&address.parse()?, CONNECT_MAX)?;
    Ok("connected".to_owned())
}

/// A server and its client, both inside.
fn own_socket() -> anyhow::Result<String> {
    let listener = std::os::unix::net::UnixListener::bind("own.sock")?;
    UnixStream::connect("own.sock")?.write_all(b"from inside")?;
    let mut said = String::new();
    listener.accept()?.0.read_to_string(&mut said)?;
    Ok(said)
}

fn fork() -> anyhow::Result<String> {
    let mut children = Vec::new();
    for count in 0..2_000 {
        match Command::new("sleep").arg("50").spawn() {
            Ok(child) => children.push(child),
            Err(error) => bail!("after {count}: {error}"),
        }
    }
    Ok(format!("{} processes", children.len()))
}

fn memory() -> anyhow::Result<String> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    // Slower than the shim looks: what counts is that it is found.
    for _ in 0..100 {
        held.push(vec![1; 8 << 20]);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(format!("{} blocks", held.len()))
}

fn fill() -> anyhow::Result<String> {
    let mut file = fs::File::create("large")?;
    for _ in 0..8 {
        file.write_all(&vec![0; 1 << 20])?;
    }
    Ok("8 MiB in a file".to_owned())
}

/// What ordinary programs do, and must be able to; the failure names what they cannot.
fn work() -> anyhow::Result<String> {
    use std::os::unix::net::UnixDatagram;
    fs::write("file", "x").context("a file in the workspace")?;
    fs::create_dir_all("folder/below").and_then(|()| fs::rename("file", "folder/below/file")).context("a move")?;
    fs::hard_link("folder/below/file", "linked").context("a hard link in the workspace")?;
    fs::write("/dev/null", "x").context("/dev/null")?;
    fs::read_to_string("/proc/self/status").context("/proc/self")?;
    let (one, two) = UnixDatagram::pair().context("a pair of sockets")?;
    one.send(b"x").and_then(|_| two.recv(&mut [0])).context("a pair of sockets")?;
    let echo = Command::new("sh").args(["-c", "echo a | cat"]).output().context("a shell")?;
    anyhow::ensure!(echo.stdout == b"a\n", "a pipe");
    let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || n)).collect();
    anyhow::ensure!(threads.into_iter().all(|thread| thread.join().is_ok()), "threads");
    let git = Command::new("git").args(["status", "--short"]).output().context("git")?;
    anyhow::ensure!(git.status.success(), "git status: {}", String::from_utf8_lossy(&git.stderr));
    Ok("all of it works".to_owned())
}
