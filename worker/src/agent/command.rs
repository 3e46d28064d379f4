//! The command agent: any program, with the subtask as JSON.

use std::path::Path;

use longhaul_proto::{Assignment, Work};
use serde_json::json;

use crate::process::Placeholders;

/// The subtask as its program gets it, on stdin and in the file named by `LONGHAUL_SUBTASK`.
pub fn subtask_json(work: &Work, instructions: &str) -> serde_json::Value {
    json!({
        "subtask": work.subtask,
        "files": work.files,
        "about": work.about,
        "instructions": instructions,
        "capsule": work.capsule,
        "attempt": work.attempt_number,
        "split_max": work.split_max,
    })
}

/// What an agent is told to do: the capsule's instructions, which hold a person's remarks, or the
/// task's own.
pub fn instructions(work: &Work) -> &str {
    let own = work.task.as_ref().map_or("", |task| task.instructions.as_str());
    match &work.capsule {
        Some(capsule) if !capsule.instructions.is_empty() => &capsule.instructions,
        _ => own,
    }
}

/// Placeholders of an agent's or a check's command.
pub fn placeholders(assignment: &Assignment, files: &[String], workspace: &Path) -> Placeholders {
    Placeholders::default()
        .with("job_dir", assignment.job_dir.as_str())
        .with("workspace", workspace.display().to_string())
        .with("file", files.first().map_or("", String::as_str))
        .with_list("files", files.to_vec())
}
