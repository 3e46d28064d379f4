//! A fleet of real processes on loopback: nats-server, one coordinator, workers. Every link may go
//! through a proxy of its own, every disk may be a small one.

mod disk;
mod extras;
mod guard;
mod process;
mod ready;

pub use disk::SmallDisk;
pub use extras::Extras;
pub use guard::{Guard, Person};
pub use process::Process;
pub use ready::{READY_MAX, wait_ready};

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::World;
use crate::nats::NatsServer;
use crate::proxy::{Proxy, Settings};

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    /// Workers, named `w1`, `w2` …
    pub workers: usize,
    /// Subtasks a worker executes at once.
    pub slots: usize,
    /// Time of silence after which a lease is lost, as `serve --lease` takes it.
    pub lease: String,
    /// Every process reaches NATS, and every worker the server, through a proxy of its own.
    pub proxied: bool,
    /// Bytes of the disks of the coordinator and of each worker; 0 for no limit.
    pub disk_bytes: u64,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self { workers: 2, slots: 2, lease: "30s".to_owned(), proxied: false, disk_bytes: 0 }
    }
}

/// A process of the fleet, with its links and its disk.
pub struct Member {
    /// `serve`, or a worker's name.
    pub name: String,
    /// Its folder of state.
    pub root: PathBuf,
    /// Between it and NATS.
    pub to_nats: Option<Proxy>,
    /// Between it and the server; workers only.
    pub to_server: Option<Proxy>,
    /// Its disk, where that is small.
    pub disk: Option<SmallDisk>,
    /// The process, while it runs.
    pub process: Option<Process>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
}

/// The whole fleet; dropped, it ends everything it started.
pub struct Fleet {
    /// What the proxies run on.
    runtime: tokio::runtime::Runtime,
    /// The messaging server.
    pub nats: NatsServer,
    /// The coordinator.
    pub server: Member,
    /// In order of their names.
    pub workers: Vec<Member>,
    /// Where the server listens, past all proxies.
    pub address: String,
    extras: Extras,
}

impl Fleet {
    /// Starts everything in a world's folder and waits until it serves.
    pub fn start(world: &World, spec: &FleetSpec) -> anyhow::Result<Self> {
        Self::start_with(world, spec, Extras::default())
    }

    /// As [`Fleet::start`], with whatever else its processes are given.
    pub fn start_with(world: &World, spec: &FleetSpec, extras: Extras) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let nats = match &extras.guard {
            Some(guard) => NatsServer::configured(&guard.nats_config()?)?,
            None => NatsServer::start(&[])?,
        };
        let mut server = Member::new(world, "serve", spec)?;
        server.env = extras.env_of("serve");
        server.to_nats = proxy(&runtime, spec, &nats.addr())?;
        server.arguments = vec![
            "serve".into(),
            "--state-dir".into(),
            server.root.display().to_string(),
            "--nats".into(),
            extras.nats_url(server.nats_url(&nats)),
            "--lease".into(),
            spec.lease.clone(),
        ];
        server.arguments.extend(extras.arguments_of("serve"));
        // Last, so that it can be replaced.
        server.arguments.extend(["--listen".into(), "127.0.0.1:0".into()]);
        let address = server.begin(world)?;
        // From now on always at the same place, so that proxies and workers find it again.
        if let Some(last) = server.arguments.last_mut() {
            last.clone_from(&address);
        }
        let mut fleet = Self { runtime, nats, server, workers: Vec::new(), address, extras };
        for n in 1..=spec.workers {
            let worker = fleet.worker(world, spec, &format!("w{n}"), &[])?;
            fleet.workers.push(worker);
        }
        Ok(fleet)
    }

    /// One more worker, with further arguments; returns once it serves.
    pub fn join(&mut self, world: &World, name: &str, further: &[&str]) -> anyhow::Result<()> {
        let worker = self.worker(world, &FleetSpec::default(), name, further)?;
        self.workers.push(worker);
        Ok(())
    }

    fn worker(&self, world: &World, spec: &FleetSpec, name: &str, further: &[&str]) -> anyhow::Result<Member> {
        let mut worker = Member::new(world, name, spec)?;
        worker.to_nats = proxy(&self.runtime, spec, &self.nats.addr())?;
        worker.to_server = proxy(&self.runtime, spec, &self.address)?;
        let server = worker.to_server.as_ref().map_or_else(|| self.address.clone(), |proxy| proxy.addr().to_string());
        worker.arguments = vec![
            "worker".into(),
            "--name".into(),
            name.into(),
            "--root".into(),
            worker.root.display().to_string(),
            "--nats".into(),
            self.extras.nats_url(worker.nats_url(&self.nats)),
            "--server".into(),
            format!("{}://{server}", self.extras.scheme()),
            "--slots".into(),
            spec.slots.to_string(),
            "--drain-timeout".into(),
            "5s".into(),
            "--disk-free".into(),
            "8m".into(),
        ];
        let mut further: Vec<String> = further.iter().map(|&argument| argument.to_owned()).collect();
        further.extend(self.extras.arguments_of(name));
        if !further.iter().any(|argument| argument == "--gates") {
            further.extend(["--gates".into(), "1".into()]);
        }
        worker.arguments.extend(further);
        worker.env = self.extras.env_of(name);
        worker.begin(world)?;
        Ok(worker)
    }

    /// The server's URL for the command line.
    pub fn url(&self) -> String {
        format!("{}://{}", self.extras.scheme(), self.address)
    }

    /// All members, the coordinator first.
    pub fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        std::iter::once(&mut self.server).chain(&mut self.workers)
    }
}

