//! Whether a result may be believed: the rules of patches once more, on the objects that arrived.
//!
//! A worker may be anybody's. What its report says a patch changes is replaced by what the patch
//! does change, and a patch that breaks footprint, protection or shape is a failed attempt, however
//! it was reported.

use std::panic::{AssertUnwindSafe, catch_unwind};

use longhaul_common::git::{Store, StoreError};
use longhaul_common::patch::{
    Credential, Declared, FileChange, MODE_GITLINK, MODE_SYMLINK, PathSet, credentials, lines_changed, validate,
};
use longhaul_common::sign::Sign;
use longhaul_common::weakened::{SourceChange, TestLanguage, weakened};
use longhaul_common::{AttemptId, GateId, Oid};
use longhaul_proto::{Failure, FailureClass, Finished, Patch, Policy, Task, finished};

use crate::core::State;

/// Larger files are not read: the policy's largest file is less.
const READ_BYTES_MAX: u64 = 64 << 20;

/// What a result is held against.
#[derive(Clone, Debug)]
pub enum Measure {
    /// What a subtask may write.
    Patch {
        /// Its task.
        task: Box<Task>,
        /// Its files.
        files: Vec<String>,
        /// Its claims.
        claims: Vec<String>,
        /// The job's policy.
        policy: Box<Policy>,
    },
    /// What a gate may regenerate.
    Derived {
        /// The commit that was gated.
        gated: Oid,
        /// Globs of derived files.
        globs: Vec<String>,
    },
}

impl Measure {
    /// For an attempt or gate; `None` for one the job does not wait for.
    pub fn of(state: &State, id: u64) -> Option<Self> {
        if let Some(run) = state.landing.gates.get(&GateId(id)) {
            let repo = state.plan().repo.as_ref();
            let globs = repo.map(|repo| repo.derived.iter().flat_map(|derived| derived.paths.clone()).collect());
            return Some(Self::Derived { gated: run.commit, globs: globs.unwrap_or_default() });
        }
        let node = state.node_of(AttemptId(id))?;
        Some(Self::Patch {
            task: Box::new(state.task(node).clone()),
            files: state.node(node).files.clone(),
            claims: state.node(node).claims.clone(),
            policy: Box::new(state.plan().policy.clone().unwrap_or_default()),
        })
    }
}

/// Holds a result, whose objects are in the store, against its measure, and puts right what its
/// report says. An error means that it could not be looked at.
pub fn vet(store: &Store, measure: &Measure, finished: &mut Finished) -> Result<(), StoreError> {
    let refused = match (measure, finished.outcome.as_mut()) {
        (Measure::Patch { task, files, claims, policy }, Some(finished::Outcome::Patch(patch))) => {
            let declared = Declared::new(task, files, claims, policy);
            let declared = declared.map_err(|error| StoreError::Write {
                path: store.path().to_owned(),
                what: "a verdict on a patch".to_owned(),
                cause: error.to_string(),
            })?;
            vet_patch(store, &declared, (task, policy), patch)?
        }
        (Measure::Derived { gated, globs }, Some(finished::Outcome::Gate(result)))
            if !result.derived_commit.is_empty() =>
        {
            let tree = Oid::from_bytes(&result.derived_tree).unwrap_or(Oid::ZERO);
            let changes = store.file_changes(store.tree_of(*gated)?, tree)?;
            let derived = PathSet::new(globs).unwrap_or_default();
            result.derived_files = changes.iter().map(|change| change.path.clone()).collect();
            let other = result.derived_files.iter().find(|path| !derived.contains(path));
            other.map(|path| Box::new(not_derived(path)))
        }
        _ => None,
    };
    if let Some(failure) = refused {
        finished.outcome = Some(finished::Outcome::Failure(*failure));
    }
    Ok(())
}

