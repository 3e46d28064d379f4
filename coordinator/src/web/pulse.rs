//! Whether anything still goes on over a connection, so that idle ones do not fill the server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may be open before a request comes that is let in.
pub const FIRST_REQUEST_MAX: Duration = Duration::from_secs(15);

/// How long a connection stays open with no request under way.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// The requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Beat>>);

#[derive(Debug)]
struct Beat {
    open: usize,
    quiet_since: Instant,
    let_in: bool,
}

/// A request under way, until its answer's last byte.
#[derive(Debug)]
pub(super) struct Open(Pulse);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat { open: 0, quiet_since: Instant::now(), let_in: false })))
    }

    /// A request begins.
    pub(super) fn open(&self) -> Open {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
        Open(self.clone())
    }

    /// One was let in: this is no stranger.
    pub(super) fn let_in(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).let_in = true;
    }

    /// Returns when the connection has been quiet for too long.
    pub(super) async fn quiet(self) {
        loop {
            let wake = {
                let beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let limit = if beat.let_in { IDLE_MAX } else { FIRST_REQUEST_MAX };
                match beat.open {
                    0 => beat.quiet_since + limit,
                    _ => Instant::now() + limit,
                }
            };
            if wake <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(wake).await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut beat = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.open -= 1;
        // Requests that were refused do not keep a stranger's connection open.
        if beat.let_in {
            beat.quiet_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn strangers_are_cut_sooner_and_a_request_keeps_the_connection() {
        let begin = Instant::now();
        let stranger = Pulse::new();
        drop(stranger.open());
        stranger.quiet().await;
        assert_eq!(begin.elapsed(), FIRST_REQUEST_MAX);

        let known = Pulse::new();
        known.let_in();
        let request = known.open();
        let quiet = tokio::spawn(known.quiet());
        tokio::time::sleep(IDLE_MAX * 3).await;
        assert!(!quiet.is_finished());
        let ended = Instant::now();
        drop(request);
        quiet.await.expect("no panic");
        assert!(ended.elapsed() >= IDLE_MAX && ended.elapsed() < IDLE_MAX * 3);
    }
}
