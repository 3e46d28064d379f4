//! What reaches a worker's desk, and what the desk has done about it: its whole vocabulary.

use longhaul_common::JobId;

use super::desk::HELD_MAX;

/// An assignment: its job and its id in the job, over attempts and gates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The job.
    pub job: JobId,
    /// Unique in it.
    pub id: u64,
}

/// What an assignment asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An attempt at a subtask.
    Work,
    /// A gate.
    Gate,
}

/// What reaches the desk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// An assignment came.
    Assign(Key, Kind),
    /// It is no longer wanted; why, in words.
    Cancel(Key, String),
    /// A coordinator came up, or looks who is there.
    Hello,
    /// The coordinator will never give this worker anything; why, in words.
    Refusal(String),
    /// Take nothing new and leave when all is done.
    Drain,
    /// The time that drained assignments had is over.
    Overdue,
    /// There is no room for anything new (in words), or there is again.
    Room(Option<String>),
    /// A held assignment left the queue: its processes may run from now on.
    Started(Key),
    /// Its result, failure or handing back is sealed in the outbox.
    Executed(Key),
    /// It ended without anything sealed; it is no longer held and may be given again.
    HandedBack(Key),
    /// Its result is durable at the coordinator, or refused for good.
    Acknowledged(Key),
}

/// Why an assignment is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Why {
    /// Its result was acknowledged before.
    #[error("it is done")]
    Done,
    /// The worker serves another job.
    #[error("it is of a job this worker does not serve")]
    Foreign,
    /// As many are held as may be.
    #[error("{HELD_MAX} assignments are held")]
    TooMany,
    /// The worker is about to leave.
    #[error("the worker takes nothing new: it is draining")]
    Draining,
    /// Disk or outbox are full.
    #[error("the worker takes nothing new: {0}")]
    NoRoom(String),
}

/// How a worker ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leave {
    /// It drained, and holds nothing more.
    Drained,
    /// The coordinator refused it; why, in words.
    Refused(String),
}

/// What to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Queue it for execution.
    Start(Key, Kind),
    /// Deliver its sealed result, and go on until it is acknowledged.
    Deliver(Key),
    /// Someone asked again: deliver what is sealed now instead of after the pause.
    DeliverAgain(Key),
    /// End its processes; it still has an outcome.
    CancelIt(Key, String),
    /// Save its work in progress, end its processes, and seal that it is handed back.
    HandBack(Key),
    /// Publish presence.
    Announce,
    /// It is not taken.
    Refuse(Key, Why),
    /// End.
    End(Leave),
}