fn vet_patch(
    store: &Store,
    declared: &Declared,
    (task, policy): (&Task, &Policy),
    patch: &mut Patch,
) -> Result<Option<Box<Failure>>, StoreError> {
    let oid = |bytes: &[u8]| Oid::from_bytes(bytes).unwrap_or(Oid::ZERO);
    let changes = store.file_changes(store.tree_of(oid(&patch.base))?, oid(&patch.tree))?;
    match validate(&changes, declared, policy, store) {
        Ok(touched) => {
            patch.protected_touched = touched;
            let mut looked = look(store, task, policy, &changes)?;
            if !task.tests_may_change {
                let judges = changes.iter().filter(|change| declared.judges(&change.path));
                let finding = |change: &FileChange| format!("{}: the gate or a check goes by it", change.path);
                looked.find(Sign::EditedGate, judges.map(finding));
            }
            patch.sign = looked.sign.map(Sign::as_str).unwrap_or_default().to_owned();
            patch.findings = looked.findings;
            (patch.lines_added, patch.lines_removed) = looked.lines;
            patch.files = changes.into_iter().map(|change| change.path).collect();
            Ok(None)
        }
        Err(failure) => Ok(Some(failure)),
    }
}

/// What was read of a patch.
#[derive(Default)]
struct Looked {
    /// Lines added and removed.
    lines: (u64, u64),
    /// What a person has to look at before it lands, a line each.
    findings: Vec<String>,
    /// What the first of them is.
    sign: Option<Sign>,
}

impl Looked {
    fn find(&mut self, sign: Sign, found: impl IntoIterator<Item = String>) {
        let before = self.findings.len();
        self.findings.extend(found);
        if self.findings.len() > before {
            self.sign.get_or_insert(sign);
        }
    }
}

/// Reads both sides of each change: for its size, for tests that say less than before, unless the
/// task allows that, and for what looks like a credential.
fn look(store: &Store, task: &Task, policy: &Policy, changes: &[FileChange]) -> Result<Looked, StoreError> {
    let read = |oid: Oid, mode: u32| -> Result<Option<Vec<u8>>, StoreError> {
        let is_file = mode != 0 && mode != MODE_SYMLINK && mode != MODE_GITLINK;
        if !is_file || store.size(oid)? > READ_BYTES_MAX {
            return Ok(None);
        }
        store.blob(oid).map(Some)
    };
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (mut looked, mut sources) = (Looked::default(), Vec::new());
    for change in changes {
        let (before, after) = (read(change.old, change.old_mode)?, read(change.new, change.new_mode)?);
        let (old, new) = (before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
        let (added, removed) = lines_changed(old, new);
        looked.lines = (looked.lines.0 + added, looked.lines.1 + removed);
        let place = |found: &Credential| format!("{}:{}: looks like {}", change.path, found.line, found.kind);
        let what = format!("{}: credentials", change.path);
        looked.find(Sign::Credential, searched(&what, || credentials(old, new).iter().map(place).collect()));
        if TestLanguage::of(&change.path).is_some() && !task.tests_may_change {
            sources.push(SourceChange { path: change.path.clone(), before: text(before), after: text(after) });
        }
    }
    let says_less = || weakened(&sources).iter().map(ToString::to_string).collect();
    looked.find(Sign::WeakenedTests, searched("tests that say less", says_less));
    let lines = looked.lines.0 + looked.lines.1;
    looked.find(Sign::LargeDiff, too_large(lines, changes.len(), policy));
    Ok(looked)
}

/// What a search of the changed files finds. Where a defect of ours ends it, a person looks instead:
/// the next search of the same result would end there, too.
fn searched(what: &str, search: impl FnOnce() -> Vec<String>) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(search)).unwrap_or_else(|_| {
        tracing::warn!(what, "a result could not be searched, which is a defect of Longhaul: a person is asked");
        vec![format!("{what} could not be looked for, so that a person has to")]
    })
}

/// Where it is larger than the policy lets land unseen.
fn too_large(lines: u64, files: usize, policy: &Policy) -> Vec<String> {
    let over = |what: &str, found: u64, most: u64, key: &str| {
        (most > 0 && found > most).then(|| format!("it changes {found} {what}, more than {most} ({key})"))
    };
    let files = over("files", files as u64, policy.diff_files_max.into(), "policy.diff_files_max");
    let lines = over("lines", lines, policy.diff_lines_max, "policy.diff_lines_max");
    lines.into_iter().chain(files).collect()
}

fn not_derived(path: &str) -> Failure {
    Failure {
        class: FailureClass::Infrastructure.into(),
        message: format!("the gate's worker changed {path}, which is no derived file"),
        ..Failure::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_fails_has_a_person_look() {
        assert_eq!(searched("x", || vec!["a".to_owned()]), ["a"]);
        let found = searched("a.js: credentials", || panic!("a defect"));
        assert_eq!(found, ["a.js: credentials could not be looked for, so that a person has to"]);
    }
}
