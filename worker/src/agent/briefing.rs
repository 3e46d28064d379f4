//! What an agent that reads is told first, the same for every kind of them. What all subtasks of a
//! map share comes before what is a subtask's own, so that siblings begin with the same bytes and
//! share a provider's cache.

use longhaul_common::text::clip_head;
use longhaul_proto::{Capsule, Failure, Work};

use super::command::instructions;
use super::instructions::Instructions;
use super::skills::{self, Skill};

/// What is told of the change before it, in bytes; the files themselves are in the repository.
const DIFF_BYTES_MAX: usize = 12_000;

/// Files named in it; the rest is counted.
const FILES_SHOWN_MAX: usize = 200;

/// A briefing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Briefing {
    /// The same for every subtask of a task or map.
    pub shared: String,
    /// The subtask's own.
    pub own: String,
}

/// What a rung that failed had made of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// As a patch from the base, clipped.
    pub diff: String,
    /// Whether the next rung finds it in the workspace, or the workspace as it was before.
    pub is_kept: bool,
}

/// The rung before, which failed.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// How.
    pub failure: &'a Failure,
    /// What it had made, where that is known and something.
    pub tried: Option<&'a Tried>,
}

impl Before<'_> {
    fn words(&self) -> String {
        let Self { failure, tried } = self;
        let fate = match tried {
            Some(Tried { is_kept: true, .. }) => "what it changed is still in the workspace",
            Some(Tried { is_kept: false, .. }) => "what it changed was taken back",
            None => "it left no change",
        };
        let mut text =
            format!("The agent before you failed at this; {fate}.\n\n{}\n\n{}", failure.message, failure.detail);
        if let Some(Tried { diff, .. }) = tried {
            let mark = fence(diff);
            text.push_str(&format!(
                "\n\nIts change:\n\n{mark}diff\n{}\n{mark}",
                clip_head(diff, DIFF_BYTES_MAX).trim_end()
            ));
        }
        text
    }
}

/// More signs than the text has in a row.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

impl Briefing {
    /// For a subtask, with what its repository tells agents, and what the rung before did.
    pub fn new(work: &Work, found: &Instructions, skills: &[Skill], before: Option<Before<'_>>) -> Self {
        Self { shared: shared(work, &found.general(), &skills::render(skills)), own: own(work, &found.near(), before) }
    }
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.trim().is_empty() {
        text.push_str(&format!("# {title}\n\n{}\n\n", body.trim()));
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

fn shared(work: &Work, general: &str, skills: &str) -> String {
    let mut text = String::new();
    let goal = work.capsule.as_ref().map_or("", |capsule| capsule.goal.as_str());
    section(&mut text, "The goal of the whole job", goal);
    text.push_str(general);
    text.push_str(skills);
    if let Some(task) = &work.task {
        section(&mut text, "Task", &task.instructions);
        section(&mut text, "Constraints", &list(&task.constraints));
    }
    text
}

fn own(work: &Work, near: &str, before: Option<Before<'_>>) -> String {
    let mut text = near.to_owned();
    section(&mut text, "Your subtask", &work.subtask);
    section(&mut text, "More on it", beyond(work));
    if !work.files.is_empty() {
        let mut files = list(&work.files[..work.files.len().min(FILES_SHOWN_MAX)]);
        if work.files.len() > FILES_SHOWN_MAX {
            files.push_str(&format!("… and {} more\n", work.files.len() - FILES_SHOWN_MAX));
        }
        section(&mut text, "Its files", &files);
    }
    section(&mut text, "What it is about", &list(&work.about));
    let write =
        work.task.as_ref().filter(|task| !task.whole_repository).map(|task| list(&task.write)).unwrap_or_default();
    section(&mut text, "You may write only", &write);
    if let Some(capsule) = &work.capsule {
        context(&mut text, capsule);
    }
    if let Some(before) = before {
        section(&mut text, "Failed before", &before.words());
    }
    text
}

/// What the capsule's instructions say beyond the task's own: a person's remarks.
fn beyond(work: &Work) -> &str {
    let own = work.task.as_ref().map_or("", |task| task.instructions.as_str());
    let all = instructions(work);
    all.strip_prefix(own).unwrap_or(all)
}

fn context(text: &mut String, capsule: &Capsule) {
    section(text, "Decisions", &list(&capsule.decisions));
    let landed = capsule.dependencies.iter();
    let landed: Vec<String> =
        landed.map(|one| format!("{}: {} ({})", one.subtask, one.summary, one.files.join(", "))).collect();
    section(text, "Landed before", &list(&landed));
    if let Some(failure) = &capsule.last_failure {
        section(
            text,
            "The last attempt failed",
            &format!("{}: {}\n\n{}", failure.class, failure.message, failure.detail),
        );
    }
    section(text, "Next", &capsule.next);
}

#[cfg(test)]
mod tests {
    use longhaul_proto::{CapsuleFailure, Task};

    use super::*;

    fn work(subtask: &str) -> Work {
        let task =
            Task { instructions: "Use LazyLock.".into(), constraints: vec!["no new crates".into()], ..Task::default() };
        let capsule = Capsule {
            goal: "Modernise".into(),
            instructions: format!("Use LazyLock.\n\nA remark on {subtask}"),
            last_failure: Some(CapsuleFailure {
                class: "check".into(),
                message: format!("{subtask} broke"),
                detail: String::new(),
            }),
            ..Capsule::default()
        };
        Work {
            subtask: subtask.into(),
            files: vec![format!("src/{subtask}.rs")],
            task: Some(task),
            capsule: Some(capsule),
            ..Work::default()
        }
    }

    #[test]
    fn siblings_begin_with_the_same_bytes_and_end_with_their_own() {
        let found = Instructions::default();
        let brief = |subtask| Briefing::new(&work(subtask), &found, &[], None);
        let Briefing { shared, own } = brief("one");
        assert_eq!(shared, brief("two").shared);
        assert!(shared.contains("Modernise") && shared.contains("Use LazyLock.") && shared.contains("no new crates"));
        for words in ["A remark on one", "src/one.rs", "one broke"] {
            assert!(own.contains(words) && !shared.contains(words), "{words}");
        }
        assert_eq!(own.matches("Use LazyLock.").count(), 0, "said once");
    }

    #[test]
    fn the_failure_of_the_rung_before_is_told() {
        let failure = Failure { message: "check exited with 1".into(), detail: "E0308".into(), ..Failure::default() };
        let diff = "-one\n+two ```\n".to_owned();
        for (tried, fate) in [
            (Some(Tried { diff: diff.clone(), is_kept: true }), "is still in the workspace"),
            (Some(Tried { diff: diff.clone(), is_kept: false }), "was taken back"),
            (None, "left no change"),
        ] {
            let before = Before { failure: &failure, tried: tried.as_ref() };
            let told = Briefing::new(&work("one"), &Instructions::default(), &[], Some(before)).own;
            for words in ["check exited with 1", "E0308", fate] {
                assert!(told.contains(words), "{words}: {told}");
            }
            assert_eq!(told.contains("````diff\n-one\n+two ```\n````"), tried.is_some(), "{told}");
        }
    }
}
