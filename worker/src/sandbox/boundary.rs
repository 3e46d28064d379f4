//! The boundary of one attempt or gate: from what the job asks and the machine grants to the rules of
//! each command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_common::hosts::HostPattern;
use longhaul_proto::{Policy, Sandbox};
use tokio::sync::OnceCell;

use super::paths::knows_ports;
use super::probe::Found;
use super::proxy::{Pass, Proxy};
use super::rules::{Layers, Limits, Rules};
use super::space::{GATEWAY_PORT, PROXY_PORT, Space};
use super::{homes, sockets};
use crate::config::WorkerConfig;
use crate::process::Purpose;
use crate::workspace::Slot;

/// How a worker takes a boundary that the machine does not grant as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// It refuses the work.
    Require,
    /// It does the work in what there is, and says what there is not.
    #[default]
    BestEffort,
    /// It draws none.
    Off,
}

impl std::str::FromStr for Enforcement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "require" => Ok(Self::Require),
            "best-effort" => Ok(Self::BestEffort),
            "off" => Ok(Self::Off),
            _ => Err("one of require, best-effort and off".to_owned()),
        }
    }
}

/// Why a worker draws no boundary at all.
pub const OFF: &str = "the worker runs with --sandbox off";

/// A worker's settings of its sandbox.
#[derive(Clone, Debug, Default)]
pub struct SandboxSettings {
    /// How much of it must be there.
    pub enforcement: Enforcement,
    /// What a command may use up.
    pub limits: Limits,
    /// Hosts that the set-up of every job may reach here, beside registries: a mirror, for example.
    pub hosts: Vec<HostPattern>,
    /// Folders and files of the worker that nothing may read: its state, its keys.
    pub hidden: Vec<PathBuf>,
}

/// Where an attempt works.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its slot's workspace, temporary folder and cache.
    pub ws: PathBuf,
    /// TMPDIR.
    pub tmp: PathBuf,
    /// What its tools keep from one attempt to the next.
    pub cache: PathBuf,
    /// An agent's own home; only agents write it.
    pub home: PathBuf,
    /// What it reads although it is hidden: objects of the repository, the job's own files.
    pub reads: Vec<PathBuf>,
    /// Settings of agent programs in the workspace that agents do not see.
    pub shut: Vec<PathBuf>,
    /// Folders and files of an agent's login, which it reads and writes although they are hidden.
    pub logins: Vec<PathBuf>,
}

impl Place {
    /// In a slot's folder, with nothing else open.
    pub fn at(slot: &Path) -> Self {
        Self {
            ws: slot.join("ws"),
            tmp: slot.join("tmp"),
            cache: slot.join("cache"),
            home: slot.join("home"),
            reads: Vec::new(),
            shut: Vec::new(),
            logins: Vec::new(),
        }
    }

    /// Of a slot that reads the objects of `store` and the job's folder.
    pub fn new(slot: &Slot, store: &Path, job_dir: &Path) -> Self {
        Self { reads: vec![store.join("objects"), job_dir.to_owned(), slot.tools()], ..Self::at(slot.root()) }
    }
}

/// The boundary of one attempt.
#[derive(Debug)]
pub struct Boundary {
    found: Arc<Found>,
    settings: SandboxSettings,
    shim: Vec<OsString>,
    worker_root: PathBuf,
    mode: Sandbox,
    network: bool,
    setup_offline: bool,
    hosts: Arc<[HostPattern]>,
    setup_hosts: Arc<[HostPattern]>,
    way_out: OnceCell<WayOut>,
    /// The port of the gateway of models, once there is one and it is not in a network of the attempt's.
    gateway: Mutex<Option<u16>>,
}

/// The network of an attempt, made when its first command starts.
#[derive(Debug, Default)]
struct WayOut {
    space: Option<Space>,
    proxy: Option<(Proxy, u16)>,
}

/// What one command runs in.
#[derive(Clone, Debug, Default)]
pub struct Enclosed {
    /// What its shim is told.
    pub rules: Rules,
    /// Variables it needs beside its own.
    pub env: BTreeMap<OsString, OsString>,
    /// Lets it through the proxy while it runs.
    _pass: Option<Arc<Pass>>,
}

