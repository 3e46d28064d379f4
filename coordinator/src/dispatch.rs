//! What goes to workers: assignments and cancellations, small and each under an id of its own.
//!
//! An id is `<job>.<assignment>.<epoch>.<n>`: the same for a message that the engine sends again by
//! itself, another one when the coordinator sends again, so that no window of duplicates swallows
//! what was meant to be repeated. The epoch is the journal's position at the process's start.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bytes::Bytes;
use longhaul_common::bus::{BusError, Message, PAYLOAD_MAX, Subject};
use longhaul_common::{AttemptId, GateId, NodeId, Oid};
use longhaul_proto::{
    AnswerWork, Assignment, CancelWork, Failure, FailureClass, Finished, Gate, GatePurpose, Task, ToWorker, Wip, Work,
    assignment, finished, to_worker,
};
use prost::Message as _;

use crate::capsule::{capsule, instructions};
use crate::capsules::Capsules;
use crate::core::{Input, State, wall_ms};
use crate::effects::{IndexWork, Performer};

/// What ended and may be remembered, at least.
const PAST_MIN: usize = 256;

/// The tag and length that a message adds to an assignment, at most.
const ENVELOPE_BYTES: usize = 8;

/// What this process sent and is still live, or was lately.
pub(crate) struct Sent {
    epoch: u64,
    live: BTreeMap<u64, (String, u64)>,
}

impl Sent {
    pub fn new(epoch: u64) -> Self {
        Self { epoch, live: BTreeMap::new() }
    }

    /// The id of the next message about an assignment.
    fn message_id(&mut self, job: &str, id: u64, worker: &str) -> String {
        let (to, times) = self.live.entry(id).or_insert_with(|| (worker.to_owned(), 0));
        worker.clone_into(to);
        *times += 1;
        format!("{job}.{id}.{}.{times}", self.epoch)
    }

    /// Forgets what ended, once it is as much as what lives: each is looked at a few times only.
    pub fn keep_live(&mut self, state: &State) {
        let live = state.attempts().len() + state.landing.gates.len();
        if self.live.len() > PAST_MIN + 2 * live {
            self.live.retain(|&id, _| state.live_worker(id).is_some());
        }
    }
}

/// Where a job's store is for workers on other machines, relative to the server's root.
pub fn remote_store(job: &str) -> String {
    format!("git/{job}.git")
}

/// The assignment as it fits into a message: without the agent's session where only that is over.
fn fitting(mut assignment: Assignment) -> Assignment {
    if assignment.encoded_len() + ENVELOPE_BYTES <= PAYLOAD_MAX {
        return assignment;
    }
    if let Some(assignment::Kind::Work(Work { wip: Some(wip), .. })) = &mut assignment.kind
        && !wip.session.is_empty()
    {
        tracing::warn!(
            job = assignment.job,
            id = assignment.id,
            bytes = wip.session.len(),
            "the agent's session does not fit into the assignment: it begins a new one on the saved work"
        );
        wip.session.clear();
    }
    assignment
}

impl Performer {
    fn send(&mut self, worker: &str, message: to_worker::Message, id: u64) -> Result<(), BusError> {
        let payload = Bytes::from(ToWorker { message: Some(message) }.encode_to_vec());
        let id = self.sent.message_id(self.job.as_str(), id, worker);
        self.bus.publish(Message { subject: Subject::worker(worker), id, payload })
    }

