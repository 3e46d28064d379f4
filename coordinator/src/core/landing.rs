//! Landing: batches of results become gated merges on the integration branch.
//!
//! A red batch is run once more before anyone is suspected; green on the second run lands it,
//! marked flaky. Red twice asks for a control on the bare tip, unless the tip was just seen green;
//! a red control blames nobody and halts landing. Then the batch is tried in halves. A single
//! member is convicted by two reds and a green control on the same tip. A land group is never
//! split. Gate runs for a batch of n with k culprits are at most 3 + k(2⌈log2 n⌉ + 2).

use std::collections::{BTreeMap, VecDeque};

use longhaul_common::{BatchId, GateId, NodeId, Oid};
use longhaul_proto::{
    BatchClosed, BatchEnd, BatchOpened, GatePurpose, GateResult, LandIntent, LandingHalted, MemberRejected, Verdict,
};
use serde::{Deserialize, Serialize};

use super::gate::{LostGates, ask};
use super::{Event, Merge, Millis, Phase, State, retry};

/// Inconclusive runs in a row before landing halts.
pub const INCONCLUSIVE_MAX: u32 = 4;

/// Red controls before the environment is held to be broken.
pub const CONTROL_REDS_MAX: u32 = 2;

/// First wait after an inconclusive gate; it doubles with each.
pub const INCONCLUSIVE_WAIT_MS: Millis = 1_000;

/// How much of a gate's log the convicted subtask is told.
const DETAIL_BYTES: usize = 6_000;

/// The gate on the pinned base.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum BaseGate {
    /// Not asked, or to be asked again.
    #[default]
    Open,
    /// Nothing was spent before this.
    Green,
    /// The job stops: the log's tail.
    Red(String),
}

/// The gate at the very end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum FinalGate {
    /// Not asked for this tip.
    #[default]
    Open,
    /// Green on this tip.
    Green(Oid),
    /// Red on this tip, twice.
    Red(Oid, String),
}

/// A gate being run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GateRun {
    /// As [`GatePurpose`].
    pub purpose: i32,
    /// Its batch; 0 without one.
    pub batch: BatchId,
    /// The commit it runs on.
    pub commit: Oid,
    /// Who runs it.
    pub worker: String,
    /// Since when.
    pub asked_ms: Millis,
}

/// A verdict that was recorded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// By which run.
    pub gate: GateId,
    /// What it said.
    pub result: GateResult,
    /// How long it took.
    pub duration_ms: u64,
}

/// How far a batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is said in one comment")]
pub enum Step {
    // The coordinator merges its members.
    Merging,
    // A gate is to be asked, not before the time.
    NeedsGate { not_before_ms: Millis },
    // The gate runs.
    Gating { gate: GateId },
    // The last verdict was red: to be decided.
    Red,
    // The control runs.
    Controlling { gate: GateId },
    // Derived files changed: the merge is made anew with them.
    Sealing,
    // Green: the branch may move.
    Green,
    // The intent is journaled, the branch moves.
    Moving,
}

/// Results on their way to the branch together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Which.
    pub id: BatchId,
    /// Those not in conflict, in landing order.
    pub members: Vec<NodeId>,
    /// Their commits on the chain, in the same order, once merged.
    pub commits: Vec<Oid>,
    /// What is gated, once merged.
    pub merge: Merge,
    /// The branch when it was opened.
    pub tip: Oid,
    /// Part of a red batch: one red is enough to split it again.
    pub bisecting: bool,
    /// A land group: never split.
    pub group: bool,
    /// How far.
    pub step: Step,
    /// Red runs of this very tree.
    pub reds: Vec<Judged>,
    /// The green run.
    pub green: Option<Judged>,
    /// Inconclusive runs in a row.
    pub inconclusive: u32,
    /// Red controls.
    pub control_reds: u32,
}

/// The landing side of a job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Landing {
    /// Where the integration branch is, or is about to be created.
    pub tip: Oid,
    /// Delivered results outside groups, oldest first.
    pub queue: VecDeque<NodeId>,
    /// Parts of red batches still to try, the next one last.
    pub segments: Vec<Vec<NodeId>>,
    /// The batch in work.
    pub batch: Option<Batch>,
    /// How many the next batch may take; doubles while green, back to one after a conviction.
    pub batch_size: u32,
    /// The gate on the base.
    pub base_gate: BaseGate,
    /// The gate at the end.
    pub final_gate: FinalGate,
    /// Runs of the base or final gate that were not green, in a row; a red one counts twice.
    pub lone_tries: u32,
    /// Not before this time may the base or final gate be asked again.
    pub lone_not_before_ms: Millis,
    /// A tip seen green since the last halt.
    pub control_green: Option<Oid>,
    /// Gates being run.
    pub gates: BTreeMap<GateId, GateRun>,
    /// Gates that ended with their workers.
    pub lost: LostGates,
    /// Why nothing lands until a person resumes.
    pub halted: Option<String>,
    /// A command of the batch failed; it is issued again when the job is resumed.
    pub blocked: bool,
    /// Batches that moved the branch.
    pub landings: u32,
    /// Gates that gave a verdict.
    pub gates_run: u64,
    /// Landings whose gate executed every changed line of code.
    pub proven: u32,
}

