//! The rate limiters of one worker: one for each account of a provider, shared by all attempts.
//!
//! An account's limits hold for all workers together. The coordinator says how many of them ask models
//! now, and each keeps to its part: what the parts leave over is nobody's. Like a provider's own buckets
//! theirs begin full: what a minute allows may pass at once, the rest evenly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::rate::{RateLimiter, RateShare};

/// Accounts remembered while nobody uses them.
const IDLE_MAX: usize = 64;

/// The provider's address, and the variable with the key.
type Account = (String, String);

/// All of them; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Rates(Arc<Mutex<Accounts>>);

#[derive(Debug, Default)]
struct Accounts {
    /// With the limit of the whole account.
    known: BTreeMap<Account, (RateShare, Arc<RateLimiter>)>,
    /// Workers that ask models; 0 before anybody said how many.
    workers: u32,
}

impl Rates {
    /// The limiter of an account. Where jobs say different things about its limits, the last one
    /// that began counts.
    pub fn of(&self, url: &str, key_env: &str, limit: RateShare) -> Arc<RateLimiter> {
        let mut all = self.accounts();
        let share = limit.part(all.workers);
        let account = (url.to_owned(), key_env.to_owned());
        if let Some((known, limiter)) = all.known.get_mut(&account) {
            *known = limit;
            limiter.set_share(share);
            return Arc::clone(limiter);
        }
        if all.known.len() >= IDLE_MAX {
            all.known.retain(|_, (_, limiter)| Arc::strong_count(limiter) > 1);
        }
        let limiter = Arc::new(RateLimiter::new(share));
        all.known.insert(account, (limit, Arc::clone(&limiter)));
        limiter
    }

    /// So many workers ask models now.
    pub fn divide(&self, workers: u32) {
        let mut all = self.accounts();
        if std::mem::replace(&mut all.workers, workers) != workers {
            all.known.values().for_each(|(limit, limiter)| limiter.set_share(limit.part(workers)));
        }
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RateShare {
    /// One worker's part of it: at least one of each, for nothing would be no limit.
    fn part(self, workers: u32) -> Self {
        let part = |limit: u64| if limit == 0 { 0 } else { (limit / u64::from(workers.max(1))).max(1) };
        Self { requests_per_minute: part(self.requests_per_minute), tokens_per_minute: part(self.tokens_per_minute) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_share_the_limits_of_an_account() {
        let (rates, share) = (Rates::default(), RateShare { requests_per_minute: 1, tokens_per_minute: 0 });
        let one = rates.of("https://a/v1", "KEY", share);
        assert!(Arc::ptr_eq(&one, &rates.clone().of("https://a/v1", "KEY", share)));
        assert!(!Arc::ptr_eq(&one, &rates.of("https://a/v1", "OTHER", share)));
        for number in 0..1_000 {
            rates.of(&format!("https://{number}/v1"), "KEY", share);
        }
        assert!(rates.accounts().known.len() <= IDLE_MAX, "those nobody uses are forgotten");
        assert!(Arc::ptr_eq(&one, &rates.of("https://a/v1", "KEY", share)), "one in use is not");
    }

    #[test]
    fn workers_divide_the_limits_and_are_told_anew() {
        let rates = Rates::default();
        let limit = RateShare { requests_per_minute: 10, tokens_per_minute: 0 };
        let first = rates.of("https://a/v1", "KEY", limit);
        assert_eq!(first.share(), limit, "whoever is alone has the whole");
        rates.divide(3);
        assert_eq!(first.share(), RateShare { requests_per_minute: 3, tokens_per_minute: 0 });
        assert_eq!(rates.of("https://b/v1", "KEY", limit).share().requests_per_minute, 3);
        rates.divide(100);
        assert_eq!(first.share().requests_per_minute, 1, "a part is never nothing");
        rates.divide(0);
        assert_eq!(first.share(), limit);
    }
}
