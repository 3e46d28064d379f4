//! `longhaul doctor`: is this machine fit to run jobs?

use longhaul_common::git::required_version;

use crate::context::Context;
use crate::exit::Exit;
use crate::run::json_line;

/// Free space below which `doctor` warns.
const FREE_BYTES_MIN: u64 = 2 << 30;

struct Check {
    name: &'static str,
    good: bool,
    text: String,
}

/// Looks at everything a run needs, and says what to do where something is missing.
pub fn doctor(context: &Context) -> anyhow::Result<Exit> {
    let checks = [git(), state_folder(context), free_space(context), shim(), cores()];
    let good = checks.iter().all(|check| check.good);
    if context.json {
        let rows: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({"check": check.name, "good": check.good, "text": check.text}))
            .collect();
        json_line(&serde_json::json!({"good": good, "checks": rows}));
    } else {
        for check in &checks {
            println!("{} {:<13} {}", if check.good { "ok  " } else { "FAIL" }, check.name, check.text);
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
        Ok(exe) => Check {
            name: "process shim",
            good: true,
            text: format!("{exe} (processes die with longhaul; no sandbox yet)"),
        },
        Err(error) => Check { name: "process shim", good: false, text: error.to_string() },
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
