//! `longhaul worker`: works for a server until it is told to leave.
//!
//! SIGTERM and SIGINT drain: what runs is finished or handed back, what is finished is delivered.
//! A second one ends at once; a finished result that was not delivered stays in the worker's folder
//! for its next start under the same name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use longhaul_common::WorkerName;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus, Link};
use longhaul_common::git::required_version;
use longhaul_common::server::ServerAccess;
use longhaul_common::spec::{LABELS_MAX, Period, Size, label};
use longhaul_worker::credential::Credential;
use longhaul_worker::introduce::introduce;
use longhaul_worker::service::{ServiceConfig, serve};
use longhaul_worker::uplink::GrpcSink;
use longhaul_worker::{Held, Scope, Shutdown, Weights, WorkerConfig, WorkerError};

use crate::args::WorkerArgs;
use crate::client::host_name;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::fleet::{Asked, ReadyFile, Signals, Voice, last_words, nats_config, nats_flags};
use crate::sandbox::{required, sandbox_settings, shim};
use crate::settings::Settings;

/// How often it is looked whether NATS answers.
const LINK_LOOK: Duration = Duration::from_millis(200);

/// Of the space below which nothing new is taken, what running programs must leave.
const DISK_SHARE: u64 = 4;

/// How long the worker may take to end at once.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Most slots of a kind: a slip of the fingers, beyond.
const SLOTS_MAX: u32 = 1_024;

/// Works until a signal, or until the coordinator refuses it.
pub async fn worker(context: &Context, args: WorkerArgs) -> anyhow::Result<Exit> {
    required_version()?;
    let mut signals = Signals::new()?;
    let voice = Voice::new(context.json);
    let ready = ReadyFile::new(args.ready_file.clone())?;
    let server = context.server.clone().ok_or_else(|| {
        Stop::usage("no server is named: give --server http://HOST:7117, or set server.url or LONGHAUL_SERVER")
    })?;
    let settings = layered(context, &args)?;
    let name = name_of(&settings)?;
    let nats = nats_config(&settings, NatsRole::Worker(name.clone()), name.as_str())?;
    let bus = NatsBus::connect(nats).await.map_err(Stop::usage)?;
    let sink = Arc::new(GrpcSink::new(&server).map_err(Stop::usage)?);
    let mut config = config_of(context, &settings, &name, &server)?;
    required(&config.sandbox).await?;
    let shutdown = Shutdown::default();
    let mut listen = None;
    if let Some(address) = settings.parsed("worker.listen")? {
        let credential = Credential::new().map_err(Stop::infrastructure)?;
        config.secrets.0.extend(credential.secrets());
        let service = ServiceConfig { listen: address, credential };
        let served = serve(service, config.live.clone(), shutdown.stop.clone()).await.map_err(Stop::usage)?;
        config.endpoint = Some(served.endpoint());
        introduce(&server, served.introduction(name.as_str()), shutdown.stop.clone()).map_err(Stop::usage)?;
        listen = Some(served.addr.to_string());
    }
    let about = format!(
        "as {name}: {} subtasks and {} gates at once{}",
        config.work_slots,
        config.gate_slots,
        if config.labels.is_empty() { String::new() } else { format!(", {}", config.labels.join(" ")) }
    );
    let running = longhaul_worker::run(config, Scope::All, Arc::new(bus.clone()), sink, shutdown.clone());
    let running = tokio::spawn(running);
    voice.say("working", "Working", &format!("{about}, for {}", server.url));
    let attending = Attending {
        voice,
        bus,
        shutdown,
        ready,
        about: serde_json::json!({"role": "worker", "name": name.as_str(), "listen": listen}),
    };
    attending.run(&mut signals, running).await
}

