//! A fleet on hosts of its own: three of NATS, a coordinator, three workers, and the user's machine.
//! Everything speaks TLS; workers are known by certificate, the user by a token.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use longhaul_tests::certs::{Authority, Pair, secret};
use longhaul_tests::hosts::{Host, Net, Process, missing};
use longhaul_tests::nats::{self, NatsServer};
use longhaul_tests::{World, world};

/// How long a server may take to serve, and a program to end.
const READY_MAX: Duration = Duration::from_secs(60);

/// Members of the NATS cluster, and workers.
const THREE: usize = 3;

/// What a member of the cluster says when it knows who leads it: it listens, and there is a majority.
const LEADER_KNOWN: &[&str] =
    &["JetStream cluster new metadata leader", "Self is new JetStream cluster metadata leader"];

/// Whether such tests can run here; says why not. Under CI they must.
pub fn here() -> bool {
    let Some(reason) = missing() else { return true };
    assert!(std::env::var_os("CI").is_none(), "the tests on several hosts cannot run: {reason}");
    println!("skipped: {reason}");
    false
}

/// The server's binary; `None`, with the reason printed, where it is missing and may be.
pub fn nats_server() -> Option<PathBuf> {
    (!NatsServer::is_missing()).then(|| nats::binary().expect("nats-server is there"))
}

/// How it is seen that a program serves.
enum Ready {
    /// Any of these in its output.
    Says(&'static [&'static str]),
    /// A file it writes.
    File(PathBuf),
}

/// A host with the one program it is for.
pub struct Node {
    // Dropped in this order: the process before the host it runs on.
    process: Option<Process>,
    /// Where it runs.
    pub host: Host,
    command: Command,
    ready: Ready,
    logs: PathBuf,
    starts: u32,
}

impl Node {
    fn new(host: Host, command: Command, ready: Ready, folder: &Path) -> Self {
        Self { process: None, host, command, ready, logs: folder.join("logs"), starts: 0 }
    }

    /// Starts the program and returns without waiting for it.
    pub fn begin(&mut self) -> Result<()> {
        if let Ready::File(file) = &self.ready {
            drop(std::fs::remove_file(file));
        }
        std::fs::create_dir_all(&self.logs)?;
        self.starts += 1;
        self.process = Some(self.host.start(&self.command, &self.log())?);
        Ok(())
    }

    /// Waits until it serves.
    pub fn ready(&mut self) -> Result<()> {
        let log = self.log();
        let process = self.process.as_mut().context("it was not started")?;
        process.wait_until("ready", READY_MAX, || match &self.ready {
            Ready::Says(lines) => {
                std::fs::read_to_string(&log).is_ok_and(|said| lines.iter().any(|line| said.contains(line)))
            }
            Ready::File(file) => file.is_file(),
        })
    }

    /// Starts the program and waits until it serves.
    pub fn start(&mut self) -> Result<()> {
        self.begin()?;
        self.ready()
    }

    /// SIGKILL for everything on the host.
    pub fn power_off(&mut self) {
        self.host.power_off();
        self.process = None;
    }

    /// Asks it to end and waits for that.
    pub fn end(&mut self) -> Result<std::process::ExitStatus> {
        self.process.take().context("it was not started")?.terminate(READY_MAX)
    }

    fn log(&self) -> PathBuf {
        self.logs.join(format!("{}.{}.log", self.host.name(), self.starts))
    }
}

/// All of it. Nodes go before the net, and the net before the folder.
pub struct Fleet {
    /// The NATS cluster.
    pub nats: Vec<Node>,
    /// `longhaul serve`.
    pub coordinator: Node,
    /// `longhaul worker`, three times.
    pub workers: Vec<Node>,
    /// Where the user is.
    pub user: Host,
    _net: Net,
    /// The user's repository and job file.
    pub world: World,
    server: Vec<String>,
}

impl Fleet {
    /// A fleet for the job of a world; everything serves.
    pub fn start(world: World, nats_server: &Path) -> Result<Self> {
        let mut fleet = Self::stopped(world, nats_server)?;
        fleet.start_nats()?;
        fleet.coordinator.start()?;
        fleet.workers.iter_mut().try_for_each(Node::start)?;
        Ok(fleet)
    }

    /// Starts the cluster and waits until all of it knows its leader.
    pub fn start_nats(&mut self) -> Result<()> {
        self.nats.iter_mut().try_for_each(Node::begin)?;
        self.nats.iter_mut().try_for_each(Node::ready)
    }

    /// The same with nothing running.
    pub fn stopped(world: World, nats_server: &Path) -> Result<Self> {
        let folder = world.folder().join("fleet");
        let net = Net::new()?;
        let authority = Authority::new(&folder.join("certs"))?;
        // Whoever may join the cluster sees everything: those certificates have their own authority.
        let inner = Authority::new(&folder.join("cluster"))?;
        let hosts = ["n1", "n2", "n3"].map(|name| net.host(name));
        let hosts = hosts.into_iter().collect::<Result<Vec<_>>>()?;
        let addresses: Vec<String> = hosts.iter().map(|host| host.address().to_owned()).collect();
        let mut nats = Vec::with_capacity(THREE);
        for host in hosts {
            let config = nats_config(&host, &addresses, &[&authority, &inner], &folder)?;
            let mut command = Command::new(nats_server);
            command.arg("--config").arg(config).env(world::MARK, world.folder());
            nats.push(Node::new(host, command, Ready::Says(LEADER_KNOWN), &folder));
        }
        let urls: Vec<String> = addresses.iter().map(|address| format!("tls://{address}:4222")).collect();
        let place = Place { world: &world, folder: &folder, authority: &authority, nats: urls.join(",") };
        let token = folder.join("you.token");
        let coordinator = place.coordinator(net.host("serve")?, &token)?;
        let url = format!("https://{}:7117", coordinator.host.address());
        let workers = ["w1", "w2", "w3"].map(|name| place.worker(net.host(name)?, &url));
        let workers = workers.into_iter().collect::<Result<Vec<_>>>()?;
        let user = net.host("user")?;
        let paths = [("--token-file", token), ("--ca", authority.ca())];
        let mut server = vec!["--server".to_owned(), url];
        server.extend(paths.into_iter().flat_map(|(option, path)| [option.to_owned(), text(&path)]));
        Ok(Self { nats, coordinator, workers, user, _net: net, world, server })
    }

