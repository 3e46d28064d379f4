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
