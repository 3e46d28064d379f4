//! Results of a worker that lies about what it changed.

use longhaul_common::Oid;
use longhaul_common::git::{Git, Store};
use longhaul_coordinator::vet::{Measure, vet};
use longhaul_proto::{FailureClass, Finished, GateResult, Patch, Policy, Task, finished};

struct Repo {
    _folder: tempfile::TempDir,
    store: Store,
    base: Oid,
}

fn repo() -> Repo {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.git");
    Git::at(&path).run(["init", "--quiet", "--bare"]).expect("made");
    let store = Store::open_own(&path).expect("opens");
    let files = [("src/a.txt", "a"), ("tests/t.txt", "t"), ("Cargo.lock", "l")];
    let base = commit(&store, None, &files);
    Repo { _folder: folder, store, base }
}

/// A commit of these files over another's tree.
fn commit(store: &Store, on: Option<Oid>, files: &[(&str, &str)]) -> Oid {
    let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let before = on.map(|on| store.tree_of(on).expect("a tree"));
    let tree = store.write_files(before, &files).expect("written");
    let identity = longhaul_common::git::Identity { name: "a".into(), email: "a@b".into() };
    let parents: Vec<Oid> = on.into_iter().collect();
    store
        .write_commit(&longhaul_common::git::NewCommit {
            tree,
            parents: &parents,
            author: &identity,
            seconds: 1,
            message: "m",
        })
        .expect("written")
}

fn patched(repo: &Repo, files: &[(&str, &str)], said: &[&str]) -> Finished {
    let commit = commit(&repo.store, Some(repo.base), files);
    let tree = repo.store.tree_of(commit).expect("a tree");
    let patch = Patch {
        commit: commit.to_vec(),
        tree: tree.to_vec(),
        base: repo.base.to_vec(),
        files: said.iter().map(|&path| path.to_owned()).collect(),
        ..Patch::default()
    };
    Finished { outcome: Some(finished::Outcome::Patch(patch)), ..Finished::default() }
}

fn measure() -> Measure {
    Measure::Patch {
        task: Box::new(Task { write: vec!["src/**".into()], ..Task::default() }),
        files: Vec::new(),
        claims: Vec::new(),
        policy: Box::new(Policy { protect: vec!["tests/**".into()], ..Policy::default() }),
    }
}

#[test]
fn what_a_patch_changes_is_read_from_it_and_not_from_its_report() {
    let repo = repo();
    let mut honest = patched(&repo, &[("src/a.txt", "b"), ("src/new.txt", "n")], &["src/other.txt"]);
    vet(&repo.store, &measure(), &mut honest).expect("looked at");
    let Some(finished::Outcome::Patch(patch)) = honest.outcome else { panic!("{honest:?}") };
    assert_eq!(patch.files, ["src/a.txt", "src/new.txt"]);
}

#[test]
fn a_hostile_worker_touches_no_protected_path_and_nothing_outside_its_footprint() {
    let repo = repo();
    for (path, class) in [("tests/t.txt", FailureClass::Protected), ("Cargo.lock", FailureClass::Footprint)] {
        let mut lie = patched(&repo, &[("src/a.txt", "b"), (path, "x")], &["src/a.txt"]);
        vet(&repo.store, &measure(), &mut lie).expect("looked at");
        let Some(finished::Outcome::Failure(failure)) = lie.outcome else { panic!("{path} got through") };
        assert_eq!((failure.class(), failure.paths.as_slice()), (class, &[path.to_owned()][..]));
    }
}

#[test]
fn the_size_of_a_patch_is_counted_and_a_large_one_waits_for_a_yes() {
    let repo = repo();
    let Measure::Patch { task, files, claims, policy } = measure() else { panic!("of a patch") };
    let policy = Box::new(Policy { diff_lines_max: 4, diff_files_max: 1, ..*policy });
    let measure = Measure::Patch { task, files, claims, policy };
    for (changed, lines, found) in [
        (&[("src/a.txt", "b\nc\nd\n")][..], (3, 1), &[][..]),
        (&[("src/a.txt", "b\nc\nd\ne\n")], (4, 1), &["it changes 5 lines, more than 4 (policy.diff_lines_max)"]),
        (&[("src/a", "x"), ("src/b", "y")], (2, 0), &["it changes 2 files, more than 1 (policy.diff_files_max)"]),
    ] {
        let mut finished = patched(&repo, changed, &[]);
        vet(&repo.store, &measure, &mut finished).expect("looked at");
        let Some(finished::Outcome::Patch(patch)) = finished.outcome else { panic!("{finished:?}") };
        assert_eq!((patch.lines_added, patch.lines_removed), lines);
        assert_eq!(patch.findings, found);
    }
}

/// What is found in a patch of these files, by a subtask with this task.
fn findings(task: Task, policy: Policy, files: &[(&str, &str)]) -> Vec<String> {
    let repo = repo();
    let (task, policy) = (Box::new(task), Box::new(policy));
    let measure = Measure::Patch { task, files: Vec::new(), claims: Vec::new(), policy };
    let mut finished = patched(&repo, files, &[]);
    vet(&repo.store, &measure, &mut finished).expect("looked at");
    let Some(finished::Outcome::Patch(patch)) = finished.outcome else { panic!("{finished:?}") };
    patch.findings
}

#[test]
fn what_looks_like_a_credential_is_found_in_a_patch() {
    let whole = Task { whole_repository: true, ..Task::default() };
    let key = format!("first\nid = {}{}\n", "AKIA", "IOSFODNN7EXAMPLE");
    let found = findings(whole.clone(), Policy::default(), &[("src/a.txt", &key), ("src/b.txt", "plain")]);
    assert_eq!(found, ["src/a.txt:2: looks like an AWS access key"]);
    let large = format!("{}{key}", "data\n".repeat(300_000));
    assert_eq!(findings(whole, Policy::default(), &[("src/a.txt", &large)]).len(), 1);
}

#[test]
fn what_judges_a_change_waits_for_a_yes_though_it_is_named() {
    let policy = Policy { judging: vec!["Makefile".into(), "GNUmakefile".into()], ..Policy::default() };
    let task = Task { write: vec!["Makefile".into(), "GNUmakefile".into()], ..Task::default() };
    let changed = [("GNUmakefile", "test: ; true\n")];
    assert_eq!(findings(task.clone(), policy.clone(), &changed), ["GNUmakefile: the gate or a check goes by it"]);
    let allowed = Task { tests_may_change: true, ..task };
    assert_eq!(findings(allowed, policy, &changed), Vec::<String>::new());
}

#[test]
fn a_lying_gate_worker_brings_only_derived_files() {
    let repo = repo();
    let measure = Measure::Derived { gated: repo.base, globs: vec!["Cargo.lock".into()] };
    for (path, fine) in [("Cargo.lock", true), ("src/a.txt", false)] {
        let derived = commit(&repo.store, Some(repo.base), &[(path, "changed")]);
        let result = GateResult {
            derived_commit: derived.to_vec(),
            derived_tree: repo.store.tree_of(derived).expect("a tree").to_vec(),
            ..GateResult::default()
        };
        let mut finished = Finished { outcome: Some(finished::Outcome::Gate(result)), ..Finished::default() };
        vet(&repo.store, &measure, &mut finished).expect("looked at");
        match finished.outcome {
            Some(finished::Outcome::Gate(result)) => assert!(fine && result.derived_files == [path]),
            other => assert!(!fine && format!("{other:?}").contains("no derived file"), "{other:?}"),
        }
    }
}