    /// The binary with arguments, on the user's machine.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.args(&self.server);
        self.user.inside(&command)
    }

    /// Starts a verb on the user's machine.
    pub fn begin(&self, args: &[&str], log: &str) -> Result<Process> {
        let mut command = self.world.command(args);
        command.args(&self.server);
        self.user.start(&command, &self.world.folder().join(log))
    }

    /// Runs a verb on the user's machine to its end; gives its stdout.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let out = self.command(args).output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "longhaul {args:?}: {}\n{said}", out.status);
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// What the programs of a fleet have in common.
struct Place<'a> {
    world: &'a World,
    folder: &'a Path,
    authority: &'a Authority,
    nats: String,
}

impl Place<'_> {
    fn coordinator(&self, host: Host, token: &Path) -> Result<Node> {
        let pair = self.authority.server("serve", &[host.address()])?;
        let ready = self.folder.join("serve.ready");
        let mut command = self.world.command(&["serve"]);
        command.arg("--state-dir").arg(self.folder.join("serve"));
        command.arg("--listen").arg(format!("{}:7117", host.address()));
        command.args(["--nats-replicas", "3"]);
        command.arg("--access").arg(access(self.folder, token)?);
        command.arg("--tls-cert").arg(&pair.cert).arg("--tls-key").arg(&pair.key);
        command.arg("--client-ca").arg(self.authority.ca());
        self.bus(&mut command, &pair);
        command.arg("--ready-file").arg(&ready);
        Ok(Node::new(host, command, Ready::File(ready), self.folder))
    }

    fn worker(&self, host: Host, server: &str) -> Result<Node> {
        let pair = self.authority.client(host.name())?;
        let ready = self.folder.join(format!("{}.ready", host.name()));
        let mut command = self.world.command(&["worker", "--name", host.name(), "--server", server]);
        command.arg("--root").arg(self.folder.join(host.name()));
        command.args(["--slots", "2", "--gates", "1", "--drain-timeout", "20s"]);
        command.arg("--ca").arg(self.authority.ca()).arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
        self.bus(&mut command, &pair);
        command.arg("--ready-file").arg(&ready);
        Ok(Node::new(host, command, Ready::File(ready), self.folder))
    }

    fn bus(&self, command: &mut Command, pair: &Pair) {
        command.args(["--nats", &self.nats, "--fleet", "hosts"]).arg("--nats-ca").arg(self.authority.ca());
        command.arg("--nats-cert").arg(&pair.cert).arg("--nats-key").arg(&pair.key);
    }
}

/// The configuration of one member; `authorities` are that of the clients and that of the cluster.
fn nats_config(host: &Host, members: &[String], authorities: &[&Authority; 2], folder: &Path) -> Result<PathBuf> {
    let tls = authorities
        .iter()
        .map(|authority| {
            let pair = authority.server(host.name(), &[host.address()])?;
            let [cert, key, ca] = [&pair.cert, &pair.key, &authority.ca()].map(|path| text(path));
            Ok(format!("tls {{ cert_file: '{cert}', key_file: '{key}', ca_file: '{ca}', verify: true }}"))
        })
        .collect::<Result<Vec<String>>>()?;
    let (name, address, [outer, inner]) = (host.name(), host.address(), [&tls[0], &tls[1]]);
    let routes: Vec<String> = members.iter().map(|member| format!("'tls://{member}:6222'")).collect();
    let (routes, store) = (routes.join(", "), text(&folder.join(name)));
    let config = folder.join(format!("{name}.conf"));
    std::fs::write(
        &config,
        format!(
            "server_name: {name}\nlisten: '{address}:4222'\n{outer}\njetstream {{ store_dir: '{store}' }}\n\
             cluster {{ name: hosts, listen: '{address}:6222', routes: [{routes}], {inner} }}\n"
        ),
    )?;
    Ok(config)
}

/// Writes the user's token and who may do what.
fn access(folder: &Path, token: &Path) -> Result<PathBuf> {
    let mut random = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    secret(token, &random.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
    let hashed = Command::new("sha256sum").arg(token).output().context("sha256sum")?;
    let hash = String::from_utf8(hashed.stdout)?.chars().take(64).collect::<String>();
    let mut entries =
        format!("[[token]]\nname = \"you\"\nroles = [\"submit\", \"approve\", \"read\"]\nsha256 = \"{hash}\"\n");
    for worker in ["w1", "w2", "w3"] {
        entries += &format!("[[certificate]]\nname = \"{worker}\"\nroles = [\"work\"]\n");
    }
    let file = folder.join("access.toml");
    std::fs::write(&file, entries)?;
    Ok(file)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
