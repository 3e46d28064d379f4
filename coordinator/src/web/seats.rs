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
    callers: Callers,
}

/// Each caller's own seats, and how many of its requests hold or wait for one.
type Callers = Arc<Mutex<BTreeMap<String, (Arc<Semaphore>, usize)>>>;

/// Held while the work is done.
#[derive(Debug)]
pub struct Seat {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _caller: Caller,
}

/// One request of a caller, which is forgotten with its last one.
#[derive(Debug)]
struct Caller {
    callers: Callers,
    name: String,
    seats: Arc<Semaphore>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, requests)) = callers.get_mut(&self.name) {
            *requests -= 1;
            if *requests == 0 {
                callers.remove(&self.name);
            }
        }
    }
}

impl Seats {
    /// `all` at once, of which one caller has `each` at most; who finds none waits for `wait`.
    pub fn new(all: usize, each: usize, wait: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, wait, callers: Arc::default() }
    }

    /// A seat for a caller; `None` when none came free in time.
    pub async fn take(&self, caller: &str) -> Option<Seat> {
        let caller = self.of(caller);
        // One's own first: a caller that waits for itself keeps nobody else out.
        let both = async {
            let own = Arc::clone(&caller.seats).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Seat { _all: all, _own: own, _caller: caller })
        };
        tokio::time::timeout(self.wait, both).await.ok().flatten()
    }

    fn of(&self, caller: &str) -> Caller {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = callers.entry(caller.to_owned()).or_insert_with(|| (Arc::new(Semaphore::new(self.each)), 0));
        own.1 += 1;
        Caller { callers: Arc::clone(&self.callers), name: caller.to_owned(), seats: Arc::clone(&own.0) }
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
        drop(seats.take("d").await);
        assert!(seats.callers.lock().expect("nobody panicked").is_empty(), "nobody is remembered for nothing");
    }
}
