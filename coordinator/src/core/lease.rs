//! Leases and presence: who is there, and which attempts are still being worked on.
//!
//! Presence is volatile: it is neither journaled nor hashed, and a restart begins without it. A
//! lease is renewed by presence, so time in which this process could not hear anything (downtime,
//! a suspended laptop) must count against no lease: see [`Fleet::forgive`].

use std::collections::{BTreeMap, BTreeSet};

use super::roster::Roster;
use super::{Millis, WorkerView};

/// A worker not heard from for this long has lost its leases.
pub const LEASE_MS: Millis = 30_000;

/// An assignment its worker does not mention is sent again after this long.
pub const RESEND_MS: Millis = 5_000;

/// How often a worker's process may end with an assignment and be told it again; the next time the
/// assignment is lost, because it may be what ends the process.
pub const RESTARTS_MAX: u32 = 1;

/// Stands for a time before all others: to be sent at once.
const NEVER: Millis = Millis::MIN;

/// Shortest lease that may be set: workers announce themselves every two seconds.
pub const LEASE_MS_MIN: Millis = 5_000;

/// All workers heard from since this process started.
#[derive(Clone, Debug)]
pub struct Fleet {
    lease_ms: Millis,
    workers: BTreeMap<String, WorkerView>,
    /// When each live attempt or gate was first sent, or last heard of: its lease.
    touched: BTreeMap<u64, Millis>,
    /// The same, by time: the first to run out is the first.
    by_time: BTreeSet<(Millis, u64)>,
    /// When it was last sent. Sending again renews no lease.
    sent: BTreeMap<u64, Millis>,
    /// Those their worker does not mention, by when they were sent.
    unmentioned: BTreeSet<(Millis, u64)>,
    /// Who has free slots.
    pub(super) roster: Roster,
    /// How often the worker's process ended with it.
    restarts: BTreeMap<u64, u32>,
    /// Live before the restart: their worker has not yet said whether it still holds them.
    reattach: BTreeSet<u64>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            lease_ms: LEASE_MS,
            workers: BTreeMap::new(),
            touched: BTreeMap::new(),
            by_time: BTreeSet::new(),
            sent: BTreeMap::new(),
            unmentioned: BTreeSet::new(),
            roster: Roster::default(),
            restarts: BTreeMap::new(),
            reattach: BTreeSet::new(),
        }
    }
}

impl Fleet {
    /// Sets the lease time, at least [`LEASE_MS_MIN`].
    pub fn set_lease(&mut self, lease_ms: Millis) {
        self.lease_ms = lease_ms.max(LEASE_MS_MIN);
    }

    /// After this much silence a worker has lost its leases.
    pub fn lease_ms(&self) -> Millis {
        self.lease_ms
    }

    /// Notes a presence and gives the ids of the worker's own that are lost: that it turns out not
    /// to hold after our restart, or that its own process ended with more than [`RESTARTS_MAX`] times. It renews no lease of another's, and none of what is over.
    pub fn hear(&mut self, worker: &str, mut view: WorkerView, theirs: &[u64]) -> Vec<u64> {
        let now = view.seen_ms;
        for id in theirs.iter().filter(|id| view.holding.contains(id)) {
            self.touch(*id, now);
        }
        let mut gone: Vec<u64> =
            theirs.iter().copied().filter(|id| self.reattach.remove(id) && !view.holding.contains(id)).collect();
        view.seen_ms = now;
        self.roster.heard(worker, &view);
        // A new process does not know what the one before it was sent.
        let anew = self.is_anew(worker, &view);
        for &id in theirs {
            self.unmentioned.remove(&self.last_sent(id));
            if view.holding.contains(&id) {
                continue;
            }
            if anew {
                self.sent.remove(&id);
                let restarts = self.restarts.entry(id).or_default();
                *restarts += 1;
                if *restarts > RESTARTS_MAX && !gone.contains(&id) {
                    gone.push(id);
                }
            }
            self.unmentioned.insert(self.last_sent(id));
        }
        self.workers.insert(worker.to_owned(), view);
        gone
    }

    /// Whether a presence is of another process than the last one of its worker.
    pub fn is_anew(&self, worker: &str, view: &WorkerView) -> bool {
        self.workers.get(worker).is_some_and(|before| before.incarnation != view.incarnation)
    }

    fn last_sent(&self, id: u64) -> (Millis, u64) {
        (self.sent.get(&id).copied().unwrap_or(NEVER), id)
    }

    fn touch(&mut self, id: u64, now: Millis) {
        if let Some(before) = self.touched.insert(id, now) {
            self.by_time.remove(&(before, id));
        }
        self.by_time.insert((now, id));
    }

