//! Proof of a job from git alone: every first-parent commit has a receipt that fits it.

use longhaul_common::Oid;
use longhaul_common::coverage::is_proven;
use longhaul_common::git::{Store, StoreError};
use longhaul_proto::Receipt;

/// Something that does not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The commit, receipt or ref.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The result of a verification.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct VerifyReport {
    /// First-parent commits looked at, oldest first: the merges to gate again with `--rerun`.
    pub merges: Vec<Oid>,
    /// Receipts that fit.
    pub receipts: usize,
    /// Subtasks proven landed.
    pub subtasks: usize,
    /// Receipts whose gate executed every changed line of code.
    pub proven: usize,
    /// What does not fit; empty is good.
    pub findings: Vec<Finding>,
}

/// Checks the chain from `tip` back to `base` against the receipts.
pub fn verify(store: &Store, base: Oid, tip: Oid, receipts: &[Receipt]) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    let mut at = tip;
    while at != base {
        report.merges.push(at);
        let parents = store.parents_of(at)?;
        match receipts.iter().find(|receipt| receipt.merge == at.to_string()) {
            Some(receipt) => check(store, at, &parents, receipt, &mut report)?,
            None => report.find(at, "it is on the branch without a receipt"),
        }
        match parents.first() {
            Some(&parent) => at = parent,
            None => {
                report.find(at, "the branch does not begin at the base");
                break;
            }
        }
    }
    report.merges.reverse();
    Ok(report)
}

impl VerifyReport {
    fn find(&mut self, what: impl ToString, problem: impl Into<String>) {
        self.findings.push(Finding { what: what.to_string(), problem: problem.into() });
    }
}

fn check(
    store: &Store,
    at: Oid,
    parents: &[Oid],
    receipt: &Receipt,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let before = report.findings.len();
    if receipt.tree != store.tree_of(at)?.to_string() {
        report.find(at, format!("its receipt names the tree {}", receipt.tree));
    }
    if parents.first().map(ToString::to_string).as_deref() != Some(&receipt.tip_before) {
        report.find(at, format!("its receipt names the parent {}", receipt.tip_before));
    }
    if receipt.exit_code != 0 {
        report.find(at, format!("its gate ended with {}", receipt.exit_code));
    }
    if !receipt.unproven && !receipt.coverage.as_ref().is_some_and(is_proven) {
        report.find(at, "its receipt is called proven, and its coverage does not say so");
    }
    let mut chain = Vec::new();
    let mut inner = parents.get(1).copied();
    while let Some(commit) = inner.filter(|commit| Some(commit) != parents.first()) {
        chain.push(commit.to_string());
        inner = store.parents_of(commit)?.first().copied();
    }
    for member in &receipt.members {
        if chain.contains(&member.landing_commit) {
            report.subtasks += 1;
        } else {
            report.find(at, format!("{} is not on it as {}", member.subtask, member.landing_commit));
        }
    }
    let fits = report.findings.len() == before;
    report.receipts += usize::from(fits);
    report.proven += usize::from(fits && !receipt.unproven);
    Ok(())
}

#[cfg(test)]
mod tests {
    use longhaul_common::git::{Git, Identity, NewCommit};
    use longhaul_proto::{Coverage, ReceiptMember};

    use super::*;

    /// A branch with one landing of one subtask, and its receipt.
    struct Landed {
        _folder: tempfile::TempDir,
        store: Store,
        base: Oid,
        tip: Oid,
        receipt: Receipt,
    }

    fn commit(store: &Store, tree: Oid, parents: &[Oid]) -> Oid {
        let author = &Identity { name: "A".into(), email: "a@example.org".into() };
        store.write_commit(&NewCommit { tree, parents, author, seconds: 7, message: "m\n" }).expect("a commit")
    }

    fn landed() -> Landed {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.git");
        Git::at(&path).run(["init", "--quiet", "--bare", "--template="]).expect("git");
        let store = Store::open(&path).expect("a store");
        let tree_of = |text: &str| store.write_files(None, &[("f".into(), text.into())]).expect("a tree");
        let (before, after) = (tree_of("one"), tree_of("two"));
        let base = commit(&store, before, &[]);
        let member = commit(&store, after, &[base]);
        let tip = commit(&store, after, &[base, member]);
        let receipt = Receipt {
            tip_before: base.to_string(),
            merge: tip.to_string(),
            tree: after.to_string(),
            members: vec![ReceiptMember {
                subtask: "one".into(),
                landing_commit: member.to_string(),
                ..ReceiptMember::default()
            }],
            coverage: Some(Coverage { lines: 3, ..Coverage::default() }),
            ..Receipt::default()
        };
        Landed { _folder: folder, store, base, tip, receipt }
    }

    #[test]
    fn a_landing_is_proven_by_its_receipt() {
        let landed = landed();
        let report = verify(&landed.store, landed.base, landed.tip, &[landed.receipt]).expect("readable");
        let counts = (report.merges.len(), report.receipts, report.subtasks, report.proven);
        assert_eq!((counts, report.findings), ((1, 1, 1, 1), vec![]));
    }

    #[test]
    fn every_lie_of_a_receipt_is_found() {
        type Lie = fn(&mut Receipt);
        let lies: [(Lie, &str); 7] = [
            (|receipt| receipt.tree = "0".repeat(40), "its receipt names the tree 0000"),
            (|receipt| receipt.tip_before = receipt.merge.clone(), "its receipt names the parent"),
            (|receipt| receipt.exit_code = 1, "its gate ended with 1"),
            (|receipt| receipt.coverage = None, "is called proven"),
            (|receipt| receipt.coverage.as_mut().expect("there").not_executed = 1, "is called proven"),
            (|receipt| receipt.members[0].landing_commit = receipt.tip_before.clone(), "one is not on it as"),
            (|receipt| receipt.merge = "0".repeat(40), "without a receipt"),
        ];
        for (lie, words) in lies {
            let mut landed = landed();
            lie(&mut landed.receipt);
            let report = verify(&landed.store, landed.base, landed.tip, &[landed.receipt]).expect("readable");
            let [found] = report.findings.as_slice() else { panic!("{words}: {:?}", report.findings) };
            assert!(found.problem.contains(words) && found.what == landed.tip.to_string(), "{words}: {found:?}");
            assert_eq!((report.receipts, report.proven), (0, 0), "{words}");
        }
    }

    #[test]
    fn a_commit_beside_the_landings_and_a_foreign_branch_are_found() {
        let landed = landed();
        let (store, tree) = (&landed.store, landed.store.tree_of(landed.tip).expect("a tree"));
        let beside = commit(store, tree, &[landed.tip]);
        let report = verify(store, landed.base, beside, std::slice::from_ref(&landed.receipt)).expect("readable");
        assert_eq!((report.receipts, report.findings.len()), (1, 1));
        assert!(report.findings[0].problem.contains("without a receipt"), "{:?}", report.findings);
        let foreign = commit(store, tree, &[]);
        let report = verify(store, landed.base, foreign, &[landed.receipt]).expect("readable");
        assert!(report.findings.iter().any(|found| found.problem.contains("does not begin at the base")));
    }
}
