//! Requests and tokens per minute, shared by all attempts of a worker.
//!
//! A provider's limits hold for an account, so for all workers together: each has a share of them
//! ([`super::Rates`] divides them). A worker that is alone has the whole. Calls wait for their turn and never fail for it; they pass in the order they came.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time over which a bucket fills.
const MINUTE: Duration = Duration::from_secs(60);

/// What one worker may ask of a provider in a minute; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateShare {
    /// Calls.
    pub requests_per_minute: u64,
    /// Tokens, in and out.
    pub tokens_per_minute: u64,
}

/// A bucket that fills evenly and may be in debt: a call that is larger than the bucket passes when
/// the bucket is full, and the next ones wait for what it took.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_minute: u64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, level: per_minute as f64, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE.as_secs_f64();
        let full = self.per_minute as f64;
        self.level = (self.level + minutes * full).min(full);
        self.at = now;
    }

    /// How long until there is so much in it.
    fn wait(&mut self, amount: u64, now: Instant) -> Duration {
        if self.per_minute == 0 {
            return Duration::ZERO;
        }
        self.fill(now);
        let missing = amount.min(self.per_minute) as f64 - self.level;
        // A microsecond more, so that rounding never makes a second wait of nothing.
        let wait = Duration::from_secs_f64((missing / self.per_minute as f64).max(0.0) * MINUTE.as_secs_f64());
        if wait.is_zero() { wait } else { wait + Duration::from_micros(1) }
    }

    fn take(&mut self, amount: f64) {
        if self.per_minute > 0 {
            self.level = (self.level - amount).min(self.per_minute as f64);
        }
    }
}

#[derive(Debug)]
struct Buckets {
    requests: Bucket,
    tokens: Bucket,
}

impl Buckets {
    fn new(share: RateShare, now: Instant) -> Self {
        let requests = Bucket::new(share.requests_per_minute, now);
        Self { requests, tokens: Bucket::new(share.tokens_per_minute, now) }
    }

    /// Takes one call of so many tokens, or says how long to wait for it.
    fn try_take(&mut self, tokens: u64, now: Instant) -> Duration {
        let wait = self.requests.wait(1, now).max(self.tokens.wait(tokens, now));
        if wait.is_zero() {
            self.requests.take(1.0);
            self.tokens.take(tokens as f64);
        }
        wait
    }

    fn set_share(&mut self, share: RateShare, now: Instant) {
        let both = [(&mut self.requests, share.requests_per_minute), (&mut self.tokens, share.tokens_per_minute)];
        for (bucket, per_minute) in both {
            if bucket.per_minute == 0 {
                *bucket = Bucket::new(per_minute, now);
            } else {
                bucket.fill(now);
                bucket.per_minute = per_minute;
                bucket.level = bucket.level.min(per_minute as f64);
            }
        }
    }
}

/// The limits of one provider at one worker.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: Mutex<Buckets>,
    /// Held by whoever is next, so that a large call is not passed by small ones for ever.
    turn: tokio::sync::Mutex<()>,
}

impl RateLimiter {
    /// Full buckets of this share.
    pub fn new(share: RateShare) -> Self {
        let buckets = Mutex::new(Buckets::new(share, Instant::now()));
        Self { buckets, turn: tokio::sync::Mutex::new(()) }
    }

    /// Another share from now on; what is in the buckets stays, up to what they then hold.
    pub fn set_share(&self, share: RateShare) {
        self.buckets().set_share(share, Instant::now());
    }

    /// What it may ask for in a minute.
    pub fn share(&self) -> RateShare {
        let buckets = self.buckets();
        RateShare { requests_per_minute: buckets.requests.per_minute, tokens_per_minute: buckets.tokens.per_minute }
    }

    /// Waits for room for one call of so many tokens and takes it. `waits` is told each wait.
    pub(super) async fn acquire(&self, tokens: u64, mut waits: impl FnMut(Duration)) {
        let _turn = self.turn.lock().await;
        loop {
            let wait = self.buckets().try_take(tokens, Instant::now());
            if wait.is_zero() {
                return;
            }
            waits(wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// Gives back what a call took and did not use.
    pub(super) fn give_back(&self, tokens: u64) {
        self.buckets().tokens.take(-(tokens as f64));
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(found: Duration, seconds: u64) -> bool {
        found.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(20)
    }

    #[test]
    fn requests_pass_at_their_rate() {
        let now = Instant::now();
        let mut buckets = Buckets::new(RateShare { requests_per_minute: 2, tokens_per_minute: 0 }, now);
        assert!(buckets.try_take(1_000_000, now).is_zero() && buckets.try_take(1, now).is_zero());
        let wait = buckets.try_take(1, now);
        assert!(is_about(wait, 30), "{wait:?}");
        let now = now + wait;
        assert!(buckets.try_take(1, now).is_zero(), "the wait it named is enough");
        buckets.set_share(RateShare { requests_per_minute: 60, tokens_per_minute: 0 }, now);
        assert!(is_about(buckets.try_take(1, now), 1));
    }

    #[test]
    fn a_call_larger_than_the_bucket_passes_and_the_next_waits_for_it() {
        let now = Instant::now();
        let mut buckets = Buckets::new(RateShare { requests_per_minute: 0, tokens_per_minute: 600 }, now);
        assert!(buckets.try_take(1_200, now).is_zero());
        assert!(is_about(buckets.try_take(10, now), 61));
        buckets.tokens.take(-10_000.0);
        assert!(buckets.try_take(600, now).is_zero());
        assert!(!buckets.try_take(1, now).is_zero(), "it was never more than full");
    }
}