    /// Notes that an id was sent to its worker.
    pub fn sent(&mut self, id: u64, now: Millis) {
        if !self.touched.contains_key(&id) {
            self.touch(id, now);
        }
        self.unmentioned.remove(&self.last_sent(id));
        self.sent.insert(id, now);
        self.unmentioned.insert((now, id));
    }

    /// Forgets an id that ended.
    pub fn forget(&mut self, id: u64) {
        if let Some(at) = self.touched.remove(&id) {
            self.by_time.remove(&(at, id));
        }
        self.unmentioned.remove(&self.last_sent(id));
        self.sent.remove(&id);
        self.restarts.remove(&id);
        self.reattach.remove(&id);
    }

    /// Forgets an id whose lease ended without an outcome. A worker that was silent about it for a
    /// whole lease is as good as silent: it gets nothing until it is heard again. Its last words
    /// may be younger than the lease, when they were said before it knew of the id.
    pub fn lost(&mut self, id: u64, worker: &str, now: Millis) {
        if let Some(&touched) = self.touched.get(&id).filter(|&&at| now - at > self.lease_ms)
            && let Some(view) = self.workers.get_mut(worker)
        {
            view.seen_ms = view.seen_ms.min(touched);
        }
        self.forget(id);
    }

    /// After a restart: these were live, and their workers are still to be heard.
    pub fn expect_back(&mut self, ids: impl IntoIterator<Item = u64>, now: Millis) {
        for id in ids {
            self.reattach.insert(id);
            self.touch(id, now);
        }
    }

    /// Time in which nothing could be heard is added to every lease.
    pub fn forgive(&mut self, gap: Millis) {
        for at in self.touched.values_mut().chain(self.sent.values_mut()) {
            *at += gap;
        }
        self.by_time = self.touched.iter().map(|(id, at)| (*at, *id)).collect();
        let unmentioned = std::mem::take(&mut self.unmentioned);
        self.unmentioned = unmentioned.into_iter().map(|(_, id)| self.last_sent(id)).collect();
        for worker in self.workers.values_mut() {
            worker.seen_ms += gap;
        }
    }

