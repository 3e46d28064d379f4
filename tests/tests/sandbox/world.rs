//! A machine with something to lose: secrets, sockets, processes and other slots, below one folder.

use std::io::BufRead as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The user of tries that are not root's: nobody on every machine.
const NOBODY: u32 = 65_534;

/// As whom a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Whoever runs the tests.
    Itself,
    /// A user without rights; only root can become it.
    Nobody,
}

/// Everything a try could reach.
pub struct World {
    pub folder: tempfile::TempDir,
    pub who: As,
    pub victim: Child,
    pub tcp: TcpListener,
    pub udp: UdpSocket,
    /// What stands in its files that nobody may read.
    pub secret: &'static str,
    _sockets: (Vec<UnixListener>, UnixDatagram),
}

impl World {
    pub fn new(who: As) -> Self {
        let folder = tempfile::Builder::new().prefix("longhaul-escape-").tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        let secret = "planted-secret-of-the-worker";
        for made in [
            "home/.ssh",
            "state/run",
            "outside",
            "worker/slots/own/tmp",
            "worker/slots/own/cache",
            "worker/slots/other/ws",
        ] {
            std::fs::create_dir_all(at(made)).expect("made");
        }
        for file in ["home/.ssh/id", "home/.netrc", "state/token", "outside/kept", "worker/slots/other/ws/code"] {
            std::fs::write(at(file), secret).expect("written");
        }
        let ws = at("worker/slots/own/ws");
        git(&["init", "--quiet"], &ws);
        std::fs::create_dir_all(ws.join(".git/hooks")).expect("made");
        std::fs::write(ws.join(".git/commondir"), ".\n").expect("written");
        std::fs::write(at("home/longhaul.toml"), "a job").expect("written");
        let name = folder.path().display().to_string();
        let log = UnixDatagram::bind(at("home/log.sock")).expect("bound");
        std::os::unix::fs::symlink(at("outside/service.sock"), at("home/by-link.sock")).expect("linked");
        let sockets = vec![
            UnixListener::bind(at("outside/service.sock")).expect("bound"),
            UnixListener::bind(at("state/run/control.sock")).expect("bound"),
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("bound"),
        ];
        let mut victim = Command::new("sh");
        victim.args(["-c", "echo up; exec sleep 600"]).env("PLANTED", secret).current_dir(folder.path());
        victim.stdout(Stdio::piped());
        if who == As::Nobody {
            give(folder.path());
            victim.uid(NOBODY).gid(NOBODY);
        }
        let mut victim = victim.spawn().expect("starts");
        let mut up = String::new();
        std::io::BufReader::new(victim.stdout.take().expect("piped")).read_line(&mut up).expect("says so");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        udp.set_nonblocking(true).expect("set");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        Self { folder, who, victim, tcp, udp, secret, _sockets: (sockets, log) }
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Replaces `{…}` in the words of a try.
    pub fn fill(&self, text: &str) -> String {
        let pairs = [
            ("{home}", self.at("home").display().to_string()),
            ("{state}", self.at("state").display().to_string()),
            ("{outside}", self.at("outside").display().to_string()),
            ("{other}", self.at("worker/slots/other").display().to_string()),
            ("{folder}", self.folder.path().display().to_string()),
            ("{victim}", self.victim.id().to_string()),
            ("{secret}", self.secret.to_owned()),
            ("{tcp}", self.tcp.local_addr().expect("bound").to_string()),
            ("{udp}", self.udp.local_addr().expect("bound").to_string()),
        ];
        pairs.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Runs the worker's side; its answer.
    pub fn host(&self, setting: &str, tried: &[String]) -> Value {
        let mut command = helper(self.who);
        command.arg("host").arg(self.folder.path()).arg(machine(self.who).to_string()).arg(setting).args(tried);
        command.env("HOME", self.at("home")).env("ESCAPE_MARK", self.folder.path());
        answer(command)
    }

    /// What of the world was changed, in words.
    pub fn damage(&mut self) -> Vec<String> {
        let mut damage = Vec::new();
        for file in ["home/.ssh/id", "home/.netrc", "state/token", "outside/kept", "worker/slots/other/ws/code"] {
            let path = self.at(file);
            if std::fs::read_to_string(&path).ok().as_deref() != Some(self.secret) {
                damage.push(format!("{file} is another"));
            }
            if std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o777) {
                damage.push(format!("{file} is open"));
            }
        }
        for file in ["outside/new", "worker/slots/other/ws/new", "home/new"] {
            if self.at(file).exists() {
                damage.push(format!("{file} is there"));
            }
        }
        if self.udp.recv(&mut [0; 8]).is_ok() {
            damage.push("a datagram came".to_owned());
        }
        if !matches!(self.victim.try_wait(), Ok(None)) {
            damage.push("another's process has ended".to_owned());
        }
        damage
    }

    /// Processes that carry this world's mark.
    pub fn leftovers(&self) -> Vec<String> {
        let mark = format!("ESCAPE_MARK={}", self.folder.path().display());
        let processes = std::fs::read_dir("/proc").expect("there").flatten();
        let marked = processes.filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        });
        marked.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ended = self.victim.kill();
        let _reaped = self.victim.wait();
    }
}

/// What the machine grants a user, found once.
pub fn machine(who: As) -> &'static Value {
    static FOUND: [OnceLock<Value>; 2] = [OnceLock::new(), OnceLock::new()];
    FOUND[usize::from(who == As::Nobody)].get_or_init(|| {
        let mut command = helper(who);
        command.arg("machine");
        let found = answer(command);
        eprintln!("{who:?}: {found}");
        found
    })
}

/// Whether tries can be made as a user: only root becomes nobody, who must be able to execute the helper.
pub fn can_be(who: As) -> bool {
    let able = who == As::Itself || (rustix::process::geteuid().is_root() && helper(who).status().is_ok());
    if !able {
        eprintln!("skipped: {who:?} cannot be had here");
    }
    able
}

/// The helper beside the tests, as a user.
fn helper(who: As) -> Command {
    let mut command = Command::new(longhaul_tests::world::binary().with_file_name("escape"));
    command.current_dir("/").stdin(Stdio::null());
    if who == As::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn answer(mut command: Command) -> Value {
    let out = command.output().expect("the helper starts");
    let said = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&out.stderr)))
}

fn git(args: &[&str], at: &Path) {
    std::fs::create_dir_all(at).expect("made");
    let done = Command::new("git").arg("-C").arg(at).args(args).status().expect("git");
    assert!(done.success());
}

/// Hands a tree to nobody.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).expect("listed").flatten().for_each(|entry| give(&entry.path()));
    }
}
