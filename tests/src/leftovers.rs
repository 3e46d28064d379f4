//! What a world left behind: processes, locks, quarantines, undelivered results.

use std::path::Path;

use crate::World;
use crate::world::MARK;

/// Processes of a world that are still there, as "pid command".
pub fn processes(world: &World) -> Vec<String> {
    let mark = format!("{MARK}={}", world.folder().display());
    let mine = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("linux").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == mine || !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let in_world = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(world.folder()));
        if in_world || environment.split(|&b| b == 0).any(|part| part == mark.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            // A zombie has neither; its parent is about to read it.
            if !command.is_empty() {
                found.push(format!("{name} {}", String::from_utf8_lossy(&command).replace('\0', " ")));
            }
        }
    }
    found
}

/// Waits until no process of the world is left, for as long as the shim's promise allows.
pub fn wait_for_none(world: &World) -> Vec<String> {
    let begun = std::time::Instant::now();
    loop {
        let left = processes(world);
        if left.is_empty() || begun.elapsed() > std::time::Duration::from_secs(10) {
            return left;
        }
        std::thread::yield_now();
    }
}

/// Names of entries below a folder that should be empty or absent.
pub fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Everything of a finished job that should not be there.
pub fn of_finished(world: &World) -> Vec<String> {
    let mut found: Vec<String> = wait_for_none(world).into_iter().map(|process| format!("process {process}")).collect();
    let undelivered = entries(&world.state().join("worker/outbox"));
    found.extend(undelivered.into_iter().map(|entry| format!("outbox {entry}")));
    for repo in entries(&world.state().join("repos")) {
        let objects = world.state().join("repos").join(repo).join("store.git/objects");
        let quarantined = entries(&objects).into_iter().filter(|name| name.starts_with("incoming-"));
        found.extend(quarantined.map(|entry| format!("quarantine {entry}")));
    }
    found.extend(entries(&world.state().join("run")).into_iter().map(|entry| format!("socket {entry}")));
    found
}
