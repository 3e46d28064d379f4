//! A real nats-server that dies with the test.
//!
//! It listens on a free port of 127.0.0.1 and keeps everything in a folder of its own. A shell
//! holds it: when the test ends, however it ends, the shell's input closes and it kills the server.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

/// Names the binary, before `target/tools/bin/nats-server`.
pub const BINARY: &str = "LONGHAUL_NATS_SERVER";

/// Set, a test that needs the server fails without it; so it does under CI.
pub const REQUIRED: &str = "LONGHAUL_REQUIRE_NATS";

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// How often its port file is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Starts its arguments, says their process id, and kills them when its input closes.
const HOLD: &str = r#""$@" </dev/null >/dev/null 2>&1 & echo $!; read -r _; kill -9 $!; wait"#;

/// One server, running or killed.
pub struct NatsServer {
    folder: tempfile::TempDir,
    binary: PathBuf,
    args: Vec<String>,
    port: u16,
    held: Option<(Child, Pid)>,
}

/// The server's binary, if it is installed.
pub fn binary() -> Result<PathBuf> {
    let named = std::env::var_os(BINARY).map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let binary = named.unwrap_or_else(|| root.join("target/tools/bin/nats-server"));
    if !binary.is_file() {
        bail!("{} is not there: run `make setup-nats`, or name one in {BINARY}", binary.display());
    }
    Ok(binary)
}

impl NatsServer {
    /// Starts a server with JetStream; further arguments as on its command line.
    pub fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("longhaul-nats-").tempdir()?;
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut server = Self { folder, binary: binary()?, args, port: 0, held: None };
        server.run()?;
        Ok(server)
    }

    /// Starts a server with a configuration file of this text.
    pub fn configured(text: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("longhaul-nats-").tempdir()?;
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, text)?;
        let args = vec!["-c".to_owned(), file.display().to_string()];
        let mut server = Self { folder, binary: binary()?, args, port: 0, held: None };
        server.run()?;
        Ok(server)
    }

    /// Whether a test that needs a server has to be left out; the reason is printed.
    pub fn is_missing() -> bool {
        let required = std::env::var_os("CI").is_some() || std::env::var_os(REQUIRED).is_some();
        match binary() {
            Err(error) if !required => {
                eprintln!("skipped: {error:#}");
                true
            }
            _ => false,
        }
    }

    /// A server for a test; `None`, with the reason printed, where the binary is missing and may be.
    pub fn for_test(start: impl FnOnce() -> Result<Self>) -> Option<Self> {
        (!Self::is_missing()).then(|| start().expect("nats-server starts"))
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// `127.0.0.1:port`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process; `None` while it is killed.
    pub fn pid(&self) -> Option<Pid> {
        self.held.as_ref().map(|(_, pid)| *pid)
    }

    /// Sends a signal, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the server is not running")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Kills it, as SIGKILL does; its store stays.
    pub fn kill(&mut self) {
        if let Some((mut shell, _)) = self.held.take() {
            drop(shell.stdin.take());
            let _ended = shell.wait();
        }
    }

    /// Deletes its store; for a server that is killed.
    pub fn wipe(&self) -> Result<()> {
        let store = self.store();
        if store.exists() {
            std::fs::remove_dir_all(store)?;
        }
        Ok(())
    }

    /// Starts it again on the same port, killing it first.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn run(&mut self) -> Result<()> {
        let ports = tempfile::Builder::new().prefix("ports-").tempdir_in(self.folder.path())?;
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD, "hold"]).arg(&self.binary).args(&self.args);
        shell.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]).arg(self.store());
        shell.arg("-l").arg(self.log()).arg("--ports_file_dir").arg(ports.path());
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("sh")?;
        let mut said = String::new();
        BufReader::new(shell.stdout.take().context("piped")?).read_line(&mut said)?;
        let pid = Pid::from_raw(said.trim().parse()?).context("a process id")?;
        self.held = Some((shell, pid));
        self.port = self.listening(ports.path(), pid)?;
        Ok(())
    }

    /// Waits for the port file, which names the process and is written when it listens.
    fn listening(&self, ports: &Path, pid: Pid) -> Result<u16> {
        let file = ports.join(format!("nats-server_{}.ports", pid.as_raw_nonzero()));
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let listens = serde_json::from_str::<serde_json::Value>(&text).ok();
            let url = listens.as_ref().and_then(|listens| listens["nats"][0].as_str());
            if let Some(port) = url.and_then(|url| url.rsplit(':').next()) {
                return Ok(port.parse()?);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        bail!("nats-server does not listen after {START_MAX:?}; it said:\n{log}")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
