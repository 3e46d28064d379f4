//! What is done to a fleet, drawn from a seed: what, to whom, after which pause, for how long.

use std::time::Duration;

use crate::random::Random;

/// Something bad that happens, and ends again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SIGKILL; started again at the end. 0 is the coordinator, then the workers.
    Kill(usize),
    /// SIGSTOP, then SIGCONT.
    Hold(usize),
    /// SIGTERM, then started again: a drain or a clean stop.
    Terminate(usize),
    /// No byte between it and NATS.
    CutNats(usize),
    /// No byte between a worker and the server.
    CutServer(usize),
    /// Every connection of it to NATS is closed once.
    DropNats(usize),
    /// Its messages are late.
    DelayNats(usize),
    /// Its messages are doubled, swapped and lost.
    GarbleNats(usize),
    /// The messaging server dies, and comes back with an empty store.
    WipeNats,
    /// The messaging server is held.
    HoldNats,
    /// Its disk is full.
    FillDisk(usize),
    /// Its wall clock is off by so many seconds.
    JumpClock(usize, i64),
}

/// What a fault takes hold of: two faults never hold the same thing at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// A process.
    Process(usize),
    /// Its link to NATS.
    ToNats(usize),
    /// Its link to the server.
    ToServer(usize),
    /// Its disk.
    Disk(usize),
    /// Its clock.
    Clock(usize),
    /// The messaging server.
    Nats,
}

impl Fault {
    /// What it takes hold of.
    pub fn target(self) -> Target {
        match self {
            Self::Kill(at) | Self::Hold(at) | Self::Terminate(at) => Target::Process(at),
            Self::CutNats(at) | Self::DropNats(at) | Self::DelayNats(at) | Self::GarbleNats(at) => Target::ToNats(at),
            Self::CutServer(at) => Target::ToServer(at),
            Self::WipeNats | Self::HoldNats => Target::Nats,
            Self::FillDisk(at) => Target::Disk(at),
            Self::JumpClock(at, _) => Target::Clock(at),
        }
    }
}

/// A fault with its times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Before it begins, after the one before it began.
    pub pause: Duration,
    /// What.
    pub fault: Fault,
    /// How long.
    pub lasts: Duration,
}

/// What can be done to the fleet at hand.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Members: the coordinator and the workers.
    pub members: usize,
    /// How many faults.
    pub faults: usize,
    /// Whether disks can be filled.
    pub disks: bool,
}

impl Plan {
    /// The faults of a seed.
    pub fn draw(&self, seed: u64) -> Vec<Step> {
        let mut random = Random::new(seed);
        (0..self.faults).map(|_| self.step(&mut random)).collect()
    }

    fn step(&self, random: &mut Random) -> Step {
        let anyone = |random: &mut Random| usize::try_from(random.within(0, self.members as u64)).unwrap_or(0);
        let worker = |random: &mut Random| usize::try_from(random.within(1, self.members as u64)).unwrap_or(1);
        let fault = match random.within(0, 24) {
            0..=4 => Fault::Kill(anyone(random)),
            5 | 6 => Fault::Kill(0),
            7 | 8 => Fault::Hold(anyone(random)),
            9 | 10 => Fault::Terminate(anyone(random)),
            11 | 12 => Fault::CutNats(anyone(random)),
            13 | 14 => Fault::CutServer(worker(random)),
            15 => Fault::DropNats(anyone(random)),
            16 => Fault::DelayNats(anyone(random)),
            17 | 18 => Fault::GarbleNats(anyone(random)),
            19 => Fault::WipeNats,
            20 => Fault::HoldNats,
            21 | 22 if self.disks => Fault::FillDisk(anyone(random)),
            21 | 22 => Fault::Kill(worker(random)),
            _ => {
                let far = i64::try_from(random.within(1, 7_200)).unwrap_or(60);
                Fault::JumpClock(anyone(random), if random.draw() & 1 == 0 { far } else { -far })
            }
        };
        Step {
            pause: Duration::from_millis(random.within(20, 600)),
            fault,
            lasts: Duration::from_millis(random.within(50, 2_500)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_another_gives_others() {
        let plan = Plan { members: 5, faults: 40, disks: true };
        assert_eq!(plan.draw(7), plan.draw(7));
        assert_ne!(plan.draw(7), plan.draw(8));
        let all: Vec<String> =
            (0..200).flat_map(|seed| plan.draw(seed)).map(|step| format!("{:?}", step.fault)).collect();
        for kind in ["Kill(0)", "Kill(4)", "Hold", "WipeNats", "FillDisk", "JumpClock", "GarbleNats", "CutServer"] {
            assert!(all.iter().any(|fault| fault.starts_with(kind)), "{kind} is never drawn");
        }
    }
}