impl From<Rules> for Enclosed {
    fn from(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }
}

impl Boundary {
    /// From the job's policy; refuses what must be enforced and cannot be.
    pub fn new(found: Arc<Found>, worker: &WorkerConfig, policy: &Policy) -> Result<Self, String> {
        let settings = &worker.sandbox;
        let mode = policy.sandbox();
        if settings.enforcement == Enforcement::Require
            && mode != Sandbox::DangerFullAccess
            && !found.missing.is_empty()
        {
            return Err(format!(
                "this worker requires a whole sandbox (--sandbox require), and its machine grants none: {}",
                found.not_enforced()
            ));
        }
        let named = policy.hosts.iter().map(|host| host.parse::<HostPattern>());
        let hosts: Vec<HostPattern> = named.collect::<Result<_, _>>()?;
        let registries = homes::registries(|name| std::env::var(name).ok());
        let setup_hosts = hosts.iter().cloned().chain(registries).chain(settings.hosts.iter().cloned());
        Ok(Self {
            setup_hosts: setup_hosts.collect(),
            found,
            settings: settings.clone(),
            shim: worker.shim.clone(),
            worker_root: worker.root.clone(),
            mode,
            network: policy.network,
            setup_offline: policy.setup_offline,
            hosts: hosts.into(),
            way_out: OnceCell::new(),
            gateway: Mutex::default(),
        })
    }

    /// Whether there is one at all.
    fn is_drawn(&self) -> bool {
        self.settings.enforcement != Enforcement::Off && self.mode != Sandbox::DangerFullAccess
    }

    /// What holds for this attempt, a sentence for its record; the second is what does not.
    pub fn sentence(&self) -> (String, String) {
        if !self.is_drawn() {
            let why = match self.mode {
                Sandbox::DangerFullAccess => "the job's policy.sandbox is danger-full-access",
                _ => OFF,
            };
            return ("no sandbox".to_owned(), format!("everything: {why}"));
        }
        let mode = match self.mode {
            Sandbox::ReadOnly => "read-only",
            _ => "workspace-write",
        };
        let network = if self.network { "network by the list of hosts" } else { "no network" };
        (format!("{mode}, {network}: {}", self.found.in_force()), self.found.not_enforced())
    }

    /// What programs of this attempt are not kept from although the job asks for it; empty when there is nothing.
    pub fn unenforced(&self) -> String {
        if self.mode == Sandbox::DangerFullAccess { String::new() } else { self.sentence().1 }
    }

    /// Hosts that were asked for and not listed.
    pub fn refused(&self) -> Vec<String> {
        let proxy = self.way_out.get().and_then(|way| way.proxy.as_ref());
        proxy.map(|(proxy, _)| proxy.refused()).unwrap_or_default()
    }

    /// The boundary of a command, `None` for none.
    pub async fn enclose(&self, purpose: Purpose, place: &Place) -> Result<Option<Enclosed>, String> {
        if !self.is_drawn() {
            return Ok(None);
        }
        let way = self.way_out.get_or_try_init(|| self.make_way()).await?;
        let hosts = match purpose {
            Purpose::Setup if self.setup_offline => None,
            Purpose::Setup => Some(&self.setup_hosts),
            _ if self.network => Some(&self.hosts),
            _ => None,
        };
        let out = hosts.filter(|_| self.keeps_ports()).zip(way.proxy.as_ref());
        let gateway = *self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = gateway.filter(|_| self.keeps_ports());
        let (writes, reads) = self.open(purpose, place);
        let mut hidden = homes::credentials(|name| std::env::var_os(name));
        hidden.extend(self.settings.hidden.iter().cloned());
        hidden.push(self.worker_root.clone());
        hidden.extend(sockets::runtime_folder(|name| std::env::var_os(name)));
        if purpose == Purpose::Agent {
            hidden.extend(place.shut.iter().cloned());
            hidden.retain(|path| !place.logins.iter().any(|login| path.starts_with(login)));
        }
        let (writes, hidden) = (existing(writes), existing(hidden));
        let mut enclosed = Enclosed {
            rules: Rules {
                layers: self.found.layers,
                space: way.space.as_ref().map(Space::rules),
                ports: out.iter().map(|(_, (_, port))| *port).chain(gateway).collect(),
                sockets: self.sockets(&writes)?,
                writes,
                reads: existing(reads),
                hidden,
                git: Some(place.ws.join(".git")),
                limits: self.settings.limits,
            },
            env: homes::own_caches(&place.cache, purpose == Purpose::Setup, |name| std::env::var_os(name)),
            _pass: out.map(|(hosts, (proxy, _))| Arc::new(proxy.admit(Arc::clone(hosts)))),
        };
        enclosed.env.extend(proxy_variables(out.map(|(_, (_, port))| *port)));
        Ok(Some(enclosed))
    }

