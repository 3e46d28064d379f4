//! Who is there: the last presence of every worker, heard once for all jobs of a process.
//!
//! Presence is volatile and never journaled. Each job gets a view of each worker that leaves out
//! what other jobs hold there. A worker that speaks another protocol is told so and is not passed
//! on to any job: nothing is ever assigned to it.
//!
//! The bus may hold a message up or bring it twice. A presence that is not newer than the last one
//! of its worker's process is nothing: it would take back what the worker said since, and renew
//! leases of one that has fallen silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use longhaul_common::bus::{Bus, Message, Subject, Subscription};
use longhaul_common::{JobId, WorkerName};
use longhaul_proto::{FromWorker, PROTOCOL, PROTOCOL_MIN, Presence, Refusal, ToWorker, from_worker, to_worker};
use prost::Message as _;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::SystemClock;
use crate::core::{Millis, State, WorkerView};
use crate::driver::{Clock as _, Handle};
use crate::shares::Shares;
use crate::view::ProgressMap;

/// Workers remembered at most; silent ones make place for new ones.
pub const WORKERS_MAX: usize = 4_096;

/// A refused worker is told again after this long.
const REFUSE_AGAIN_MS: Millis = 10_000;

/// One worker as last heard.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it said.
    pub presence: Presence,
    /// When.
    pub seen_ms: Millis,
    /// Why it gets no work; empty when it does.
    pub refused: String,
    told_ms: Millis,
    /// The process before this one under the same name.
    before: u64,
    lease_ms: Millis,
}

impl Seen {
    /// Whether it has been silent for longer than a lease lasts.
    pub fn is_silent(&self, now: Millis) -> bool {
        now - self.seen_ms > self.lease_ms
    }

    /// Whether a presence was said before this one: earlier by the same process, or by the one
    /// that this process replaced and that is not the only one left.
    fn is_later_than(&self, said: &Presence, now: Millis) -> bool {
        let counted = said.sequence > 0;
        match said.incarnation == self.presence.incarnation {
            true => counted && said.sequence <= self.presence.sequence,
            false => counted && said.incarnation == self.before && !self.is_silent(now),
        }
    }
}

/// Words kept beyond two for each live assignment before the late ones are looked for.
const LATE_WORDS_MAX: usize = 256;

/// What anybody said of an id that is over.
fn forget(words: &mut ProgressMap, id: u64) {
    let said: Vec<_> =
        words.range((id, String::new())..(id.saturating_add(1), String::new())).map(|(key, _)| key.clone()).collect();
    said.iter().for_each(|key| drop(words.remove(key)));
}

struct Member {
    /// The key of its repository, as workers name what they have a mirror of.
    repo: String,
    handle: Handle,
    progress: Arc<Mutex<ProgressMap>>,
    shares: Shares,
}

struct Table {
    lease_ms: Millis,
    workers: BTreeMap<String, Seen>,
    jobs: BTreeMap<JobId, Member>,
}

/// The workers of a process's jobs; clones share it. The last one's end ends the listening.
#[derive(Clone)]
pub struct FleetTable {
    table: Arc<Mutex<Table>>,
    _listener: Arc<AbortOnDropHandle<()>>,
}

