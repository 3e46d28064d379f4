//! Waiting longer after each failure, never all at the same moment.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(50);

/// Doublings after which the limit counts in any case.
const DOUBLINGS_MAX: u32 = 16;

/// The wait before attempt `failures + 1`: doubled with each failure up to `max`, then anything
/// between half and all of it, so that a thousand workers do not come back in step.
pub(super) fn delay(failures: u32, max: Duration) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let whole = FIRST.saturating_mul(1 << (failures - 1).min(DOUBLINGS_MAX)).min(max);
    // Keys of a fresh hasher are random: all that jitter needs.
    let share = RandomState::new().hash_one(failures) % 1000;
    whole / 2 + (whole / 2).mul_f64(share as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit_and_differ() {
        let max = Duration::from_secs(5);
        assert_eq!(delay(0, max), Duration::ZERO);
        assert!(delay(1, max) <= FIRST && delay(1, max) >= FIRST / 2);
        assert!(delay(u32::MAX, max) <= max && delay(40, max) >= max / 2);
        let several: std::collections::BTreeSet<_> = (0..50).map(|_| delay(9, max)).collect();
        assert!(several.len() > 1, "no jitter");
    }
}
