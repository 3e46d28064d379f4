//! What every verb needs: where state lives, and which job is meant.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use longhaul_common::JobId;
use longhaul_common::layout::Layout;
use longhaul_common::server::ServerAccess;
pub use longhaul_coordinator::hub::JobCard;
use longhaul_worker::gateway::Recording;

use crate::args::{Global, SandboxArgs};
use crate::exit::Stop;
use crate::settings::Settings;

/// The job file of the folder one stands in.
pub const JOB_FILE: &str = "longhaul.toml";

/// The options of this call, resolved.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where state lives.
    pub layout: Layout,
    /// Data as JSON.
    pub json: bool,
    /// The server to speak to instead of this machine.
    pub server: Option<ServerAccess>,
    /// Everything the verbs of a fleet look up.
    pub settings: Settings,
}

/// What becomes of exchanges with models.
pub fn recording(settings: &Settings) -> anyhow::Result<Recording> {
    match (settings.path("worker.record"), settings.path("worker.replay")) {
        (None, None) => Ok(Recording::Off),
        (Some(folder), None) => Ok(Recording::On(std::path::absolute(folder)?)),
        (None, Some(folder)) => {
            let folder = std::path::absolute(folder)?;
            if !folder.is_dir() {
                let folder = folder.display();
                let words = "name the folder that worker.record wrote, or leave worker.replay out";
                return Err(Stop::usage(format!("worker.replay is {folder}, which is no folder: {words}")));
            }
            Ok(Recording::Replay(folder))
        }
        (Some(_), Some(_)) => Err(Stop::usage("worker.record and worker.replay are both set: leave one of them out")),
    }
}

/// Where sessions of agents go as spans, as the `OTEL_*` variables say.
pub fn telemetry() -> anyhow::Result<Option<longhaul_worker::Telemetry>> {
    longhaul_worker::Telemetry::from_env().map_err(|error| Stop::usage(error.to_string()))
}

impl Context {
    /// From the global options.
    pub fn new(global: &Global) -> anyhow::Result<Self> {
        let root = match &global.state_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => default_state_dir()?,
        };
        let settings = Settings::load(global)?;
        let server = settings.server()?;
        Ok(Self { layout: Layout::new(root), json: global.json, server, settings })
    }

    /// With what this call says about the sandbox over the settings.
    pub fn with_sandbox(&self, args: &SandboxArgs) -> Self {
        let mut own = self.clone();
        own.settings.flag("worker.sandbox", args.sandbox.clone());
        own
    }

    /// All jobs of this state folder, newest last.
    pub fn jobs(&self) -> Vec<JobCard> {
        JobCard::all(&self.layout)
    }

    /// The newest job of a job file.
    pub fn job_of_file(&self, file: &Path) -> Option<JobCard> {
        let file = std::fs::canonicalize(file).ok()?;
        self.jobs().into_iter().rfind(|card| card.source_path == file)
    }

    /// Files a job under its name.
    pub fn keep_card(&self, card: &JobCard) -> anyhow::Result<()> {
        card.keep(&self.layout)
            .with_context(|| format!("cannot keep the job {} in {}", card.job, self.layout.jobs().display()))
    }

    /// The job of this machine a person means.
    pub fn find_job(&self, wanted: Option<&str>) -> anyhow::Result<JobId> {
        choose(&self.jobs(), wanted, std::fs::canonicalize(JOB_FILE).ok().as_deref())
    }
}

/// The job a person means among those there are, oldest first; `here` is the job file they stand
/// beside.
pub fn choose(cards: &[JobCard], wanted: Option<&str>, here: Option<&Path>) -> anyhow::Result<JobId> {
    let name = match wanted {
        Some(wanted) => by_prefix(cards, wanted)?,
        None => by_place(cards, here)?,
    };
    name.parse().map_err(Stop::usage)
}

fn by_prefix(cards: &[JobCard], wanted: &str) -> anyhow::Result<String> {
    if let Some(card) = cards.iter().find(|card| card.job == wanted) {
        return Ok(card.job.clone());
    }
    let begins: Vec<&JobCard> = cards.iter().filter(|card| card.job.starts_with(wanted)).collect();
    match begins[..] {
        [card] => Ok(card.job.clone()),
        [] => Err(Stop::usage(format!("no job is called {wanted:?}{}", listed(cards)))),
        _ => {
            let names: Vec<&str> = begins.iter().map(|card| card.job.as_str()).collect();
            Err(Stop::usage(format!("{wanted:?} can be {}: say more of it", names.join(" or "))))
        }
    }
}

fn by_place(cards: &[JobCard], here: Option<&Path>) -> anyhow::Result<String> {
    if let Some(card) = here.and_then(|here| cards.iter().rfind(|card| card.source_path == here)) {
        return Ok(card.job.clone());
    }
    match cards {
        [card] => Ok(card.job.clone()),
        [] => Err(Stop::usage("there is no job yet: `longhaul init` writes a job file, `longhaul run` runs it")),
        _ => Err(Stop::usage(format!("which job?{}", listed(cards)))),
    }
}

fn listed(cards: &[JobCard]) -> String {
    if cards.is_empty() {
        return "; there is none yet: `longhaul run` begins one".to_owned();
    }
    let names: Vec<&str> = cards.iter().rev().take(8).map(|card| card.job.as_str()).collect();
    format!("; there {} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", "))
}

fn default_state_dir() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy as _;
    let dirs = etcetera::choose_base_strategy().context("cannot tell the home folder; give --state-dir")?;
    let state = dirs.state_dir().unwrap_or_else(|| dirs.data_dir());
    Ok(state.join("longhaul"))
}

/// A job's name from its job file: `name`, or words of the goal and a hash of the file's path.
pub fn name_job(name: Option<&str>, goal: &str, file: &Path, salt: u32) -> anyhow::Result<JobId> {
    let stem = match name {
        Some(name) => slug(name, 48),
        None => slug(goal, 32),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.as_os_str().as_encoded_bytes()).update(&salt.to_le_bytes());
    let hash = hasher.finalize().to_hex();
    let text = if name.is_some() && salt == 0 { stem } else { format!("{stem}-{}", &hash[..4]) };
    text.parse().map_err(Stop::usage)
}

/// Lower-case words joined by dashes, cut between words.
fn slug(text: &str, max: usize) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if !out.is_empty() && out.len() + 1 + word.len() > max {
            break;
        }
        if !out.is_empty() {
            out.push('-');
        }
        out.extend(word.chars().take(max).map(|c| c.to_ascii_lowercase()));
    }
    if out.is_empty() { "job".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_goal_and_the_place() {
        let one = name_job(None, "Replace lazy_static with std::sync::LazyLock", Path::new("/a/longhaul.toml"), 0)
            .expect("a name");
        let two = name_job(None, "Replace lazy_static with std::sync::LazyLock", Path::new("/b/longhaul.toml"), 0)
            .expect("a name");
        assert!(one.as_str().starts_with("replace-lazy-static-with-std-"), "{one}");
        assert_ne!(one, two);
        assert_eq!(name_job(Some("My Job"), "", Path::new("/a"), 0).expect("a name").as_str(), "my-job");
        assert!(name_job(None, "日本", Path::new("/a"), 0).expect("a name").as_str().starts_with("job-"));
    }
}