impl FleetTable {
    /// Listens from now on. Must be called in a runtime.
    pub fn listen(bus: Arc<dyn Bus>, lease_ms: Millis) -> Self {
        let table = Arc::new(Mutex::new(Table::new(lease_ms)));
        let presences = bus.subscribe(&Subject::presences());
        let listener = tokio::spawn(listen(presences, Arc::clone(&table), bus));
        Self { table, _listener: Arc::new(AbortOnDropHandle::new(listener)) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the job hears of workers; of those already known at once.
    pub(crate) fn join(&self, job: &JobId, repo: String, handle: Handle, progress: Arc<Mutex<ProgressMap>>) {
        let now = SystemClock.now_ms();
        let mut table = self.table();
        table.jobs.insert(job.clone(), Member { repo, handle, progress, shares: Shares::default() });
        let known = table.workers.values().filter(|seen| seen.refused.is_empty() && !seen.is_silent(now));
        for seen in known {
            table.tell(job, &seen.presence);
        }
    }

    /// The job has ended.
    pub(crate) fn leave(&self, job: &JobId) {
        self.table().jobs.remove(job);
    }

    /// What is live of a job, kept up before any of it is sent.
    pub(crate) fn note_shares(&self, job: &JobId, state: &State) {
        if let Some(member) = self.table().jobs.get_mut(job) {
            let over = member.shares.follow(state);
            let mut words = member.progress.lock().unwrap_or_else(PoisonError::into_inner);
            over.iter().for_each(|&id| forget(&mut words, id));
        }
    }

    /// Whether something of the job is live on the worker.
    pub fn has_share(&self, job: &JobId, worker: &str) -> bool {
        self.table().jobs.get(job).is_some_and(|member| member.shares.on(worker).next().is_some())
    }

    /// The worker on which something of the job is live.
    pub fn owner(&self, job: &JobId, id: u64) -> Option<String> {
        self.table().jobs.get(job).and_then(|member| member.shares.worker_of(id).map(str::to_owned))
    }

    /// How many workers have work of jobs that ask models.
    pub fn askers(&self) -> u32 {
        let table = self.table();
        let all: BTreeSet<&str> = table.jobs.values().flat_map(|member| member.shares.askers()).collect();
        u32::try_from(all.len()).unwrap_or(u32::MAX)
    }

    /// Every worker heard of, by name.
    pub fn workers(&self) -> Vec<Seen> {
        self.table().workers.values().cloned().collect()
    }

    /// One worker.
    pub fn worker(&self, name: &str) -> Option<Seen> {
        self.table().workers.get(name).cloned()
    }
}

/// What a presence led to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Noted {
    /// It was said before what is known already: nothing.
    Stale,
    /// It counts, for every job.
    Fit,
    /// Its worker gets no work, and has been told.
    Unfit,
    /// Its worker has to be told why it gets no work.
    Refuse(String),
}

impl Table {
    fn new(lease_ms: Millis) -> Self {
        Self { lease_ms, workers: BTreeMap::new(), jobs: BTreeMap::new() }
    }

    /// Notes a presence.
    fn note(&mut self, presence: &Presence, now: Millis) -> Noted {
        let refused = unfit(presence).unwrap_or_default();
        let before = self.workers.get(&presence.worker);
        if before.is_some_and(|seen| seen.is_later_than(presence, now)) {
            return Noted::Stale;
        }
        let same = before.is_some_and(|seen| seen.presence.incarnation == presence.incarnation);
        let replaced = before.map_or(0, |seen| if same { seen.before } else { seen.presence.incarnation });
        let told_ms = before.filter(|_| same).map_or(0, |seen| seen.told_ms);
        let tell = !refused.is_empty() && now - told_ms > REFUSE_AGAIN_MS;
        let told_ms = if tell { now } else { told_ms };
        if before.is_none() && self.workers.len() >= WORKERS_MAX {
            let oldest = self.workers.iter().min_by_key(|(_, seen)| seen.seen_ms).map(|(name, _)| name.clone());
            oldest.map(|name| self.workers.remove(&name));
        }
        let seen = Seen {
            presence: presence.clone(),
            seen_ms: now,
            refused: refused.clone(),
            told_ms,
            before: replaced,
            lease_ms: self.lease_ms,
        };
        self.workers.insert(presence.worker.clone(), seen);
        match (refused.is_empty(), tell) {
            (true, _) => Noted::Fit,
            (false, true) => Noted::Refuse(refused),
            (false, false) => Noted::Unfit,
        }
    }

    fn tell(&self, job: &JobId, presence: &Presence) {
        let Some(member) = self.jobs.get(job) else { return };
        let view = self.view(job, presence);
        let mut words = member.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = member.shares.on(&presence.worker).filter(|(id, _)| !view.holding.contains(id));
        dropped.for_each(|(id, _)| forget(&mut words, id));
        if words.len() > 2 * member.shares.len() + LATE_WORDS_MAX {
            // Words that came after the end, or of what was never theirs.
            words.retain(|(id, by), _| member.shares.is_on(*id, by));
        }
        drop(words);
        member.handle.presence(presence.worker.clone(), view);
    }

