//! Pauses between tries: growing, bounded, and different for each of many that wait for one thing.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Pauses of one who tries again.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
    random: RandomState,
    tries: u64,
}

impl Backoff {
    /// From a first pause, doubled up to the longest.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max, random: RandomState::new(), tries: 0 }
    }

    /// The next pause: between half of it and the whole.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2);
        self.tries += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.tries);
        let share = (hasher.finish() % 1_000) as f64 / 2_000.0;
        whole.mul_f64(0.5 + share)
    }

    /// With another longest pause from now on.
    pub fn limit(&mut self, max: Duration) {
        self.max = max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause().as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{pause} of {whole}");
        }
    }
}