/// A proxy in front of an address, where the fleet has proxies.
fn proxy(runtime: &tokio::runtime::Runtime, spec: &FleetSpec, upstream: &str) -> anyhow::Result<Option<Proxy>> {
    let start = || runtime.block_on(Proxy::start(upstream, Settings::default()));
    Ok(spec.proxied.then(start).transpose()?)
}

impl Member {
    fn new(world: &World, name: &str, spec: &FleetSpec) -> anyhow::Result<Self> {
        let root = world.folder().join(name);
        std::fs::create_dir_all(&root)?;
        let disk = (spec.disk_bytes > 0).then(|| SmallDisk::mount(&root, spec.disk_bytes)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            root,
            to_nats: None,
            to_server: None,
            disk,
            process: None,
            arguments: Vec::new(),
            env: Vec::new(),
        })
    }

    fn nats_url(&self, nats: &NatsServer) -> String {
        self.to_nats.as_ref().map_or_else(|| nats.url(), |proxy| format!("nats://{}", proxy.addr()))
    }

    /// Starts its process and waits until it serves; gives its address.
    pub fn begin(&mut self, world: &World) -> anyhow::Result<String> {
        self.launch(world)?;
        let process = self.process.as_mut().context("just started")?;
        wait_ready(process, &ready_file(world, &self.name)).with_context(|| format!("{} does not serve", self.name))
    }

    /// Starts its process without waiting for it.
    pub fn launch(&mut self, world: &World) -> anyhow::Result<()> {
        let ready = ready_file(world, &self.name);
        drop(std::fs::remove_file(&ready));
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let ready = ready.display().to_string();
        arguments.extend(["--ready-file", &ready]);
        let mut command = world.command(&arguments);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("LONGHAUL_CLOCK_OFFSET_FILE", clock_file(world, &self.name));
        if let Some(disk) = &self.disk {
            command = disk.inside(command);
        }
        self.process = Some(Process::spawn(command, &world.folder().join(format!("{}.log", self.name)))?);
        Ok(())
    }

    /// Sets its wall clock off by so many milliseconds.
    pub fn jump_clock(&self, world: &World, offset_ms: i64) -> std::io::Result<()> {
        let (path, making) = (clock_file(world, &self.name), clock_file(world, &format!("{}.new", self.name)));
        std::fs::write(&making, offset_ms.to_string())?;
        std::fs::rename(making, path)
    }

    /// What it wrote to its log.
    pub fn log(&self, world: &World) -> String {
        std::fs::read_to_string(world.folder().join(format!("{}.log", self.name))).unwrap_or_default()
    }
}

fn ready_file(world: &World, name: &str) -> PathBuf {
    world.folder().join(format!("{name}.ready"))
}

fn clock_file(world: &World, name: &str) -> PathBuf {
    world.folder().join(format!("{name}.clock"))
}

/// Whether a file holds some text already; for waiting without sleeping long.
pub fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| found.contains(text))
}