    /// An assignment that cannot be sent has failed: a subtask too large for a message is parked
    /// with that reason, a gate is inconclusive. What makes it too large may be the agent's session
    /// of an earlier attempt alone: that is left behind, the saved work still goes with it.
    fn send_assignment(&mut self, assignment: Assignment) {
        let assignment = fitting(assignment);
        let (id, worker) = (assignment.id, assignment.worker.clone());
        let error = match self.send(&worker, to_worker::Message::Assign(assignment), id) {
            Err(error @ BusError::TooLarge { .. }) => error,
            // Whoever is not heard of is told again.
            Err(BusError::Congested { .. }) | Ok(()) => return,
        };
        let failure = Failure {
            class: FailureClass::Result.into(),
            message: format!("its assignment cannot be sent: {error}; put fewer files into one subtask or batch"),
            ..Failure::default()
        };
        let finished = Finished { outcome: Some(finished::Outcome::Failure(failure)), ..Finished::default() };
        self.handle.input(Input::Finished { id, finished: Box::new(finished) });
    }

    fn assignment(&self, state: &State, id: u64, worker: &str, base: Oid) -> Assignment {
        let plan = state.plan();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files.get(&state.generation()).copied();
        Assignment {
            job: state.job().to_owned(),
            id,
            worker: worker.to_owned(),
            base: base.to_vec(),
            repo: plan.repo.clone(),
            policy: plan.policy.clone(),
            job_dir: plan.job_dir.clone(),
            files_commit: files.map(Oid::to_vec).unwrap_or_default(),
            store: if self.remote { remote_store(state.job()) } else { self.store.display().to_string() },
            kind: None,
        }
    }

    pub fn assign(&mut self, state: &State, id: AttemptId) {
        let Some(live) = state.attempts().get(&id) else { return };
        let node = live.node;
        let plan = state.plan();
        let task = state.task(node);
        let allowance = state.spend.reserved(id).map(|reservation| reservation.amount).unwrap_or_default();
        let capsule = capsule(state, node);
        self.keep_capsule(id, &capsule);
        let ladder = task.ladder.iter().map(|&agent| plan.agents[agent as usize].clone()).collect();
        let mut assignment = self.assignment(state, id.0, &live.worker, live.base);
        assignment.kind = Some(assignment::Kind::Work(Work {
            subtask: state.node(node).id.clone(),
            task: Some(Task { timeout_ms: wall_ms(state, node), ..task.clone() }),
            ladder,
            files: state.node(node).files.clone(),
            claims: state.node(node).claims.clone(),
            capsule: Some(capsule),
            attempt_number: state.subtask(node).attempts,
            author_name: plan.author_name.clone(),
            author_email: plan.author_email.clone(),
            title: instructions(state, node).lines().next().unwrap_or_default().to_owned(),
            wip: self.saved(state, node, live.base),
            allowance_tokens: allowance.tokens,
            allowance_usd_micros: allowance.usd_micros,
            decisions: state.decisions(node).cloned().collect(),
            about: state.node(node).about.clone(),
            split_max: state.may_split(node),
            may_be_unchanged: state.may_be_unchanged(node),
        }));
        self.send_assignment(assignment);
    }

    /// Work in progress that an attempt on a base can go on with, its session included.
    fn saved(&self, state: &State, node: NodeId, base: Oid) -> Option<Wip> {
        let saved = state.subtask(node).wip.as_ref().filter(|saved| saved.base == base)?;
        let mut wip = saved.wip.clone();
        self.sessions.fill(&mut wip);
        Some(wip)
    }

    /// For the record, so off the driver's thread where there is another.
    fn keep_capsule(&self, id: AttemptId, capsule: &longhaul_proto::Capsule) {
        match &self.index {
            Some(index) => drop(index.send(IndexWork::Capsule(id.0, Box::new(capsule.clone())))),
            None => Capsules::new(self.layout.clone()).keep(id.0, capsule),
        }
    }

