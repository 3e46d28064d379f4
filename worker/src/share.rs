//! The machine as one shared resource: cpu and memory that assignments of each kind take.
//!
//! Slots bound how many run; weights bound what they take together, so that a gate and the work
//! beside it never ask for more than there is. First come, first served: while a heavy one waits at
//! the front nothing passes it, so it is never starved. An assignment heavier than the whole
//! machine is taken as the whole machine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Parts of one core.
pub const MILLIS_PER_CPU: u64 = 1_000;

/// An amount of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Weight {
    fn fits(self, free: Self) -> bool {
        self.cpu_millis <= free.cpu_millis && self.memory_bytes <= free.memory_bytes
    }

    fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn at_most(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.min(other.cpu_millis),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
        }
    }
}

/// What the machine has, and what each kind of assignment takes of it. The default takes nothing:
/// then only slots count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// The whole machine.
    pub total: Weight,
    /// A subtask.
    pub work: Weight,
    /// A gate.
    pub gate: Weight,
}

impl Weights {
    /// Weights for a machine: all gates together take half of it, which is theirs, so that none
    /// waits for long attempts; the work slots share the rest, at one core each or less. Without
    /// gates they share all of it. `None` takes what this machine has.
    pub fn of_machine(cpus: Option<u32>, memory_bytes: Option<u64>, work_slots: u32, gate_slots: u32) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let total = Weight {
            cpu_millis: cpus.map_or_else(cores, u64::from).max(1) * MILLIS_PER_CPU,
            memory_bytes: memory_bytes.or_else(machine_memory_bytes).unwrap_or_default(),
        };
        let (work, gates) = (u64::from(work_slots.max(1)), u64::from(gate_slots.max(1)));
        let gate = Weight { cpu_millis: total.cpu_millis / 2 / gates, memory_bytes: total.memory_bytes / 2 / gates };
        let of_gates = u64::from(gate_slots);
        let rest =
            total.minus(Weight { cpu_millis: gate.cpu_millis * of_gates, memory_bytes: gate.memory_bytes * of_gates });
        Self {
            total,
            work: Weight {
                cpu_millis: (rest.cpu_millis / work).min(MILLIS_PER_CPU),
                memory_bytes: rest.memory_bytes / work,
            },
            gate,
        }
    }
}

/// Where a container says how much of the machine's memory is its own: by version of control groups.
const OWN_MEMORY: &[&str] = &["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// `MemTotal` of the kernel, or what a container leaves of it.
pub(crate) fn machine_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)?;
    // "max" stands for no limit.
    let own = OWN_MEMORY.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(own.fold(total, u64::min))
}

/// The machine, shared by clones.
#[derive(Clone, Debug)]
pub struct Share {
    total: Weight,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: Weight,
    waiting: VecDeque<(Weight, oneshot::Sender<Portion>)>,
}

/// A part of the machine, given back when it is dropped.
#[derive(Debug)]
pub struct Portion {
    weight: Weight,
    state: Arc<Mutex<State>>,
}

impl Share {
    /// The whole machine, free.
    pub fn new(total: Weight) -> Self {
        Self { total, state: Arc::new(Mutex::new(State { free: total, waiting: VecDeque::new() })) }
    }

    /// Takes a part, in turn. Dropped while it waits, it leaves the queue.
    pub async fn take(&self, weight: Weight) -> Portion {
        let weight = weight.at_most(self.total);
        let (sender, receiver) = oneshot::channel();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back((weight, sender));
        serve(&self.state);
        let waiting = Waiting { state: Arc::clone(&self.state) };
        let portion = receiver.await.expect("a waiting sender is dropped only after its receiver");
        drop(waiting);
        portion
    }

    /// What is free now.
    #[cfg(test)]
    fn free(&self) -> Weight {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free
    }
}

/// One that stops waiting may have been what held up the next.
struct Waiting {
    state: Arc<Mutex<State>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        serve(&self.state);
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.free = state.free.plus(self.weight);
        }
        self.weight = Weight::default();
        serve(&self.state);
    }
}

/// Serves from the front as long as the front fits.
fn serve(shared: &Arc<Mutex<State>>) {
    loop {
        let (weight, sender) = {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            while state.waiting.front().is_some_and(|(_, sender)| sender.is_closed()) {
                state.waiting.pop_front();
            }
            let fits = state.waiting.front().is_some_and(|(weight, _)| weight.fits(state.free));
            let Some(next) = fits.then(|| state.waiting.pop_front()).flatten() else { return };
            state.free = state.free.minus(next.0);
            next
        };
        // Not sent, the portion drops here and its weight is free again.
        drop(sender.send(Portion { weight, state: Arc::clone(shared) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn cpus(millis: u64) -> Weight {
        Weight { cpu_millis: millis, memory_bytes: 0 }
    }

    #[tokio::test]
    async fn a_heavy_one_waits_in_front_and_is_not_passed() {
        let share = Share::new(cpus(2_000));
        let one = share.take(cpus(1_000)).await;
        let mut heavy = Box::pin(share.take(cpus(2_000)));
        assert!(heavy.as_mut().now_or_never().is_none());
        let mut light = Box::pin(share.take(cpus(500)));
        assert!(light.as_mut().now_or_never().is_none(), "it would fit, but the heavy one is first");
        drop(one);
        let heavy = heavy.now_or_never().expect("its turn");
        assert!(light.as_mut().now_or_never().is_none());
        drop(heavy);
        let light = light.now_or_never().expect("its turn");
        assert_eq!(share.free(), cpus(1_500));
        drop(light);
        assert_eq!(share.free(), cpus(2_000));
    }

    #[tokio::test]
    async fn one_that_leaves_the_queue_lets_the_next_pass() {
        let share = Share::new(Weight { cpu_millis: 4_000, memory_bytes: 10 });
        let held = share.take(Weight { cpu_millis: 0, memory_bytes: 8 }).await;
        let mut heavy = Box::pin(share.take(Weight { cpu_millis: 0, memory_bytes: 9 }));
        assert!(heavy.as_mut().now_or_never().is_none());
        let mut light = Box::pin(share.take(Weight { cpu_millis: 1, memory_bytes: 2 }));
        assert!(light.as_mut().now_or_never().is_none());
        drop(heavy);
        light.now_or_never().expect("nothing is before it");
        drop(held);
        let all = share.take(Weight { cpu_millis: 99_000, memory_bytes: 99 }).await;
        assert_eq!(share.free(), Weight::default(), "more than the machine is the machine");
        drop(all);
    }

    #[test]
    fn a_machine_runs_all_its_slots_of_both_kinds_at_once() {
        for (cpus, work, gates) in [(8, 8, 1), (2, 8, 1), (16, 3, 4), (1, 1, 1)] {
            let weights = Weights::of_machine(Some(cpus), Some(16 << 30), work, gates);
            let all = (0..work).map(|_| weights.work).chain((0..gates).map(|_| weights.gate));
            assert!(all.fold(Weight::default(), Weight::plus).fits(weights.total), "{weights:?}");
        }
        let weights = Weights::of_machine(Some(8), Some(16 << 30), 8, 1);
        assert_eq!((weights.work.cpu_millis, weights.gate.cpu_millis), (500, 4_000));
        assert_eq!(weights.work.memory_bytes, 1 << 30);
        let weights = Weights::of_machine(Some(8), Some(16 << 30), 8, 0);
        assert_eq!((weights.work.cpu_millis, weights.work.memory_bytes), (1_000, 2 << 30));
        assert!(Weights::of_machine(None, None, 1, 1).total.memory_bytes > 0);
    }
}
