//! How often callers may fail to say who they are.
//!
//! Counted by address, in memory. An address over the limit is refused before its credential is
//! looked at, until its window is over: behind one address (NAT) all callers share the limit, so
//! it is wide, and a token has too many bits to be guessed at that rate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one address in one window.
pub const FAILURES_MAX: u32 = 60;

/// How long failures are counted together, and how long an address over the limit waits at most.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Addresses remembered; the one whose window began first is forgotten for a new one.
pub const ADDRESSES_MAX: usize = 4_096;

/// Failures by address.
#[derive(Debug, Default)]
pub struct Failures(Mutex<BTreeMap<IpAddr, (Instant, u32)>>);

impl Failures {
    /// How long this address has to wait, if it has to.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let &(began, count) = counted.get(&address)?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(began))?;
        (count >= FAILURES_MAX).then_some(left)
    }

    /// One more.
    pub fn note(&self, address: IpAddr, now: Instant) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.contains_key(&address) && counted.len() >= ADDRESSES_MAX {
            let oldest = counted.iter().min_by_key(|(_, (began, _))| *began).map(|(&address, _)| address);
            oldest.and_then(|oldest| counted.remove(&oldest));
        }
        let entry = counted.entry(address).or_insert((now, 0));
        if now.saturating_duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_over_the_limit_waits_for_its_window_and_memory_is_bounded() {
        let (failures, start) = (Failures::default(), Instant::now());
        let one = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait(one, start), None);
            failures.note(one, start);
        }
        assert!(failures.wait(one, start).is_some());
        assert_eq!(failures.wait(IpAddr::from([10, 0, 0, 2]), start), None);
        let later = start + WINDOW + Duration::from_secs(1);
        assert_eq!(failures.wait(one, later), None);
        for number in 0..ADDRESSES_MAX as u32 + 10 {
            failures.note(IpAddr::from(number.to_be_bytes()), later);
        }
        assert_eq!(failures.0.lock().expect("nobody panicked").len(), ADDRESSES_MAX);
    }
}
