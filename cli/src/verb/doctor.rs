//! `longhaul doctor`: is this machine fit to run jobs?

use longhaul_common::git::required_version;
use longhaul_worker::sandbox::{Enforcement, Limits, probe};

use crate::context::Context;
use crate::exit::Exit;
use crate::run::json_line;
use crate::sandbox::sandbox_settings;
use crate::view::workers::size;

/// Free space below which `doctor` warns.
const FREE_BYTES_MIN: u64 = 2 << 30;

struct Check {
    name: &'static str,
    good: bool,
    text: String,
}

/// Looks at everything a run needs, and says what to do where something is missing.
pub async fn doctor(context: &Context) -> anyhow::Result<Exit> {
    let mut checks = vec![git(), state_folder(context), free_space(context), shim(), cores(), ripgrep()];
    checks.extend(sandbox(context).await?);
    let good = checks.iter().all(|check| check.good);
    if context.json {
        let rows: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({"check": check.name, "good": check.good, "text": check.text}))
            .collect();
        json_line(&serde_json::json!({"good": good, "checks": rows}));
    } else {
        for check in &checks {
            println!("{} {:<17} {}", if check.good { "ok  " } else { "FAIL" }, check.name, check.text);
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

fn git() -> Check {
    let (good, text) = match required_version() {
        Ok(found) => (true, format!("{}.{}", found.0, found.1)),
        Err(error) => (false, error.to_string()),
    };
    Check { name: "git", good, text }
}

fn state_folder(context: &Context) -> Check {
    let root = context.layout.root();
    let tried = std::fs::create_dir_all(root).and_then(|()| {
        let file = root.join("doctor.tmp");
        let written = std::fs::File::create(&file).and_then(|file| file.sync_all());
        drop(std::fs::remove_file(&file));
        written
    });
    match tried {
        Ok(()) => Check { name: "state folder", good: true, text: root.display().to_string() },
        Err(error) => Check {
            name: "state folder",
            good: false,
            text: format!("{}: {error}; give another with --state-dir", root.display()),
        },
    }
}

fn free_space(context: &Context) -> Check {
    let Ok(stat) = rustix::fs::statvfs(context.layout.root()) else {
        return Check { name: "free space", good: false, text: "cannot be told".to_owned() };
    };
    let free = stat.f_bavail * stat.f_frsize;
    let text = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    Check { name: "free space", good: free >= FREE_BYTES_MIN, text }
}

fn shim() -> Check {
    let exe = std::env::current_exe().map(|exe| exe.display().to_string());
    match exe {
        Ok(exe) => Check { name: "process shim", good: true, text: format!("{exe} (processes die with longhaul)") },
        Err(error) => Check { name: "process shim", good: false, text: error.to_string() },
    }
}

/// Models were trained to search with it; without it they get the stand-in.
fn ripgrep() -> Check {
    let text = if on_path("rg") {
        "rg is on PATH, for agents too"
    } else {
        "not installed: agents get longhaul's own, which searches like it and knows its usual flags"
    };
    Check { name: "ripgrep", good: true, text: text.to_owned() }
}

/// Each layer of the sandbox, tried out. A missing one is a failure only where it is required.
async fn sandbox(context: &Context) -> anyhow::Result<Vec<Check>> {
    let settings = sandbox_settings(context, &context.settings, slots())?;
    let is_required = settings.enforcement == Enforcement::Require;
    let found = probe(&crate::sandbox::shim()?).await;
    let layer = |name: &'static str, has: bool, text: String| {
        let missing = found.missing.iter().find(|missing| missing.layer == name);
        let text = missing.map_or(text, |missing| format!("not granted ({}); {}", missing.why, missing.open));
        Check { name, good: has || !is_required, text }
    };
    let layers = found.layers;
    let user = if layers.user {
        "user, process, mount and network by a user namespace"
    } else {
        "process, mount and network, by root's own right"
    };
    let nests = if found.nests {
        "an agent's own sandbox works inside"
    } else {
        "an agent's own sandbox (bubblewrap) cannot work inside: agents run with it off, within this one"
    };
    let bubblewrap = if on_path("bwrap") {
        "installed; not used: longhaul makes its own namespaces"
    } else {
        "not installed, and not needed"
    };
    let said = |name, text: &str| Check { name, good: true, text: text.to_owned() };
    Ok(vec![
        said("sandbox", enforcement(settings.enforcement)),
        layer("namespaces", layers.pid, user.to_owned()),
        layer("network namespace", layers.net, "granted; the only way out is the proxy's list of hosts".to_owned()),
        layer("landlock", layers.landlock, format!("version {}", found.landlock)),
        layer("seccomp", layers.seccomp, "granted".to_owned()),
        said("nested", nests),
        said("bubblewrap", bubblewrap),
        said("limits", &limits(&settings.limits)),
        said("cgroup", cgroup()),
    ])
}

fn enforcement(set: Enforcement) -> &'static str {
    match set {
        Enforcement::Require => "required",
        Enforcement::BestEffort => "best effort; `--sandbox require` refuses work where a layer is missing",
        Enforcement::Off => "OFF: programs of jobs may do whatever this user may; what follows is what there could be",
    }
}

/// What one command may use up here.
fn limits(limits: &Limits) -> String {
    let bytes = |bytes: u64| if bytes == 0 { "no limit".to_owned() } else { size(bytes) };
    format!(
        "each command: memory {} (worker.attempt_memory), address space {}, a file {}, {} processes, {} open files",
        bytes(limits.memory_bytes),
        bytes(limits.address_bytes),
        bytes(limits.file_bytes),
        limits.processes,
        limits.open_files
    )
}

/// As many as a run has subtasks at once, when nothing else is said.
fn slots() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Limits are by rlimits and by looking; what the machine has is said for who wonders.
fn cgroup() -> &'static str {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "version 2; limits are by rlimits and the shim's watch"
    } else {
        "version 1 or none; limits are by rlimits and the shim's watch"
    }
}

fn cores() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Check {
        name: "cores",
        good: true,
        text: format!("{cores}, so {cores} subtasks at once unless budget.parallel says otherwise"),
    }
}