    /// A presence as one job sees it: slots that other jobs take are not there for it. An id this
    /// process knows nothing of is counted as work.
    fn view(&self, job: &JobId, presence: &Presence) -> WorkerView {
        let mut holding = BTreeSet::new();
        let mut elsewhere: BTreeMap<(&str, u64), bool> = BTreeMap::new();
        for held in &presence.holding {
            if held.job == job.as_str() {
                holding.extend(held.ids.iter().copied());
            } else {
                elsewhere.extend(held.ids.iter().map(|&id| ((held.job.as_str(), id), false)));
            }
        }
        for (other, member) in self.jobs.iter().filter(|(other, _)| *other != job) {
            let theirs = member.shares.on(&presence.worker);
            elsewhere.extend(theirs.map(|(id, gate)| ((other.as_str(), id), gate)));
        }
        let taken = |gate| u32::try_from(elsewhere.values().filter(|&&is| is == gate).count()).unwrap_or(u32::MAX);
        WorkerView {
            work_slots: presence.work_slots.saturating_sub(taken(false)),
            gate_slots: presence.gate_slots.saturating_sub(taken(true)),
            is_shared: !elsewhere.is_empty(),
            warm: self.jobs.get(job).is_some_and(|member| presence.warm.contains(&member.repo)),
            holding,
            labels: presence.labels.iter().cloned().collect(),
            unavailable: if presence.draining { "it is draining".to_owned() } else { presence.disk_low.clone() },
            incarnation: presence.incarnation,
            unenforced: presence.unenforced.clone(),
            ..WorkerView::default()
        }
    }
}

/// Why a worker gets no work from this build, if so.
fn unfit(presence: &Presence) -> Option<String> {
    let (protocol, version) = (presence.protocol, &presence.version);
    let own = env!("CARGO_PKG_VERSION");
    let speaks = format!("the worker {version} speaks protocol {protocol}, the coordinator {own}");
    if protocol > PROTOCOL {
        return Some(format!("{speaks} up to {PROTOCOL}: upgrade the coordinator first"));
    }
    (protocol < PROTOCOL_MIN).then(|| format!("{speaks} {PROTOCOL_MIN} at least: upgrade the worker"))
}

async fn listen(mut presences: Subscription, table: Arc<Mutex<Table>>, bus: Arc<dyn Bus>) {
    while let Some(incoming) = presences.next().await {
        let from = incoming.subject.worker_name().unwrap_or_default().to_owned();
        let presence = match FromWorker::decode(incoming.taken()) {
            Ok(FromWorker { message: Some(from_worker::Message::Presence(presence)) }) => presence,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, from, "a message that is none was ignored");
                continue;
            }
        };
        // The subject is what the engine lets a worker publish on; what it says of itself is not.
        if presence.worker != from || presence.worker.parse::<WorkerName>().is_err() {
            tracing::warn!(from, "a worker spoke in another's name and was ignored");
            continue;
        }
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = table.note(&presence, SystemClock.now_ms());
        if noted == Noted::Fit {
            table.jobs.keys().for_each(|job| table.tell(job, &presence));
        }
        drop(table);
        if let Noted::Refuse(reason) = noted {
            tracing::warn!(worker = from, reason, "a worker is refused");
            send_refusal(&*bus, &presence, reason);
        }
    }
}

fn send_refusal(bus: &dyn Bus, presence: &Presence, reason: String) {
    let message = ToWorker { message: Some(to_worker::Message::Refusal(Refusal { reason })) };
    let subject = Subject::worker(&presence.worker);
    // It is told again as long as it announces itself.
    let id = String::new();
    if let Err(error) = bus.publish(Message { subject, id, payload: Bytes::from(message.encode_to_vec()) }) {
        tracing::warn!(%error, "a refusal was not sent");
    }
}

#[cfg(test)]
mod tests {
    use longhaul_proto::Holding;

    use super::*;
    use crate::core::LEASE_MS;

    fn presence(held: &[(&str, &[u64])]) -> Presence {
        let holding = held.iter().map(|(job, ids)| Holding { job: (*job).to_owned(), ids: ids.to_vec() });
        Presence {
            worker: "w".into(),
            work_slots: 4,
            gate_slots: 2,
            protocol: PROTOCOL,
            holding: holding.collect(),
            ..Presence::default()
        }
    }

    fn member(shares: &[(u64, &str, bool)]) -> Member {
        let (sender, _) = std::sync::mpsc::channel();
        let mut all = Shares::default();
        shares.iter().for_each(|&(id, worker, gate)| all.put(id, worker, gate));
        Member { repo: "r".into(), handle: Handle::new(sender), progress: Arc::default(), shares: all }
    }

