//! What reaches the core from outside: reports, outcomes of commands, requests of people, time.

use longhaul_common::{BatchId, NodeId, Oid, ParkId};
use longhaul_proto::{AnswerScope, Asking, Budget, Finished, Wip};

use serde::{Deserialize, Serialize};

use super::WorkerView;

/// One member's place in a merged chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberMerge {
    /// Which.
    pub node: NodeId,
    /// Its commit on the chain, or the paths on which it conflicts with what is before it.
    pub result: Result<Oid, Vec<String>>,
}

/// The merge commit over a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Merge {
    /// First parent: the tip; second: the end of the chain.
    pub commit: Oid,
    /// The tree that is gated.
    pub tree: Oid,
}

/// What became of moving the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveResult {
    /// It is at the new commit, durably.
    Moved,
    /// It is neither at the old nor at the new commit.
    Foreign {
        /// Where it is.
        found: Oid,
    },
}

/// What a person asks of a running job. Names are resolved before.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// No new work; what runs is finished.
    Pause {
        /// For the record.
        reason: String,
    },
    /// Go on, with other limits where given.
    Resume {
        /// Replaces the budget.
        limits: Option<Budget>,
        /// Who takes it that what is in doubt was not used; empty for nobody.
        write_off: String,
    },
    /// Close these subtasks; all open ones with `whole_job`.
    Cancel {
        /// Which.
        nodes: Vec<NodeId>,
        /// End the job too.
        whole_job: bool,
        /// For the record.
        reason: String,
    },
    /// Try again from the start, with a remark for the agent.
    Retry {
        /// Which.
        nodes: Vec<NodeId>,
        /// May be empty.
        remark: String,
    },
    /// End these parks; where an agent asked whether it may, it may.
    Approve {
        /// Which.
        parks: Vec<ParkId>,
        /// For whom a yes to an agent holds.
        scope: AnswerScope,
        /// Who said so.
        by: String,
    },
    /// End a park with words for the next attempt.
    Answer {
        /// Which.
        park: ParkId,
        /// The words.
        text: String,
        /// For whom an answer to an agent holds.
        scope: AnswerScope,
        /// Who said so.
        by: String,
    },
    /// Say no to what an agent wants, or drop the result that waits for a yes and try again.
    Reject {
        /// Which park.
        park: ParkId,
        /// Why, for the next attempt; may be empty.
        reason: String,
        /// For whom a no to an agent holds.
        scope: AnswerScope,
        /// Who said so.
        by: String,
    },
    /// Let a quarantined worker have work again.
    Release {
        /// Which.
        worker: String,
        /// Who said so.
        by: String,
    },
    /// Take back a landed subtask.
    Revert {
        /// Which.
        node: NodeId,
        /// The tree of its landing commit's first parent.
        parent: Oid,
        /// Tree of `parent`.
        parent_tree: Oid,
        /// For the record.
        reason: String,
    },
}

/// Everything the driver can tell the core.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A worker is there.
    Presence {
        /// Its name.
        worker: String,
        /// What it says.
        view: WorkerView,
    },
    /// A durable result of an attempt or gate.
    Finished {
        /// Attempt or gate id.
        id: u64,
        /// The result.
        finished: Box<Finished>,
    },
    /// Durable work in progress of an attempt.
    Wip {
        /// Attempt id.
        id: u64,
        /// What was saved.
        wip: Box<Wip>,
    },
    /// A worker says that an agent of its waits for a person; again and again until it is told.
    Asking {
        /// Who says so.
        worker: String,
        /// Attempt id.
        id: u64,
        /// What it asks.
        asking: Box<Asking>,
    },
    /// A batch was merged; empty `merge` when every member conflicted.
    Merged {
        /// Which.
        batch: BatchId,
        /// In batch order.
        members: Vec<MemberMerge>,
        /// The merge over those without conflict.
        merge: Option<Merge>,
    },
    /// A land group's member was merged onto its staging head.
    Staged {
        /// The plan whose numbers these are: another one may have been opened since it was asked for.
        generation: u32,
        /// Which.
        node: NodeId,
        /// The new head, or the paths in conflict.
        result: Result<Oid, Vec<String>>,
    },
    /// Derived files were sealed into the batch's merge.
    Sealed {
        /// Which.
        batch: BatchId,
        /// The new merge.
        merge: Merge,
    },
    /// The branch was to be moved.
    RefMoved {
        /// For which batch.
        batch: BatchId,
        /// The outcome.
        result: MoveResult,
    },
    /// A command could not be carried out (disk, a damaged store): the job pauses.
    CommandFailed {
        /// In words, with the next step.
        reason: String,
    },
    /// Time passed.
    Tick,
    /// This process took over, or could not run for a while.
    Gap {
        /// How long.
        ms: u64,
    },
    /// The bus was down: nobody could be heard, while whoever works went on.
    Deaf {
        /// How long.
        ms: u64,
    },
    /// A person's request.
    Request(Request),
}