    /// What its mounts have to cover beside folders: what a command writes is its own.
    fn sockets(&self, writes: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
        let mut known = writes.to_vec();
        known.push("/run".into());
        if self.found.layers.pid { sockets::of_machine(&known) } else { Ok(Vec::new()) }
    }

    /// What a command writes, and what it reads of what is hidden.
    fn open(&self, purpose: Purpose, place: &Place) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut writes, mut reads) = (vec![place.tmp.clone(), place.cache.clone()], place.reads.clone());
        if self.mode == Sandbox::ReadOnly && purpose == Purpose::Agent {
            reads.push(place.ws.clone());
        } else {
            writes.push(place.ws.clone());
        }
        if purpose == Purpose::Agent {
            writes.push(place.home.clone());
            writes.extend(place.logins.iter().cloned());
        }
        if purpose == Purpose::Setup {
            writes.extend(homes::shared_caches(|name| std::env::var_os(name)));
        }
        (writes, reads)
    }

    /// Without a network of its own only Landlock keeps a command to single ports.
    fn keeps_ports(&self) -> bool {
        self.found.layers.net || (self.found.layers.landlock && knows_ports(self.found.landlock))
    }

    async fn make_way(&self) -> Result<WayOut, String> {
        let layers: Layers = self.found.layers;
        let space = if layers.net {
            let (shim, user) = (self.shim.clone(), layers.user);
            let made = tokio::task::spawn_blocking(move || Space::make(&shim, user)).await;
            Some(made.map_err(|error| error.to_string())??)
        } else {
            None
        };
        let failed = |error: std::io::Error| format!("the proxy of an attempt: {error}");
        let listener = match &space {
            Some(space) => space.proxy(),
            None => Some(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(failed)?),
        };
        let Some(listener) = listener else { return Ok(WayOut { space, proxy: None }) };
        let port = if space.is_some() { PROXY_PORT } else { listener.local_addr().map_err(failed)?.port() };
        let proxy = Proxy::serve(listener).map_err(failed)?;
        Ok(WayOut { space, proxy: Some((proxy, port)) })
    }

    /// Whether sandboxes that agents bring along work here.
    pub fn nests(&self) -> bool {
        !self.is_drawn() || self.found.nests
    }

    /// The listener for a gateway of models, where the attempt's commands reach it and nobody else's.
    /// Commands that are enclosed later may connect to it, whatever their network.
    pub async fn gateway(&self) -> Result<(std::net::TcpListener, u16), String> {
        let failed = |error: std::io::Error| format!("the gateway of an attempt: {error}");
        if self.is_drawn() {
            let way = self.way_out.get_or_try_init(|| self.make_way()).await?;
            if let Some(space) = &way.space {
                let listener = space.gateway().map_err(failed)?;
                return Ok((listener, GATEWAY_PORT));
            }
        }
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(port);
        Ok((listener, port))
    }
}

/// Where programs find the proxy; without one, that they are not to look for any.
fn proxy_variables(port: Option<u16>) -> BTreeMap<OsString, OsString> {
    let url = port.map(|port| format!("http://127.0.0.1:{port}")).unwrap_or_default();
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    let mut env: BTreeMap<OsString, OsString> = names.iter().map(|&name| (name.into(), url.clone().into())).collect();
    let near = "localhost,127.0.0.1,::1";
    env.extend([("NO_PROXY".into(), near.into()), ("no_proxy".into(), near.into())]);
    env
}

/// Those that are there, without links on the way: rules are about what is at the end of them.
fn existing(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = paths.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    found.sort();
    found.dedup();
    found
}