    #[test]
    fn what_other_jobs_hold_is_subtracted_once_and_by_kind() {
        let (a, b): (JobId, JobId) = ("a".parse().expect("valid"), "b".parse().expect("valid"));
        let mut table = Table::new(LEASE_MS);
        table.jobs.insert(a.clone(), member(&[(1, "w", false), (2, "w", true), (3, "other", false)]));
        table.jobs.insert(b.clone(), member(&[]));
        // 1 is said and known, 2 only known (just assigned), "x" belongs to another coordinator.
        let said = presence(&[("a", &[1]), ("x", &[7])]);
        let view = table.view(&b, &said);
        assert_eq!((view.work_slots, view.gate_slots), (2, 1));
        assert!(view.holding.is_empty());
        let own = table.view(&a, &said);
        assert_eq!((own.work_slots, own.gate_slots), (3, 2));
        assert_eq!(own.holding, BTreeSet::from([1]));
    }

    #[test]
    fn a_worker_with_a_mirror_of_the_jobs_repository_is_warm_for_it() {
        let mut table = Table::new(LEASE_MS);
        let (a, b): (JobId, JobId) = ("a".parse().expect("valid"), "b".parse().expect("valid"));
        table.jobs.insert(a.clone(), member(&[]));
        table.jobs.insert(b.clone(), Member { repo: "other".into(), ..member(&[]) });
        let said = Presence { warm: vec!["q".into(), "r".into()], ..presence(&[]) };
        assert!(table.view(&a, &said).warm && !table.view(&b, &said).warm);
        assert!(!table.view(&a, &presence(&[])).warm);
    }

    #[test]
    fn another_protocol_is_refused_and_told_so_not_too_often() {
        let mut table = Table::new(LEASE_MS);
        let newer = Presence { protocol: PROTOCOL + 1, ..presence(&[]) };
        let told = |noted: Noted| match noted {
            Noted::Refuse(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(told(table.note(&newer, 20_000)).contains("upgrade the coordinator first"));
        assert_eq!(table.note(&newer, 20_001), Noted::Unfit);
        assert!(told(table.note(&newer, 20_001 + REFUSE_AGAIN_MS)).contains("upgrade the coordinator first"));
        assert_eq!(table.note(&presence(&[]), 90_000), Noted::Fit);
        for protocol in PROTOCOL_MIN..=PROTOCOL {
            assert_eq!(unfit(&Presence { protocol, ..presence(&[]) }), None, "{protocol}");
        }
        let older = Presence { protocol: PROTOCOL_MIN - 1, ..presence(&[]) };
        let said = unfit(&older).expect("refused");
        assert!(said.contains(&format!("{PROTOCOL_MIN} at least")) && said.contains("upgrade the worker"), "{said}");
    }

    #[test]
    fn what_was_said_before_is_nothing() {
        let mut table = Table::new(LEASE_MS);
        let say = |incarnation, sequence| Presence { incarnation, sequence, ..presence(&[]) };
        assert_eq!(table.note(&say(1, 7), 0), Noted::Fit);
        assert_eq!(table.note(&say(1, 6), 1), Noted::Stale, "held up");
        assert_eq!(table.note(&say(1, 7), 2), Noted::Stale, "brought twice");
        assert_eq!(table.workers["w"].seen_ms, 0, "and it renews nothing");
        assert_eq!(table.note(&say(1, 8), 3), Noted::Fit);
        assert_eq!(table.note(&say(2, 1), 4), Noted::Fit, "its next process counts anew");
        assert_eq!(table.note(&say(1, 9), 5), Noted::Stale, "the last words of the one before");
        assert_eq!(table.note(&say(1, 9), 5 + LEASE_MS), Noted::Fit, "which is the only one left");
        assert_eq!(table.note(&presence(&[]), 6 + LEASE_MS), Noted::Fit, "one that does not count");
    }

    #[test]
    fn silence_is_measured_by_the_lease_that_is_set() {
        let mut table = Table::new(6_000);
        table.note(&presence(&[]), 1_000);
        assert!(!table.workers["w"].is_silent(7_000) && table.workers["w"].is_silent(7_001));
    }
}
