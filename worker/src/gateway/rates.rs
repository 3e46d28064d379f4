//! The rate limiters of one worker: one for each account of a provider, shared by all attempts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::{RateLimiter, RateShare};

/// Accounts remembered while nobody uses them.
const IDLE_MAX: usize = 64;

/// The provider's address, and the variable with the key.
type Account = (String, String);

/// All of them; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Rates(Arc<Mutex<BTreeMap<Account, Arc<RateLimiter>>>>);

impl Rates {
    /// The limiter of an account. Where jobs say different things about its limits, the last one
    /// that began counts.
    pub fn of(&self, url: &str, key_env: &str, share: RateShare) -> Arc<RateLimiter> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = (url.to_owned(), key_env.to_owned());
        if let Some(known) = all.get(&account) {
            known.set_share(share);
            return Arc::clone(known);
        }
        if all.len() >= IDLE_MAX {
            all.retain(|_, limiter| Arc::strong_count(limiter) > 1);
        }
        let limiter = Arc::new(RateLimiter::new(share));
        all.insert(account, Arc::clone(&limiter));
        limiter
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
        assert!(rates.0.lock().expect("no panic").len() <= IDLE_MAX, "those nobody uses are forgotten");
        assert!(Arc::ptr_eq(&one, &rates.of("https://a/v1", "KEY", share)), "one in use is not");
    }
}