/// The flags over the settings.
fn layered(context: &Context, args: &WorkerArgs) -> anyhow::Result<Settings> {
    let mut settings = context.settings.clone();
    nats_flags(&mut settings, &args.nats)?;
    settings.flag("worker.name", args.name.clone());
    settings.flag("worker.root", args.root.as_ref().map(|root| root.display().to_string()));
    settings.flag("worker.slots", args.slots.map(|slots| slots.to_string()));
    settings.flag("worker.gates", args.gates.map(|gates| gates.to_string()));
    settings.flag("worker.labels", Some(args.labels.join(",")).filter(|labels| !labels.is_empty()));
    settings.flag("worker.listen", args.listen.map(|listen| listen.to_string()));
    settings.flag("worker.drain_timeout", args.drain_timeout.clone());
    settings.flag("worker.cpus", args.cpus.map(|cpus| cpus.to_string()));
    settings.flag("worker.memory", args.memory.clone());
    settings.flag("worker.disk_free", args.disk_free.clone());
    settings.flag("worker.slots_max", args.slots_max.clone());
    settings.flag("worker.mirrors_max", args.mirrors_max.clone());
    settings.flag("worker.sandbox", args.sandbox.sandbox.clone());
    Ok(settings)
}

/// Its name: as set, or the machine's as far as it can be one.
fn name_of(settings: &Settings) -> anyhow::Result<WorkerName> {
    let host = || host_name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = settings.text("worker.name").map_or_else(host, str::to_owned);
    name.parse().map_err(|error| Stop::usage(format!("{error}; give --name")))
}

fn config_of(
    context: &Context,
    settings: &Settings,
    name: &WorkerName,
    server: &ServerAccess,
) -> anyhow::Result<WorkerConfig> {
    let own = || context.layout.root().join("workers").join(name.as_str());
    let root: PathBuf = std::path::absolute(settings.path("worker.root").unwrap_or_else(own))?;
    let shim = shim()?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let slots = count(settings, "worker.slots", (cores / 2).max(1))?;
    let gates = count(settings, "worker.gates", 1)?;
    if slots + gates == 0 {
        return Err(Stop::usage("a worker without slots and gates does nothing: raise --slots or --gates"));
    }
    let drain: Option<Period> = settings.parsed("worker.drain_timeout")?;
    let memory: Option<Size> = settings.parsed("worker.memory")?;
    let mut config = WorkerConfig::new(name.as_str(), root, shim);
    config.work_slots = slots;
    config.gate_slots = gates;
    config.weights = Weights::of_machine(settings.parsed("worker.cpus")?, memory.map(|size| size.0), slots, gates);
    config.labels = labels(settings)?;
    config.drain_ms = drain.map_or(config.drain_ms, |drain| drain.0);
    let size = |name, otherwise| anyhow::Ok(settings.parsed::<Size>(name)?.map_or(otherwise, |size| size.0));
    config.disk.free_min_bytes = size("worker.disk_free", config.disk.free_min_bytes)?;
    config.disk.mirrors_bytes_max = size("worker.mirrors_max", config.disk.mirrors_bytes_max)?;
    config.slot_bytes_max = size("worker.slots_max", config.slot_bytes_max)?;
    config.ripgrep = crate::rg::stand_in();
    config.telemetry = crate::context::telemetry()?;
    config.recording = crate::context::recording(settings)?;
    config.server = Some(server.clone());
    config.secrets = held_secrets(settings, server)?;
    config.sandbox = sandbox_settings(context, settings, slots + gates)?;
    config.sandbox.limits.disk_free_bytes = config.disk.free_min_bytes / DISK_SHARE;
    Ok(config)
}