/// The next landing event, if one is due.
pub(super) fn advance(state: &State, now: Millis) -> Option<Event> {
    let landing = &state.landing;
    match &landing.batch {
        Some(batch) => advance_batch(state, batch, now),
        None if landing.halted.is_some() => None,
        None => open(state),
    }
}

fn open(state: &State) -> Option<Event> {
    let landing = &state.landing;
    let event = |members: Vec<NodeId>, bisecting| {
        Event::BatchOpened(BatchOpened {
            batch: state.next_batch(),
            members: members.into_iter().map(|node| node.0).collect(),
            tip: landing.tip.to_vec(),
            bisecting,
        })
    };
    if let Some(segment) = landing.segments.last() {
        return Some(event(segment.clone(), true));
    }
    if let Some(group) = state.complete_group() {
        return Some(event(group, false));
    }
    if landing.queue.is_empty() {
        return None;
    }
    let size = landing.batch_size.clamp(1, state.plan().gate.as_ref().map_or(1, |gate| gate.batch.max(1)));
    Some(event(landing.queue.iter().copied().take(size as usize).collect(), false))
}

fn advance_batch(state: &State, batch: &Batch, now: Millis) -> Option<Event> {
    let closed = |end: BatchEnd| Event::BatchClosed(BatchClosed { batch: batch.id.0, end: end.into() });
    match batch.step {
        Step::Merging | Step::Gating { .. } | Step::Controlling { .. } | Step::Sealing | Step::Moving => None,
        Step::NeedsGate { .. } if batch.inconclusive >= INCONCLUSIVE_MAX || state.landing.halted.is_some() => {
            if state.landing.halted.is_none() {
                let reason = "the gate could not be run: see the log of its last run".to_owned();
                return Some(Event::LandingHalted(LandingHalted { reason }));
            }
            Some(closed(BatchEnd::Halted))
        }
        Step::NeedsGate { not_before_ms } if now < not_before_ms => None,
        Step::NeedsGate { .. } => ask(state, GatePurpose::Batch, batch.id, batch.merge.commit, now),
        Step::Green => Some(Event::LandIntent(LandIntent {
            batch: batch.id.0,
            old: batch.tip.to_vec(),
            new: batch.merge.commit.to_vec(),
        })),
        Step::Red => judge_red(state, batch, now, closed),
    }
}

fn judge_red(state: &State, batch: &Batch, now: Millis, closed: impl Fn(BatchEnd) -> Event) -> Option<Event> {
    let single = batch.members.len() == 1 || batch.group;
    if state.landing.halted.is_some() {
        return Some(closed(BatchEnd::Halted));
    }
    if batch.reds.len() < 2 && (single || !batch.bisecting) {
        return ask(state, GatePurpose::Batch, batch.id, batch.merge.commit, now);
    }
    if state.landing.control_green != Some(batch.tip) {
        if batch.control_reds >= CONTROL_REDS_MAX {
            let reason = "the gate is red on the branch itself, which was green before: \
                          something outside the subtasks changed";
            return Some(Event::LandingHalted(LandingHalted { reason: reason.to_owned() }));
        }
        return ask(state, GatePurpose::Control, batch.id, batch.tip, now);
    }
    if !single {
        return Some(closed(BatchEnd::Split));
    }
    let convicted = batch.members.iter().copied().find(|&node| in_batch(state, node, batch.id));
    Some(match convicted {
        Some(node) => reject(state, batch, node, now),
        None => closed(BatchEnd::Rejected),
    })
}

fn in_batch(state: &State, node: NodeId, id: BatchId) -> bool {
    matches!(state.subtask(node).phase(), Phase::Landing { batch, .. } if *batch == id)
}

fn reject(state: &State, batch: &Batch, node: NodeId, now: Millis) -> Event {
    let decision = retry::after_rejection(state, node, now);
    let tail = batch.reds.last().map_or("", |red| red.result.log_tail.as_str());
    Event::MemberRejected(MemberRejected {
        batch: batch.id.0,
        node: node.0,
        gates: batch.reds.iter().map(|red| red.gate.0).collect(),
        detail: longhaul_common::text::clip_tail(tail, DETAIL_BYTES).to_owned(),
        next: decision.next.into(),
        park: decision.park,
        not_before_ms: decision.not_before_ms,
    })
}

