//! What waits only because no worker takes it: the one kind of waiting that ends by itself only when
//! somebody starts, frees or mends a worker. So it is said, not just waited through.

use super::landing::{BaseGate, FinalGate, Step};
use super::{JobPhase, Millis, State, WorkerView};

/// How many workers are named.
const NAMES_MAX: usize = 5;

/// Something that no worker there takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// "the gate" or "subtasks".
    pub what: &'static str,
    /// One cause a line.
    pub causes: Vec<String>,
    /// What a person can do; a command.
    pub next: String,
}

impl Shortage {
    /// In one line.
    pub fn sentence(&self) -> String {
        format!("nobody can run {}: {}; see `{}`", self.what, self.causes.join("; "), self.next)
    }
}

/// Everything that is due in a job and has no worker, most pressing first. Busy workers are no
/// shortage: they become free.
pub fn shortages(state: &State, now: Millis) -> Vec<Shortage> {
    if !matches!(state.job_phase(), JobPhase::Open) {
        return Vec::new();
    }
    let gate = gate_is_due(state).then(|| of_gate(state, now)).flatten();
    let ready = state.landing.base_gate == BaseGate::Green;
    let mut tasks: Vec<u32> = state.derived.ready.iter().map(|(_, node)| state.node(*node).task).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let work =
        tasks.iter().filter(|_| ready).find_map(|&task| of_work(state, &state.plan.tasks[task as usize].labels, now));
    gate.into_iter().chain(work).collect()
}

/// Whether a gate waits to be given to a worker.
fn gate_is_due(state: &State) -> bool {
    let landing = &state.landing;
    if !landing.gates.is_empty() || landing.halted.is_some() {
        return false;
    }
    let counts = state.counts();
    let open = counts.waiting + counts.ready + counts.backoff + counts.running + counts.parked + counts.landing;
    let wants_final = state.plan.gate.as_ref().is_some_and(|gate| gate.r#final.is_some()) && counts.landed > 0;
    landing.base_gate == BaseGate::Open
        || landing.batch.as_ref().is_some_and(|batch| matches!(batch.step, Step::NeedsGate { .. } | Step::Red))
        || (open == 0 && wants_final && landing.final_gate == FinalGate::Open)
}

/// Why no worker runs the gate, if so.
pub(super) fn of_gate(state: &State, now: Millis) -> Option<Shortage> {
    let labels = state.plan.gate.as_ref().map_or(&[][..], |gate| &gate.labels);
    let (causes, next) = nobody(state, labels, now, |view| view.gate_slots, "gates")?;
    Some(Shortage { what: "the gate", causes, next })
}

/// Why no worker takes a subtask with these labels, if so.
pub(super) fn of_work(state: &State, labels: &[String], now: Millis) -> Option<Shortage> {
    let (causes, next) = nobody(state, labels, now, |view| view.work_slots, "subtasks")?;
    Some(Shortage { what: "subtasks", causes, next })
}

fn nobody(
    state: &State,
    labels: &[String],
    now: Millis,
    slots: impl Fn(&WorkerView) -> u32,
    kind: &str,
) -> Option<(Vec<String>, String)> {
    let present: Vec<(&str, &WorkerView)> = state.fleet.present(now).collect();
    if present.is_empty() {
        let cause = match state.fleet.names().count() {
            0 => "no worker has been heard of".to_owned(),
            1 => "the only worker has fallen silent".to_owned(),
            silent => format!("all {silent} workers have fallen silent"),
        };
        return Some((vec![cause], "longhaul workers".to_owned()));
    }
    let there = match present.len() {
        1 => "the only worker there has not".to_owned(),
        several => format!("none of the {several} workers there has"),
    };
    let labelled: Vec<_> =
        present.iter().filter(|(_, view)| labels.iter().all(|label| view.labels.contains(label))).collect();
    if labelled.is_empty() {
        let cause = format!("{there} the labels {}", labels.join(", "));
        return Some((vec![cause], format!("longhaul worker --label {} …", labels.join(" --label "))));
    }
    let why = |(name, view): &&(&str, &WorkerView)| {
        let quarantined = state.infirmary.of(name).filter(|health| health.until_ms > now);
        match quarantined {
            Some(health) => Some(format!("{name} is in quarantine: {}", health.reason)),
            None if !view.unavailable.is_empty() => Some(format!("{name} takes nothing new: {}", view.unavailable)),
            // Slots that other jobs take are not counted, but they become free.
            None if slots(view) == 0 && !view.is_shared => Some(format!("{name} has no slots for {kind}")),
            None => None,
        }
    };
    let reasons: Vec<Option<String>> = labelled.into_iter().map(|worker| why(&worker)).collect();
    let causes: Option<Vec<String>> = reasons.into_iter().collect();
    let mut causes = causes?;
    let more = causes.len().saturating_sub(NAMES_MAX);
    causes.truncate(NAMES_MAX);
    causes.extend((more > 0).then(|| format!("{more} more")));
    Some((causes, "longhaul workers".to_owned()))
}