/// Whatever this process shows to prove who it is: none of it may be seen in output or in a result.
fn held_secrets(settings: &Settings, server: &ServerAccess) -> anyhow::Result<Held> {
    let mut held: Vec<String> = Vec::new();
    held.extend(settings.secret("nats.token_file")?);
    let keys = [settings.path("nats.nkey"), settings.path("nats.key"), settings.path("nats.creds"), server.key.clone()];
    for path in keys.into_iter().flatten() {
        // One that cannot be read was refused before, with its name.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        // Frames and the words around a key are no secrets; a key has no spaces.
        let lines = text.lines().map(str::trim).filter(|line| !line.contains(' ') && !line.starts_with(['-', '*']));
        held.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let urls = settings.text("nats.url").unwrap_or_default().split(',');
    let users = urls.filter_map(|url| url.rsplit_once('@')?.0.rsplit_once("//").map(|(_, user)| user));
    held.extend(users.map(|user| user.split_once(':').map_or(user, |(_, password)| password).to_owned()));
    Ok(Held(held))
}

fn count(settings: &Settings, name: &str, default: u32) -> anyhow::Result<u32> {
    match settings.parsed(name)?.unwrap_or(default) {
        number if number > SLOTS_MAX => {
            Err(Stop::usage(format!("{name} is {number}; at most {SLOTS_MAX} are allowed")))
        }
        number => Ok(number),
    }
}

fn labels(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut labels: Vec<String> =
        settings.text("worker.labels").unwrap_or_default().split(',').map(str::to_owned).collect();
    labels.retain(|label| !label.is_empty());
    labels.sort();
    labels.dedup();
    for text in &labels {
        label(text).map_err(|(cause, help)| Stop::usage(format!("{cause}: {help}")))?;
    }
    if labels.len() > LABELS_MAX {
        return Err(Stop::usage(format!("{} labels; at most {LABELS_MAX} are allowed", labels.len())));
    }
    Ok(labels)
}

type Running = tokio::task::JoinHandle<Result<(), WorkerError>>;

struct Attending {
    voice: Voice,
    bus: NatsBus,
    shutdown: Shutdown,
    ready: ReadyFile,
    about: serde_json::Value,
}

impl Attending {
    async fn run(self, signals: &mut Signals, mut running: Running) -> anyhow::Result<Exit> {
        let mut look = tokio::time::interval(LINK_LOOK);
        let mut link: Option<Link> = None;
        let (mut told, mut draining) = (false, false);
        let ended = loop {
            tokio::select! {
                // A worker with nothing to finish ends at once: it says first why.
                biased;
                // By a signal, by the coordinator, or at the worker's own service.
                () = self.shutdown.drain.cancelled(), if !draining => {
                    self.voice.say("draining", "Draining", "finishing or handing back what runs (again to end at once)");
                    self.ready.ending();
                    draining = true;
                }
                asked = signals.next() => {
                    if asked == Asked::Now {
                        return Ok(self.stop(running).await);
                    }
                    self.shutdown.drain.cancel();
                }
                ended = &mut running => break ended,
                _ = look.tick() => {
                    let now = self.bus.link();
                    if now == Link::Up && !told && !draining {
                        told = true;
                        self.ready.serves(self.about.clone())?;
                    }
                    self.tell_link(&mut link, now);
                }
            }
        };
        last_words(&self.bus).await;
        self.ready.ends();
        match ended.context("the worker ended by a defect")? {
            Ok(()) => {
                self.voice.say("left", "Left", "everything finished was delivered");
                Ok(Exit::Done)
            }
            Err(error @ WorkerError::Locked { .. }) => Err(Stop::usage(error)),
            Err(error) => Err(Stop::infrastructure(error)),
        }
    }

    fn tell_link(&self, before: &mut Option<Link>, now: Link) {
        if before.as_ref() == Some(&now) {
            return;
        }
        match &now {
            Link::Up if before.is_some() => self.voice.say("nats_up", "NATS", "answers again"),
            Link::Up => {}
            Link::Down { cause } => {
                self.voice.say("nats_down", "NATS", &format!("does not answer ({cause}); it is tried again"));
            }
        }
        *before = Some(now);
    }

    async fn stop(self, running: Running) -> Exit {
        self.voice.say("stopping", "Stopping", "at once; what was finished is delivered by the next start");
        self.ready.ending();
        self.shutdown.stop.cancel();
        drop(tokio::time::timeout(STOP_MAX, running).await);
        last_words(&self.bus).await;
        self.ready.ends();
        Exit::Interrupted
    }
}