impl Landing {
    /// Whether the base's or the final gate ended the job.
    pub(super) fn has_red_verdict(&self) -> bool {
        matches!(self.base_gate, BaseGate::Red(_)) || matches!(self.final_gate, FinalGate::Red(..))
    }

    /// A person says that what was in the way is mended: red verdicts and halts are asked anew.
    pub(super) fn forget_verdicts(&mut self) {
        self.halted = None;
        self.blocked = false;
        self.control_green = None;
        self.lost = LostGates::default();
        if matches!(self.base_gate, BaseGate::Red(_)) {
            self.base_gate = BaseGate::Open;
        }
        self.final_gate = FinalGate::Open;
    }

    /// Notes a verdict. The caller has removed the run from `gates`.
    pub(super) fn record(&mut self, run: &GateRun, judged: Judged, now: Millis) {
        // Whatever it said: its worker lives.
        self.lost = LostGates::default();
        let verdict = judged.result.verdict();
        if verdict != Verdict::Inconclusive {
            self.gates_run += 1;
        }
        match GatePurpose::try_from(run.purpose) {
            Ok(GatePurpose::Base) => self.record_base(run, judged, now),
            Ok(GatePurpose::Final) => self.record_final(run, judged, now),
            Ok(GatePurpose::Control) => self.record_control(run, verdict, now),
            _ => self.record_batch(judged, now),
        }
    }

    fn record_base(&mut self, run: &GateRun, judged: Judged, now: Millis) {
        match judged.result.verdict() {
            Verdict::Green => {
                self.base_gate = BaseGate::Green;
                self.control_green = Some(run.commit);
                self.lone_tries = 0;
            }
            verdict => {
                self.retry_lone(verdict, now, |landing| landing.base_gate = BaseGate::Red(cause(&judged.result)));
            }
        }
    }

    fn record_final(&mut self, run: &GateRun, judged: Judged, now: Millis) {
        match judged.result.verdict() {
            Verdict::Green => {
                self.final_gate = FinalGate::Green(run.commit);
                self.lone_tries = 0;
            }
            verdict => self.retry_lone(verdict, now, |landing| {
                landing.final_gate = FinalGate::Red(run.commit, cause(&judged.result));
            }),
        }
    }

    /// A gate that nobody can be blamed for is given up after two reds, or four inconclusive runs.
    fn retry_lone(&mut self, verdict: Verdict, now: Millis, give_up: impl FnOnce(&mut Self)) {
        self.lone_tries += if verdict == Verdict::Red { 2 } else { 1 };
        self.lone_not_before_ms = now + INCONCLUSIVE_WAIT_MS;
        if self.lone_tries >= INCONCLUSIVE_MAX {
            self.lone_tries = 0;
            give_up(self);
        }
    }

    fn record_control(&mut self, run: &GateRun, verdict: Verdict, now: Millis) {
        let Some(batch) = &mut self.batch else { return };
        batch.step = Step::Red;
        match verdict {
            Verdict::Green => self.control_green = Some(run.commit),
            Verdict::Red => batch.control_reds += 1,
            _ => {
                batch.inconclusive += 1;
                batch.step = if batch.inconclusive >= INCONCLUSIVE_MAX {
                    Step::NeedsGate { not_before_ms: now }
                } else {
                    Step::Red
                };
            }
        }
    }

    fn record_batch(&mut self, judged: Judged, now: Millis) {
        let Some(batch) = &mut self.batch else { return };
        let hangs = judged.result.timed_out && batch.inconclusive > 0;
        let verdict = if hangs { Verdict::Red } else { judged.result.verdict() };
        match verdict {
            Verdict::Green => {
                let derived = !judged.result.derived_commit.is_empty();
                batch.step = if derived { Step::Sealing } else { Step::Green };
                batch.green = Some(judged);
            }
            Verdict::Red => {
                batch.reds.push(judged);
                batch.step = Step::Red;
                batch.inconclusive = 0;
            }
            _ => {
                let wait = INCONCLUSIVE_WAIT_MS << batch.inconclusive.min(6);
                batch.inconclusive += 1;
                batch.step = Step::NeedsGate { not_before_ms: now + wait };
            }
        }
    }
}

fn cause(result: &GateResult) -> String {
    if result.reason.is_empty() { result.log_tail.clone() } else { format!("{}\n{}", result.reason, result.log_tail) }
}
