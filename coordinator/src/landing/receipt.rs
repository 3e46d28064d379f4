//! Receipts: what landed, where, and which gate passed on it, committed beside the branch.

use longhaul_common::coverage::is_proven;
use longhaul_common::git::{Identity, NewCommit, Store, StoreError};
use longhaul_common::{BatchId, Oid};
use longhaul_proto::{FORMAT, Receipt, ReceiptMember};

use super::Refs;
use crate::core::{Phase, State};

/// The receipt of the batch that is about to land.
pub fn receipt(state: &State, id: BatchId) -> Option<Receipt> {
    let batch = state.landing.batch.as_ref().filter(|batch| batch.id == id)?;
    let green = batch.green.as_ref()?;
    let members = batch.members.iter().zip(&batch.commits).filter_map(|(&node, commit)| {
        let Phase::Landing { candidate, .. } = state.subtask(node).phase() else { return None };
        let patch = &candidate.patch;
        Some(ReceiptMember {
            subtask: state.node(node).id.clone(),
            attempt_commit: Oid::from_bytes(&patch.commit).ok()?.to_string(),
            landing_commit: commit.to_string(),
            agent: patch.agent.clone(),
            attempt: candidate.attempt.0,
            files: patch.files.clone(),
            protected_touched: patch.protected_touched.clone(),
            key: state.node(node).key.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    });
    Some(Receipt {
        format: FORMAT,
        job: state.job().to_owned(),
        batch: id.0,
        tip_before: batch.tip.to_string(),
        merge: batch.merge.commit.to_string(),
        tree: batch.merge.tree.to_string(),
        gate_command: gate_command(state),
        gate: green.gate.0,
        exit_code: green.result.exit_code,
        log_hash: green.result.log_hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        flaky: !batch.reds.is_empty(),
        unproven: !green.result.coverage.as_ref().is_some_and(is_proven),
        members: members.collect(),
        at_ms: state.now_ms(),
        derived_files: green.result.derived_files.clone(),
        duration_ms: green.duration_ms,
        coverage: green.result.coverage.clone(),
    })
}

fn gate_command(state: &State) -> String {
    let run = state.plan().gate.as_ref().and_then(|gate| gate.run.clone()).unwrap_or_default();
    if run.argv.is_empty() { run.shell } else { run.argv.join(" ") }
}

/// Commits a receipt and the gate's log; a receipt that is there already is left alone.
pub fn write_receipt(
    store: &Store,
    refs: &Refs,
    receipt: &Receipt,
    log: Option<Vec<u8>>,
    identity: &Identity,
) -> Result<(), StoreError> {
    let name = refs.receipts();
    let head = store.reference(&name)?;
    let tree = head.map(|head| store.tree_of(head)).transpose()?;
    let path = receipt_path(receipt.batch);
    if let Some(tree) = tree
        && store.entry(tree, &path)?.is_some()
    {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(receipt).expect("a receipt is plain data");
    let mut files = vec![(path, text)];
    files.extend(log.map(|log| (format!("gates/{:06}.log", receipt.gate), log)));
    let tree = store.write_files(tree, &files)?;
    let parents: Vec<Oid> = head.into_iter().collect();
    let message = format!("Receipt of landing {} ({})\n\nJob-Id: {}\n", receipt.batch, receipt.merge, receipt.job);
    let commit = store.write_commit(&NewCommit {
        tree,
        parents: &parents,
        author: identity,
        seconds: receipt.at_ms / 1000,
        message: &message,
    })?;
    store.move_reference(&name, head.unwrap_or(Oid::ZERO), commit)
}

fn receipt_path(batch: u64) -> String {
    format!("receipts/{batch:06}.json")
}

/// Every receipt of a job, by batch. A file that is no receipt is an error naming it.
pub fn read_receipts(store: &Store, refs: &Refs) -> Result<Vec<Receipt>, StoreError> {
    let Some(head) = store.reference(&refs.receipts())? else { return Ok(Vec::new()) };
    let mut receipts = Vec::new();
    for entry in store.list(store.tree_of(head)?)? {
        if !entry.path.starts_with("receipts/") {
            continue;
        }
        let receipt: Receipt = serde_json::from_slice(&store.blob(entry.oid)?).map_err(|error| StoreError::Read {
            path: store.path().to_owned(),
            what: entry.path.clone(),
            cause: error.to_string(),
        })?;
        receipts.push(receipt);
    }
    Ok(receipts)
}
