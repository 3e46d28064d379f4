//! What the events of a session left out: the rollout file has every call of a tool.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::agent::talk::{AgentEvent, ToolKind};
use crate::workspace::Folder;

/// Largest rollout that is read, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// The rollout that a program names. It may name anything, so only a file below one of its own homes is
/// read, and no link in them is followed. Blocks.
pub fn read(path: &Path, homes: &[PathBuf]) -> io::Result<String> {
    for home in homes {
        // The user's own may be a link; what programs write is below it.
        let Ok(real) = home.canonicalize() else { continue };
        if let Ok(inside) = path.strip_prefix(home).or_else(|_| path.strip_prefix(&real)) {
            let bytes = Folder::at(&real)?.read(inside, BYTES_MAX)?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Err(io::Error::other(format!("{} is not in the home of its program", path.display())))
}

/// Calls that a rollout holds and that are not in `seen`, with what came of them, in order.
pub fn missing(rollout: &str, seen: &BTreeSet<String>) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    let mut open = BTreeSet::new();
    for line in rollout.lines() {
        // The last line may be half written when the program was killed.
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if entry["type"] != "response_item" {
            continue;
        }
        let item = &entry["payload"];
        let Some(id) = item["call_id"].as_str().filter(|id| !seen.contains(*id)) else { continue };
        match item["type"].as_str() {
            Some("function_call" | "custom_tool_call") => {
                open.insert(id.to_owned());
                let name = item["name"].as_str().unwrap_or_default();
                let given = if item["arguments"].is_null() { &item["input"] } else { &item["arguments"] };
                events.push(AgentEvent::ToolStarted {
                    id: id.to_owned(),
                    kind: kind(name),
                    title: format!("{name} (not among the events)"),
                    input: given.clone(),
                });
            }
            Some("function_call_output" | "custom_tool_call_output") if open.remove(id) => {
                let output = match &item["output"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                // Its sandbox says no in words only.
                events.push(AgentEvent::ToolEnded { id: id.to_owned(), failed: failed(&output), output });
            }
            _ => {}
        }
    }
    events
}

fn kind(name: &str) -> ToolKind {
    match name {
        "exec_command" | "write_stdin" | "shell" => ToolKind::Execute,
        "apply_patch" => ToolKind::Edit,
        "view_image" => ToolKind::Read,
        "web_search" => ToolKind::Fetch,
        _ => ToolKind::Other,
    }
}

/// How the output of a call begins that was not carried out.
const NOT_DONE: [&str; 3] = ["unsupported call", "exec_command failed", "apply_patch verification failed"];

fn failed(output: &str) -> bool {
    let code = output.split("Process exited with code ").nth(1).and_then(|rest| rest.split_whitespace().next());
    code.is_some_and(|code| code != "0") || NOT_DONE.iter().any(|begin| output.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLOUT: &str = r#"{"timestamp":"t","ordinal":1,"type":"session_meta","payload":{"id":"a"}}
{"type":"response_item","payload":{"type":"function_call","name":"exec_command","arguments":"{\"cmd\":\"cat x\"}","call_id":"c1"}}
{"type":"response_item","payload":{"type":"function_call_output","call_id":"c1","output":"Process exited with code 0\nOutput:\nx"}}
{"type":"response_item","payload":{"type":"function_call","name":"exec_command","arguments":"{\"cmd\":\"git commit\"}","call_id":"c2"}}
{"type":"response_item","payload":{"type":"function_call_output","call_id":"c2","output":"Process exited with code 128\nOutput:\nRead-only file system"}}
{"type":"response_item","payload":{"type":"custom_tool_call","name":"apply_patch","input":"*** Begin Patch","call_id":"c3"}}
{"type":"response_item","payl"#;

    #[test]
    fn only_a_file_of_its_own_home_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (home, outside) = (dir.path().join("home"), dir.path().join("outside"));
        for folder in [home.join("sessions"), outside.clone()] {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(home.join("sessions/good"), "good").expect("written");
        std::fs::write(outside.join("key"), "theirs").expect("written");
        for (to, name) in [("/dev/zero", "endless"), ("../../outside/key", "key"), ("../outside", "../up")] {
            std::os::unix::fs::symlink(to, home.join("sessions").join(name)).expect("linked");
        }
        drop(Folder::at(&home).expect("opened").pipe(Path::new("pipe")).expect("made"));
        let homes = [dir.path().join("none"), home.clone()];
        assert_eq!(read(&home.join("sessions/good"), &homes).expect("read"), "good");
        for wrong in ["sessions/endless", "sessions/key", "up/key", "../outside/key", "pipe", "none", ""] {
            assert!(read(&home.join(wrong), &homes).is_err(), "{wrong}");
        }
        assert!(read(Path::new("/dev/zero"), &homes).is_err() && read(&outside.join("key"), &homes).is_err());
        let linked = dir.path().join("linked");
        std::os::unix::fs::symlink(&home, &linked).expect("linked");
        assert_eq!(read(&home.join("sessions/good"), &[linked]).expect("the user's own link"), "good");
    }

    #[test]
    fn a_call_that_was_not_carried_out_failed() {
        for output in
            ["exec_command failed for `rm x`: Rejected(\"no\")", "Process exited with code 2\n", "unsupported call"]
        {
            assert!(failed(output), "{output}");
        }
        assert!(!failed("Process exited with code 0\nOutput:\nexec_command failed"));
    }

    #[test]
    fn what_the_events_left_out_is_found_in_the_rollout() {
        let seen = BTreeSet::from(["c1".to_owned()]);
        let found = missing(ROLLOUT, &seen);
        let AgentEvent::ToolEnded { id, failed, output } = &found[1] else { panic!("not an end: {:?}", found[1]) };
        assert!(id == "c2" && *failed && output.contains("Read-only"));
        assert!(matches!(&found[2], AgentEvent::ToolStarted { kind: ToolKind::Edit, id, .. } if id == "c3"));
        assert_eq!(found.len(), 3, "one that has no end has none here either");
        assert!(missing(ROLLOUT, &["c1", "c2", "c3"].map(String::from).into()).is_empty());
    }
}
