//! How many may do a costly thing at once, in all and by caller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seats for one kind of work.
#[derive(Clone, Debug)]
pub struct Seats {
    all: Arc<Semaphore>,
    each: usize,
    wait: Duration,
    callers: Arc<Mutex<BTreeMap<String, Arc<Semaphore>>>>,
}

/// Held while the work is done.
#[derive(Debug)]
pub struct Seat {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Seats {
    /// `all` at once, of which one caller has `each` at most; who finds none waits for `wait`.
    pub fn new(all: usize, each: usize, wait: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, wait, callers: Arc::default() }
    }

    /// A seat for a caller; `None` when none came free in time.
    pub async fn take(&self, caller: &str) -> Option<Seat> {
        let own = self.of(caller);
        // One's own first: a caller that waits for itself keeps nobody else out.
        let both = async {
            let own = own.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Seat { _all: all, _own: own })
        };
        tokio::time::timeout(self.wait, both).await.ok().flatten()
    }

    fn of(&self, caller: &str) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers of whom nothing runs or waits are forgotten.
        callers.retain(|_, seats| Arc::strong_count(seats) > 1 || seats.available_permits() < self.each);
        Arc::clone(callers.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_caller_cannot_take_every_seat_and_a_seat_comes_back() {
        let seats = Seats::new(3, 2, Duration::from_millis(20));
        let (first, second) = (seats.take("a").await.expect("free"), seats.take("a").await.expect("free"));
        assert!(seats.take("a").await.is_none(), "two is all one caller has");
        let other = seats.take("b").await.expect("there is one for others");
        assert!(seats.take("c").await.is_none(), "three is all there are");
        drop((first, second));
        assert!(seats.take("a").await.is_some());
        drop(other);
        assert_eq!(seats.callers.lock().expect("nobody panicked").len(), 2);
        drop(seats.take("d").await);
        assert_eq!(seats.callers.lock().expect("nobody panicked").len(), 1);
    }
}
