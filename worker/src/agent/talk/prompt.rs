//! What an agent that reads is told first: the same text for every kind of program.

use longhaul_proto::{Failure, Work};

use crate::agent::command::instructions;

/// Files named in it; the rest is counted.
const FILES_SHOWN_MAX: usize = 200;

/// The prompt of an attempt; `before` is the failure of the rung before, `resumes` says that the
/// program goes on with a session of its own.
pub fn prompt(work: &Work, before: Option<&Failure>, resumes: bool) -> String {
    let mut text = String::new();
    if resumes {
        text.push_str("You were interrupted while you worked on this, and go on in a workspace that holds what was done so far. Look at its state before you change it.\n\n");
    }
    let capsule = work.capsule.clone().unwrap_or_default();
    section(&mut text, "Task", instructions(work));
    section(&mut text, "The goal of the whole job, of which this is one part", &capsule.goal);
    section(&mut text, "Files it is about", &files(&work.files));
    let task = work.task.clone().unwrap_or_default();
    if !task.whole_repository {
        section(&mut text, "Change only these files, and no others", &list(task.write.iter().chain(&work.files)));
    }
    let constraints = if capsule.constraints.is_empty() { &task.constraints } else { &capsule.constraints };
    section(&mut text, "Keep to this", &list(constraints));
    section(&mut text, "Decided before", &list(&capsule.decisions));
    let landed = capsule.dependencies.iter();
    let landed: Vec<String> = landed.map(|one| format!("{}: {}", one.subtask, one.summary)).collect();
    section(&mut text, "Done before, and in this workspace", &list(&landed));
    if let Some(failure) = &capsule.last_failure {
        let said = format!("{}: {}\n\n{}", failure.class, failure.message, failure.detail);
        section(&mut text, "The last attempt at this failed", &said);
    }
    if let Some(before) = before {
        let said = format!("{}\n\n{}", before.message, before.detail);
        section(&mut text, "Another agent tried before you, and its work did not pass", &said);
    }
    let checks: Vec<String> = task.check.iter().map(shown).collect();
    section(&mut text, "Your work is checked with", &list(&checks));
    text.push_str(CLOSING);
    text
}

/// What holds for every one of them.
const CLOSING: &str = "\
# How to work

Work in the current folder. If AGENTS.md files are there, the nearest one to a file holds for it. \
Do not commit, and do not touch .git: your changes are taken from the folder when you are done. \
Nobody can answer questions; decide yourself and say in your last words what you decided. \
When the work is done, stop.
";

fn section(text: &mut String, title: &str, body: &str) {
    if !body.trim().is_empty() {
        text.push_str(&format!("# {title}\n\n{}\n\n", body.trim()));
    }
}

fn list<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().map(|line| format!("- {line}\n")).collect()
}

fn files(files: &[String]) -> String {
    let mut text = list(&files[..files.len().min(FILES_SHOWN_MAX)]);
    if files.len() > FILES_SHOWN_MAX {
        text.push_str(&format!("and {} more\n", files.len() - FILES_SHOWN_MAX));
    }
    text
}

fn shown(command: &longhaul_proto::CommandLine) -> String {
    if command.shell.is_empty() { shell_words::join(&command.argv) } else { command.shell.clone() }
}

#[cfg(test)]
mod tests {
    use longhaul_proto::{Capsule, CapsuleFailure, FailureClass, Task};

    use super::*;
    use crate::failure::failure;

    #[test]
    fn it_says_what_counts_and_what_failed_before() {
        let task = Task { instructions: "Replace lazy_static.".into(), ..Task::default() };
        let last = CapsuleFailure { class: "gate".into(), message: "red".into(), detail: "E0432".into() };
        let capsule = Capsule { goal: "No lazy_static".into(), last_failure: Some(last), ..Capsule::default() };
        let files = (0..FILES_SHOWN_MAX + 2).map(|n| format!("src/{n}.rs")).collect();
        let work = Work { task: Some(task), capsule: Some(capsule), files, ..Work::default() };
        let before = failure(FailureClass::Check, "the check exited with 1");
        let text = prompt(&work, Some(&before), false);
        for wanted in ["Replace lazy_static.", "No lazy_static", "- src/0.rs", "and 2 more", "E0432", "exited with 1"] {
            assert!(text.contains(wanted), "{wanted} is missing in {text}");
        }
        assert!(!text.contains("interrupted") && prompt(&work, None, true).starts_with("You were interrupted"));
    }
}