    pub fn gate(&mut self, state: &State, id: GateId) {
        let Some(run) = state.landing.gates.get(&id) else { return };
        let plan = state.plan();
        let spec = plan.gate.clone().unwrap_or_default();
        let last = run.purpose == i32::from(GatePurpose::Final);
        let batch = run.purpose == i32::from(GatePurpose::Batch);
        let members = state.landing.batch.iter().filter(|_| batch).flat_map(|batch| &batch.members);
        let mut changed: Vec<String> = members
            .filter_map(|&node| state.subtask(node).phase().candidate())
            .flat_map(|candidate| candidate.patch.files.iter().cloned())
            .collect();
        changed.sort();
        changed.dedup();
        let compare = state.landing.batch.as_ref().map_or(run.commit, |batch| batch.tip);
        let mut assignment = self.assignment(state, id.0, &run.worker, run.commit);
        assignment.kind = Some(assignment::Kind::Gate(Gate {
            run: if last { spec.r#final.or(spec.run) } else { spec.run },
            timeout_ms: spec.timeout_ms,
            regenerate: batch,
            changed_files: changed,
            compare_base: compare.to_string(),
            author_name: plan.author_name.clone(),
            author_email: plan.author_email.clone(),
            idle_timeout_ms: spec.idle_timeout_ms,
            coverage: spec.coverage.filter(|_| batch),
        }));
        self.send_assignment(assignment);
    }

    /// An answer to an agent that waits; it says that it waits until it has it.
    pub fn tell(&mut self, state: &State, id: AttemptId, asked_ms: i64) {
        let Some((live, decision)) = state.attempts().get(&id).zip(state.told(id)) else { return };
        let (worker, decision) = (live.worker.clone(), Some(decision.clone()));
        let answer = AnswerWork { job: state.job().to_owned(), id: id.0, asked_ms, decision };
        if let Err(error) = self.send(&worker, to_worker::Message::Answer(answer), id.0) {
            tracing::warn!(%error, worker, "an answer was not sent; it is as soon as it is asked for again");
        }
    }

    /// To whom it was sent; after a restart to everybody: whoever does not know it ignores it.
    pub fn stop(&mut self, state: &State, id: u64) {
        let to: Vec<String> = match self.sent.live.get(&id) {
            Some((worker, _)) => vec![worker.clone()],
            None => state.fleet.names().map(str::to_owned).collect(),
        };
        for worker in to {
            let cancel = CancelWork { job: state.job().to_owned(), id, reason: "no longer wanted".to_owned() };
            if let Err(error) = self.send(&worker, to_worker::Message::Cancel(cancel), id) {
                tracing::warn!(%error, worker, "a cancellation was not sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use longhaul_proto::Wip;

    use super::*;

    fn work(file_bytes: usize, session_bytes: usize) -> Assignment {
        let wip = Wip { commit: vec![7; 20], session: vec![1; session_bytes], ..Wip::default() };
        let work = Work { files: vec!["f".repeat(file_bytes)], wip: Some(wip), ..Work::default() };
        Assignment { job: "j".into(), id: 1, kind: Some(assignment::Kind::Work(work)), ..Assignment::default() }
    }

    fn saved(assignment: &Assignment) -> &Wip {
        match &assignment.kind {
            Some(assignment::Kind::Work(Work { wip: Some(wip), .. })) => wip,
            other => panic!("no saved work: {other:?}"),
        }
    }

    #[test]
    fn a_session_that_makes_an_assignment_too_large_stays_behind_and_the_saved_work_goes() {
        let sized =
            |assignment: Assignment| ToWorker { message: Some(to_worker::Message::Assign(assignment)) }.encoded_len();
        let whole = fitting(work(600_000, 300_000));
        assert_eq!(saved(&whole).session.len(), 300_000);
        assert!(sized(whole) <= PAYLOAD_MAX);
        for files in [699_000, 699_900, 900_000] {
            assert!(sized(work(files, 300_000)) > PAYLOAD_MAX - 2_000);
            let fits = fitting(work(files, 300_000));
            assert_eq!(saved(&fits).commit, [7; 20]);
            assert!(sized(fits) <= PAYLOAD_MAX, "{files} bytes of files");
        }
        assert!(sized(fitting(work(PAYLOAD_MAX, 300_000))) > PAYLOAD_MAX, "the files alone are too many");
    }
}
