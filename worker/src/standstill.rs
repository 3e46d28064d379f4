//! Time in which an attempt stands still, because a person is asked: no limit of its agents counts it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
struct Stood {
    before: Duration,
    since: Option<Instant>,
}

/// How long an attempt stood still; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Standstill(Arc<watch::Sender<Stood>>);

/// While it lives, time stands still.
#[derive(Debug)]
pub struct Standing(Standstill);

impl Default for Standstill {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Stood::default())))
    }
}

impl Standstill {
    /// Time stands still until the value is dropped. One at a time.
    pub fn begin(&self) -> Standing {
        self.0.send_modify(|stood| stood.since = Some(Instant::now()));
        Standing(self.clone())
    }

    /// All the time it stood still.
    pub fn so_far(&self) -> Duration {
        let stood = *self.0.borrow();
        stood.before + stood.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Returns when a limit is over, counted from now on, without the time in which it stands still.
    pub async fn worked(&self, limit: Duration) {
        let (begun, before) = (Instant::now(), self.so_far());
        let mut changes = self.0.subscribe();
        loop {
            let stands = changes.borrow_and_update().since.is_some();
            let worked = begun.elapsed().saturating_sub(self.so_far().saturating_sub(before));
            let left = limit.saturating_sub(worked);
            let over = async {
                match stands {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(left).await,
                }
            };
            tokio::select! {
                biased;
                // The sender lives as long as this does.
                _changed = changes.changed() => {}
                () = over => return,
            }
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.0.send_modify(|stood| {
            stood.before += stood.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_limit_counts_the_time_of_work_alone() {
        let still = Standstill::default();
        let limit = still.clone();
        let begun = Instant::now();
        let over = tokio::spawn(async move {
            limit.worked(MINUTE * 3).await;
            begun.elapsed()
        });
        tokio::time::sleep(MINUTE).await;
        let standing = still.begin();
        tokio::time::sleep(MINUTE * 10).await;
        assert_eq!(still.so_far(), MINUTE * 10);
        drop(standing);
        let took = over.await.expect("it ends");
        assert!(took >= MINUTE * 13 && took < MINUTE * 13 + Duration::from_secs(1), "{took:?}");
        assert_eq!(still.so_far(), MINUTE * 10);
    }
}
