//! What goes wrong: to processes, clocks, disks and the net, one thing after the other and several
//! at a time.

use longhaul_worker::session::desk;

use crate::coordinator::Death;
use crate::happening::Happening;
use crate::network::Way;
use crate::setting::{HOUR, MINUTE, SECOND};
use crate::world::World;

/// A fault that lasts.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    DiskFull,
    BadNet,
    BrokerDown,
    Cut(Way),
    Slow(usize),
    Poisoned(usize),
    /// Drained assignments had their time.
    Overdue(usize, u32),
}

impl World {
    pub fn next_fault(&mut self) {
        if self.now > self.setting.faults_until_ms || self.coordinator.is_closed() {
            return;
        }
        let worker = usize::try_from(self.random.below(u64::from(self.setting.workers))).unwrap_or(0);
        let what = self.fault(worker);
        self.trace.note(self.now, what, worker, 0);
        *self.faults.entry(what).or_default() += 1;
        let wait = self.random.between((1, 2 * self.setting.fault_every_ms));
        self.after(wait, Happening::NextFault);
    }

    fn fault(&mut self, worker: usize) -> &'static str {
        let short = self.random.between((SECOND, 25 * SECOND));
        let long = self.random.between((40 * SECOND, 3 * MINUTE));
        match self.random.below(22) {
            0..4 => self.doom_coordinator(),
            4 => {
                self.coordinator.suspended_until = self.now + long;
                "coordinator suspended"
            }
            5 => {
                self.coordinator.skew_ms += self.random.between((SECOND, HOUR));
                "clock jumps forward"
            }
            6 => {
                self.coordinator.skew_ms -= self.random.between((SECOND, 2 * HOUR));
                "clock set back"
            }
            7..10 => self.crash_worker(worker, short),
            10 => {
                self.workers[worker].suspended_until = self.now + long;
                "worker suspended"
            }
            11 => self.drain(worker, long),
            12 => {
                self.workers[worker].poisoned = true;
                self.lasts(short, Fault::Poisoned(worker), "worker poisoned")
            }
            13 => {
                self.workers[worker].slowness = 5;
                self.lasts(long * 5, Fault::Slow(worker), "worker slow")
            }
            14 => self.cut(Way::ToWorker(worker), long, "cut to a worker"),
            15 => self.cut(Way::FromWorker(worker), long, "cut from a worker"),
            16 => self.cut(Way::Results(worker), long, "cut for results"),
            17 => {
                self.cut(Way::ToWorker(worker), long, "");
                self.cut(Way::FromWorker(worker), long, "");
                self.cut(Way::Results(worker), long, "worker cut off")
            }
            18 => {
                self.network.down = true;
                self.lasts(short + long / 3, Fault::BrokerDown, "broker down")
            }
            19 => {
                self.network.bad_percent = 1 + self.random.below(40);
                self.lasts(long, Fault::BadNet, "bad net")
            }
            20 => {
                self.coordinator.disk_mut().full = true;
                self.lasts(short, Fault::DiskFull, "disk full")
            }
            _ => {
                self.coordinator.disk_mut().bad_syncs += 1 + u32::try_from(self.random.below(3)).unwrap_or(0);
                "syncs fail"
            }
        }
    }

    fn lasts(&mut self, ms: i64, fault: Fault, what: &'static str) -> &'static str {
        self.after(ms, Happening::FaultEnds(fault));
        what
    }

    fn cut(&mut self, way: Way, ms: i64, what: &'static str) -> &'static str {
        self.network.cut(way);
        self.lasts(ms, Fault::Cut(way), what)
    }

    /// It dies at once, or somewhere in its next turn.
    fn doom_coordinator(&mut self) -> &'static str {
        if !self.coordinator.up {
            return "nothing: it is dead";
        }
        let death = match self.random.below(5) {
            0 => {
                self.coordinator_dies();
                return "coordinator killed";
            }
            1 => Death::BeforeCommit,
            2 => Death::InSync,
            _ => Death::AfterCommit(usize::try_from(self.random.below(4)).unwrap_or(0)),
        };
        self.coordinator.death = Some(death);
        "coordinator doomed"
    }

    fn crash_worker(&mut self, worker: usize, down: i64) -> &'static str {
        if !self.workers[worker].up {
            return "nothing: it is dead";
        }
        self.workers[worker].crash();
        // Sometimes for longer than its leases.
        let down = if self.random.chance(30) { down * 4 } else { down };
        self.after(down, Happening::WorkerStarts { worker });
        "worker crashes"
    }

    /// It leaves, and somebody of its name joins again later.
    fn drain(&mut self, worker: usize, within: i64) -> &'static str {
        if !self.workers[worker].up {
            return "nothing: it is dead";
        }
        self.hear(worker, desk::Input::Drain);
        let incarnation = self.workers[worker].incarnation;
        self.lasts(within, Fault::Overdue(worker, incarnation), "worker drains")
    }

    pub fn fault_ends(&mut self, fault: Fault) {
        match fault {
            Fault::DiskFull => self.coordinator.disk_mut().full = false,
            Fault::BadNet => self.network.bad_percent = 0,
            Fault::BrokerDown => self.network.down = false,
            Fault::Cut(way) => self.network.mend(way),
            Fault::Slow(worker) => self.workers[worker].slowness = 1,
            Fault::Poisoned(worker) => self.workers[worker].poisoned = false,
            Fault::Overdue(worker, incarnation) => self.overdue(worker, incarnation),
        }
    }

    fn overdue(&mut self, worker: usize, incarnation: u32) {
        let process = &self.workers[worker];
        if process.gone {
            self.after(self.setting.presence_ms, Happening::WorkerStarts { worker });
        } else if process.up && process.incarnation == incarnation {
            self.hear(worker, desk::Input::Overdue);
            self.lasts(MINUTE, Fault::Overdue(worker, incarnation), "");
        }
    }
}