    /// Ids that should be sent again: sent a while ago, or to a process that is gone, and not
    /// mentioned by their worker since.
    pub fn unheard(&self, now: Millis) -> impl Iterator<Item = u64> + '_ {
        let late = self.unmentioned.iter().take_while(move |(at, _)| *at < now - RESEND_MS);
        late.map(|(_, id)| *id).filter(|id| !self.reattach.contains(id))
    }

    /// Those that take work and have a free slot, best first; some may be silent.
    pub(super) fn free(&self) -> impl Iterator<Item = (&str, &WorkerView)> {
        self.roster.free().filter_map(|name| Some((name, self.workers.get(name)?)))
    }

    /// Those that take gates and are heard, warm ones first, then by name.
    pub(super) fn gaters(&self, now: Millis) -> impl Iterator<Item = (&str, &WorkerView)> {
        let heard = move |view: &&WorkerView| self.is_heard(view, now);
        self.roster.gates().filter_map(move |name| Some((name, self.workers.get(name).filter(heard)?)))
    }

    /// Every worker ever heard of, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workers.keys().map(String::as_str)
    }

    /// Workers heard within the lease time, by name.
    pub fn present(&self, now: Millis) -> impl Iterator<Item = (&str, &WorkerView)> {
        self.workers.iter().filter(move |(_, view)| self.is_heard(view, now)).map(|(name, view)| (name.as_str(), view))
    }

    /// The earliest time at which a lease can run out.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| at + self.lease_ms + 1)
    }

    /// Ids whose lease ran out, longest silent first. A lease begins when the id is sent.
    pub fn overdue(&self, now: Millis) -> impl Iterator<Item = u64> + '_ {
        self.by_time.iter().take_while(move |(at, _)| now - at > self.lease_ms).map(|(_, id)| *id)
    }

    /// Whether a worker was heard within the lease time.
    pub fn is_present(&self, worker: &str, now: Millis) -> bool {
        self.workers.get(worker).is_some_and(|view| self.is_heard(view, now))
    }

    /// Whether what a worker last said is younger than a lease.
    pub(super) fn is_heard(&self, view: &WorkerView, now: Millis) -> bool {
        now - view.seen_ms <= self.lease_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(holding: &[u64], seen_ms: Millis) -> WorkerView {
        WorkerView {
            work_slots: 1,
            gate_slots: 1,
            holding: holding.iter().copied().collect(),
            seen_ms,
            ..WorkerView::default()
        }
    }

    fn unheard(fleet: &Fleet, id: u64, now: Millis) -> bool {
        fleet.unheard(now).any(|unheard| unheard == id)
    }

    fn expired(fleet: &Fleet, now: Millis) -> bool {
        fleet.overdue(now).any(|id| id == 1)
    }

    #[test]
    fn presence_renews_and_silence_expires() {
        let mut fleet = Fleet::default();
        fleet.sent(1, 0);
        assert!(!expired(&fleet, LEASE_MS) && expired(&fleet, LEASE_MS + 1));
        fleet.hear("w", view(&[1], 20_000), &[1]);
        assert!(!expired(&fleet, LEASE_MS + 1));
        fleet.forgive(3_600_000);
        assert!(!expired(&fleet, 3_600_000 + LEASE_MS), "a suspended laptop costs no lease");
    }

    #[test]
    fn who_let_a_lease_run_out_gets_nothing_until_it_is_heard_again() {
        let mut fleet = Fleet::default();
        fleet.sent(1, 0);
        // Said before it took the assignment, heard after.
        fleet.hear("w", view(&[], 100), &[1]);
        let late = LEASE_MS + 1;
        assert!(fleet.is_present("w", late) && expired(&fleet, late));
        fleet.lost(1, "w", late);
        assert!(!fleet.is_present("w", late) && fleet.next_expiry().is_none());
        fleet.hear("w", view(&[], late + 1), &[]);
        assert!(fleet.is_present("w", late + 1));
        fleet.sent(2, late + 1);
        fleet.lost(2, "w", late + 2);
        assert!(fleet.is_present("w", late + 2), "it came back without it: it is there");
    }

    #[test]
    fn presence_renews_only_what_is_live_and_its_own() {
        let mut fleet = Fleet::default();
        fleet.sent(1, 0);
        fleet.hear("w", view(&[1, 2], 20_000), &[]);
        assert!(expired(&fleet, LEASE_MS + 1), "another's lease");
        fleet.forget(1);
        assert_eq!(fleet.next_expiry(), None, "what is over is waited for by nobody");
    }

    #[test]
    fn after_a_restart_the_worker_says_what_is_left() {
        let mut fleet = Fleet::default();
        fleet.expect_back([1, 2], 0);
        assert!(!unheard(&fleet, 1, RESEND_MS * 2), "not sent again before its worker spoke");
        assert_eq!(fleet.hear("w", view(&[2], 10), &[1, 2]), [1]);
        assert_eq!(fleet.hear("w", view(&[], 20), &[2]), [0_u64; 0]);
    }

    #[test]
    fn a_restarted_worker_is_told_again_at_once() {
        let mut fleet = Fleet::default();
        fleet.hear("w", view(&[], 0), &[]);
        fleet.sent(9, 0);
        fleet.hear("w", view(&[9], 1), &[9]);
        assert!(!unheard(&fleet, 9, 2));
        fleet.hear("w", WorkerView { incarnation: 2, ..view(&[], 3) }, &[9]);
        assert!(unheard(&fleet, 9, 3));
    }

    #[test]
    fn what_ends_its_worker_again_and_again_is_lost() {
        let mut fleet = Fleet::default();
        fleet.hear("w", view(&[], 0), &[]);
        fleet.sent(9, 0);
        for incarnation in 1..=i64::from(RESTARTS_MAX) {
            let started = WorkerView { incarnation: incarnation.unsigned_abs(), ..view(&[], incarnation) };
            assert_eq!(fleet.hear("w", started, &[9]), [0_u64; 0]);
        }
        let again = WorkerView { incarnation: 77, ..view(&[], 70) };
        assert_eq!(fleet.hear("w", again, &[9]), [9]);
        fleet.forget(9);
        fleet.sent(9, 80);
        assert_eq!(fleet.hear("w", WorkerView { incarnation: 78, ..view(&[], 90) }, &[9]), [0_u64; 0]);
    }

    #[test]
    fn a_lost_assignment_is_sent_again() {
        let mut fleet = Fleet::default();
        fleet.sent(9, 0);
        assert!(!unheard(&fleet, 9, RESEND_MS) && unheard(&fleet, 9, RESEND_MS + 1));
        fleet.hear("w", view(&[9], RESEND_MS), &[9]);
        assert!(!unheard(&fleet, 9, RESEND_MS * 9));
        fleet.hear("w", view(&[], RESEND_MS * 9), &[9]);
        assert!(unheard(&fleet, 9, RESEND_MS * 9), "it held it, and does no longer");
        fleet.forget(9);
        assert!(!unheard(&fleet, 9, RESEND_MS * 20));
    }
}
