//! What of a formatter's work belongs to the subtask.
//!
//! A `fix` command runs over whole files and may touch what the subtask did not: the repository was
//! not formatted, or another version formats differently. Such drift would collide with the
//! neighbours' patches, so it is dropped: hunks away from the lines the subtask touched go back, and
//! so do files it did not touch.

use std::fs;
use std::ops::Range;
use std::path::Path;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};
use longhaul_common::Oid;
use longhaul_common::git::Store;

use crate::commit::{Exclusions, Snapshot, StageError, changes, set_entries, snapshot};
use crate::workspace::{Slot, WorkspaceError};

/// Files above this many bytes are taken as the formatter left them.
const MERGE_BYTES_MAX: u64 = 8 << 20;

/// Takes the snapshot after the fix and removes its drift from index and workspace. `agent` is the
/// snapshot from before the fix. Blocks.
pub fn settle(slot: &Slot, base: Oid, agent: &Snapshot, exclusions: &Exclusions) -> Result<Snapshot, StageError> {
    let fixed = snapshot(slot, base, exclusions)?;
    if fixed.tree == agent.tree {
        return Ok(fixed);
    }
    let objects = slot.objects()?;
    let mut entries: Vec<(u32, Oid, Vec<u8>)> = Vec::new();
    for drift in changes(&slot.git(), &agent.tree.to_string())? {
        let by_agent = agent.changes.iter().find(|change| change.raw == drift.raw);
        let kept = match by_agent {
            None => Some((drift.old_mode, drift.old)),
            // The formatter removed a file of the subtask: that is no formatting.
            Some(_) if drift.is_deletion() => Some((drift.old_mode, drift.old)),
            Some(change) if change.is_addition() || drift.is_addition() => None,
            Some(change) => {
                let merged = merge(slot, &objects, change.old, drift.old, drift.new)?;
                (merged != drift.new || drift.old_mode != drift.new_mode).then_some((drift.old_mode, merged))
            }
        };
        if let Some((mode, oid)) = kept {
            entries.push((mode, oid, drift.raw));
        }
    }
    if entries.is_empty() {
        return Ok(fixed);
    }
    write_back(slot, &entries)?;
    snapshot(slot, base, exclusions)
}

/// Puts entries into the index and the files of the workspace.
fn write_back(slot: &Slot, entries: &[(u32, Oid, Vec<u8>)]) -> Result<(), StageError> {
    let borrowed: Vec<_> = entries.iter().map(|(mode, oid, raw)| (*mode, *oid, raw.as_slice())).collect();
    set_entries(slot, &borrowed)?;
    let mut paths = Vec::new();
    for (mode, _, raw) in entries {
        if *mode == 0 {
            remove_file(slot, raw)?;
        } else {
            paths.extend_from_slice(raw);
            paths.push(0);
        }
    }
    // Git checks files out without following links that may have been put in the way.
    slot.git().run_with_input(["checkout-index", "-f", "-u", "-z", "--stdin"], &paths)?;
    Ok(())
}

/// Removes a file the formatter made, unless a link leads to it.
fn remove_file(slot: &Slot, raw: &[u8]) -> Result<(), WorkspaceError> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut path = slot.ws();
    let relative = Path::new(std::ffi::OsStr::from_bytes(raw));
    for component in relative.components() {
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Ok(());
        }
        path.push(component);
    }
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(WorkspaceError::Io { action: "remove", path, source })
        }
        _ => Ok(()),
    }
}

fn merge(slot: &Slot, objects: &Store, base: Oid, agent: Oid, fixed: Oid) -> Result<Oid, WorkspaceError> {
    for oid in [base, agent, fixed] {
        if objects.size(oid)? > MERGE_BYTES_MAX {
            return Ok(fixed);
        }
    }
    let (base, agent_text, fixed_text) = (objects.blob(base)?, objects.blob(agent)?, objects.blob(fixed)?);
    let merged = without_drift(&base, &agent_text, &fixed_text);
    if merged == fixed_text {
        return Ok(fixed);
    }
    if merged == agent_text {
        return Ok(agent);
    }
    let oid = slot.git().run_with_input(["hash-object", "-w", "--no-filters", "--stdin"], &merged)?;
    let text = String::from_utf8_lossy(&oid).trim().to_owned();
    text.parse().map_err(|_| {
        WorkspaceError::Git(longhaul_common::git::GitError::Output {
            args: "hash-object".into(),
            output: text,
            expected: "an object id",
        })
    })
}

