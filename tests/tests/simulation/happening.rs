//! What can happen in the world, at a time of its own.

use longhaul_common::{BatchId, Oid};
use longhaul_proto::Decision;

use crate::coordinator::Letter;
use crate::faults::Fault;
use crate::worker::Assignment;

/// What can happen.
#[derive(Debug)]
pub enum Happening {
    /// The coordinator looks what there is.
    Turn,
    /// Something reaches it; with a life, only if it has not died since.
    Letter {
        life: Option<u32>,
        letter: Box<Letter>,
    },
    CoordinatorStarts,
    /// Git moves the branch.
    MoveRef {
        life: u32,
        batch: BatchId,
        old: Oid,
        new: Oid,
    },
    /// A message reaches a worker.
    Order {
        worker: usize,
        order: Order,
    },
    /// An assignment goes on.
    Step {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    /// An agent waits for a person, and says so; the wait ends then.
    Ask {
        worker: usize,
        incarnation: u32,
        id: u64,
        asked_ms: i64,
        until: i64,
    },
    Presence {
        worker: usize,
        incarnation: u32,
    },
    /// A sealed result is handed over (again).
    Deliver {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    Ack {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    WorkerStarts {
        worker: usize,
    },
    NextFault,
    FaultEnds(Fault),
    PersonLooks,
}

/// What a coordinator sends to a worker.
#[derive(Clone, Debug)]
pub enum Order {
    Assign(Assignment),
    Stop(u64),
    /// To what it asked then.
    Answer {
        id: u64,
        asked_ms: i64,
        decision: Box<Decision>,
    },
    Hello,
}
