//! What this machine grants, found by doing it.
//!
//! A command that does nothing is run in every boundary worth having, the closest first; the first
//! one it starts in is what commands get. Nothing is concluded from versions or settings: containers
//! refuse what their kernel has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::rules::{Layers, Rules};
use super::space::Space;
use crate::process::{
    LANDLOCK_STAGE, NEST_STAGE, NOTHING_STAGE, ProcessEnd, ProcessOutcome, ProcessSpec, Secrets, run,
};

/// A layer that the machine does not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What it is called.
    pub layer: &'static str,
    /// What then is open.
    pub open: &'static str,
    /// Why it is not granted, in the machine's words.
    pub why: String,
}

/// What the machine grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What every command gets.
    pub layers: Layers,
    /// The version of Landlock; 0 is none.
    pub landlock: u32,
    /// What is not granted.
    pub missing: Vec<Missing>,
    /// Whether sandboxes that agents bring along work inside.
    pub nests: bool,
}

impl Found {
    /// The layers in force, for people.
    pub fn in_force(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        let namespaces =
            [(self.layers.user, "user"), (self.layers.pid, "process and mount"), (self.layers.net, "network")];
        let named: Vec<&str> = namespaces.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        if !named.is_empty() {
            names.push(format!("{} namespaces", named.join(", ")));
        }
        if self.layers.landlock {
            names.push(format!("landlock {}", self.landlock));
        }
        if self.layers.seccomp {
            names.push("seccomp".to_owned());
        }
        names.push("resource limits".to_owned());
        names.join("; ")
    }

    /// What is not enforced, for people; empty when all is.
    pub fn not_enforced(&self) -> String {
        let said: Vec<String> = self
            .missing
            .iter()
            .map(|missing| format!("{} ({}): {}", missing.layer, missing.why, missing.open))
            .collect();
        said.join("; ")
    }
}

/// What a layer stands for when it is missing.
const OPEN: [(&str, &str); 4] = [
    (
        "namespaces",
        "hooks and configuration of the workspace's repository and modes of files outside are not guarded, /tmp cannot be written, daemons are ended one by one",
    ),
    (
        "network namespace",
        "programs that serve their own tests over TCP do not work; an allowed network is bound to ports, not hosts",
    ),
    ("landlock", "files outside can be read, and written where nothing else stands in the way"),
    ("seccomp", "every system call is open"),
];

fn missing(layer: &'static str, why: String) -> Missing {
    let open = OPEN.iter().find(|(name, _)| *name == layer).map_or("", |(_, open)| open);
    Missing { layer, open, why }
}

/// Tries it out. `shim` is the argv prefix of the process shim.
pub async fn probe(shim: &[OsString]) -> Found {
    let Ok(folder) = tempfile::tempdir() else { return Found::default() };
    let at = folder.path().canonicalize().unwrap_or_else(|_| folder.path().to_owned());
    let mut found = Found { landlock: landlock(shim, &at).await, ..Found::default() };
    let mut refused = String::new();
    let mut layers = Layers::default();
    let user = rustix::process::geteuid().is_root();
    // A user namespace first, also for root: it bounds what root means.
    let combinations = [(true, true), (true, false), (false, true), (false, false)];
    for (user, pid) in combinations.into_iter().filter(|(namespace, _)| *namespace || user) {
        let wanted = Layers { user, pid, net: true, ..Layers::default() };
        match tried(shim, &at, wanted).await {
            Ok(()) => {
                layers = wanted;
                break;
            }
            Err(why) if refused.is_empty() => refused = why,
            Err(_) => {}
        }
    }
    if layers.net {
        // As attempts do it: a network that several commands share.
        let (prefix, user) = (shim.to_vec(), layers.user);
        let made = tokio::task::spawn_blocking(move || Space::make(&prefix, user)).await;
        if let Ok(Err(why)) = made {
            layers = Layers { net: false, ..layers };
            refused = why;
        }
    }
    if !layers.pid {
        found.missing.push(missing("namespaces", refused.clone()));
    }
    if !layers.net {
        found.missing.push(missing("network namespace", refused));
    }
    for (name, with) in [
        ("landlock", Layers { landlock: true, ..layers }),
        ("seccomp", Layers { landlock: layers.landlock, seccomp: true, ..layers }),
    ] {
        match tried(shim, &at, with).await {
            Ok(()) if name == "landlock" => layers.landlock = true,
            Ok(()) => layers.seccomp = true,
            Err(why) => found.missing.push(missing(name, why)),
        }
    }
    found.nests = succeeded(shim, &at, NEST_STAGE, Some(rules(shim, &at, layers))).await.is_ok();
    found.layers = layers;
    found
}

async fn landlock(shim: &[OsString], at: &Path) -> u32 {
    match succeeded(shim, at, LANDLOCK_STAGE, None).await {
        Ok(outcome) => outcome.log.tail.trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

/// The probe is this binary, wherever it lies.
fn rules(shim: &[OsString], at: &Path, layers: Layers) -> Rules {
    let own = shim.first().and_then(|own| Path::new(own).canonicalize().ok());
    Rules { layers, writes: vec![at.to_owned()], reads: own.into_iter().collect(), ..Rules::default() }
}

async fn tried(shim: &[OsString], at: &Path, layers: Layers) -> Result<(), String> {
    succeeded(shim, at, NOTHING_STAGE, Some(rules(shim, at, layers))).await.map(drop)
}

async fn succeeded(shim: &[OsString], at: &Path, stage: &str, rules: Option<Rules>) -> Result<ProcessOutcome, String> {
    let mut argv = shim.to_vec();
    argv.push(stage.into());
    let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
    let spec = ProcessSpec {
        argv,
        cwd: at.to_owned(),
        env: path.into_iter().collect::<BTreeMap<_, _>>(),
        stdin: None,
        stdout: None,
        timeout: Some(std::time::Duration::from_secs(20)),
        idle_timeout: None,
        secrets: Secrets::default(),
        log: at.join("log"),
        output_bytes_max: 0,
        on_line: None,
        sandbox: rules.map(Into::into),
    };
    let outcome = run(shim, spec, &CancellationToken::new()).await.map_err(|error| error.to_string())?;
    match &outcome.end {
        ProcessEnd::Exited(0) => Ok(outcome),
        ProcessEnd::NotStarted(why) => Err(why.clone()),
        end => Err(format!("{end:?} {}", outcome.log.tail.trim())),
    }
}