/// `fixed` without the changes it makes to lines of `agent` that `agent` has as `base` had them.
pub fn without_drift(base: &[u8], agent: &[u8], fixed: &[u8]) -> Vec<u8> {
    let touched = after_ranges(base, agent);
    let input = InternedInput::new(agent, fixed);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let mut out = Vec::with_capacity(fixed.len());
    let mut at = 0;
    for hunk in diff.hunks().flat_map(|hunk| split(&input, hunk)) {
        if !touched.iter().any(|range| meets(&hunk.before, range)) {
            continue;
        }
        push_lines(&mut out, &input, &input.before[at..hunk.before.start as usize]);
        push_lines(&mut out, &input, &input.after[hunk.after.start as usize..hunk.after.end as usize]);
        at = hunk.before.end as usize;
    }
    push_lines(&mut out, &input, &input.before[at..]);
    out
}

/// Cuts a hunk at lines that differ in nothing but white space. Neighbouring lines that were all
/// formatted make one hunk, of which the subtask may have touched a single line; what really was
/// split or joined stays together.
fn split(input: &InternedInput<&[u8]>, hunk: Hunk) -> Vec<Hunk> {
    let bare = |token: &imara_diff::Token| -> Vec<u8> {
        input.interner[*token].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect()
    };
    let (before, after) = (hunk.before.start, hunk.after.start);
    let mut lines = InternedInput::<Vec<u8>>::default();
    lines.update_before(input.before[before as usize..hunk.before.end as usize].iter().map(bare));
    lines.update_after(input.after[after as usize..hunk.after.end as usize].iter().map(bare));
    let diff = Diff::compute(Algorithm::Histogram, &lines);
    let mut parts = Vec::new();
    let (mut at_before, mut at_after) = (0, 0);
    let ends = Hunk { before: lines.before.len() as u32..0, after: lines.after.len() as u32..0 };
    for next in diff.hunks().chain([ends]) {
        while at_before < next.before.start {
            parts.push(Hunk { before: at_before..at_before + 1, after: at_after..at_after + 1 });
            (at_before, at_after) = (at_before + 1, at_after + 1);
        }
        if next.before.end >= next.before.start && next.after.end >= next.after.start {
            (at_before, at_after) = (next.before.end, next.after.end);
            parts.push(next);
        }
    }
    let shifted = |range: Range<u32>, by: u32| range.start + by..range.end + by;
    parts
        .into_iter()
        .map(|part| Hunk { before: shifted(part.before, before), after: shifted(part.after, after) })
        .collect()
}

fn push_lines(out: &mut Vec<u8>, input: &InternedInput<&[u8]>, tokens: &[imara_diff::Token]) {
    for &token in tokens {
        out.extend_from_slice(input.interner[token]);
    }
}

/// Lines of `after` that differ from `before`; an empty range is a place where lines are missing.
fn after_ranges(before: &[u8], after: &[u8]) -> Vec<Range<u32>> {
    let input = InternedInput::new(before, after);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    diff.hunks().map(|hunk| hunk.after).collect()
}

/// Whether a change of lines touches a range; what has no lines of its own also meets its edges.
fn meets(hunk: &Range<u32>, touched: &Range<u32>) -> bool {
    if hunk.is_empty() || touched.is_empty() {
        hunk.start <= touched.end && touched.start <= hunk.end
    } else {
        hunk.start < touched.end && touched.start < hunk.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(base: &str, agent: &str, fixed: &str) -> String {
        String::from_utf8(without_drift(base.as_bytes(), agent.as_bytes(), fixed.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn only_touched_lines_are_formatted() {
        let base = "a ( )\nb\nc\nd\ne ( )\n";
        let agent = "a ( )\nb\nNEW ( )\nd\ne ( )\n";
        let fixed = "a()\nb\nNEW()\nd\ne()\n";
        assert_eq!(settled(base, agent, fixed), "a ( )\nb\nNEW()\nd\ne ( )\n");
    }

    #[test]
    fn a_formatter_that_splits_and_joins_lines_is_followed() {
        let base = "one\ntwo\nthree\nfour\n";
        let agent = "one\ncall(1, 2)\nthree\nfour\n";
        let fixed = "one\ncall(\n  1,\n  2,\n)\nthree\nFOUR\n";
        assert_eq!(settled(base, agent, fixed), "one\ncall(\n  1,\n  2,\n)\nthree\nfour\n");
    }

    #[test]
    fn line_endings_and_missing_last_newlines_survive() {
        assert_eq!(settled("a\r\nb\r\nc", "a\r\nX\r\nc", "a\nX \r\nc\n"), "a\r\nX \r\nc");
        assert_eq!(settled("", "", ""), "");
        assert_eq!(settled("a\n", "a\n", "b\n"), "a\n");
        assert_eq!(settled("a\nb\n", "b\n", "x\nb\n"), "x\nb\n");
    }
}
