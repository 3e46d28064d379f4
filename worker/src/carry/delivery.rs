//! The delivery of a sealed result, until it is acknowledged.

use super::{PAUSE_FIRST, PAUSE_MAX, REFUSED_PAUSE};
use crate::backoff::Backoff;
use crate::config::SinkError;
use crate::inbox::Carried;
use crate::session::desk::Key;
use crate::worker::Worker;

/// What became of one delivery.
enum Delivered {
    Acknowledged,
    /// Tried again after the usual pause.
    Later,
    /// Tried again much later: somebody has to do something.
    MuchLater,
}

impl Worker {
    /// Waits a growing pause; false when the worker ends first.
    pub(super) async fn wait(&self, pause: &mut Backoff) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause.pause()) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Delivers an entry until it is acknowledged; false when the worker ends first.
    pub async fn deliver(&self, key: &Key, carried: &Carried) -> bool {
        let mut pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            let done = tokio::select! {
                done = self.deliver_once(key) => done,
                () = self.stop.cancelled() => return false,
            };
            match done {
                Delivered::Acknowledged => return true,
                Delivered::Later => pause.limit(PAUSE_MAX),
                Delivered::MuchLater => pause = Backoff::new(REFUSED_PAUSE, REFUSED_PAUSE),
            }
            let goes_on = tokio::select! {
                waited = self.wait(&mut pause) => waited,
                () = carried.again.notified() => {
                    // Somebody is there again, perhaps not yet for results: short pauses at first.
                    pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
                    true
                }
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Delivers an entry once; when it is acknowledged, it is gone.
    async fn deliver_once(&self, key: &Key) -> Delivered {
        let (outbox, of) = (self.outbox.clone(), key.clone());
        let read = tokio::task::spawn_blocking(move || outbox.read(of.job.as_str(), of.id)).await;
        let id = key.id;
        let delivery = match read {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(error)) => {
                tracing::error!(job = %key.job, id, %error, "an outbox entry cannot be read");
                return Delivered::MuchLater;
            }
            Err(_) => return Delivered::Later,
        };
        match self.sink.deliver(delivery).await {
            Ok(ack) => tracing::debug!(job = %key.job, id, disposition = ack.disposition, "result acknowledged"),
            Err(error @ SinkError::Refused(_)) => {
                tracing::error!(job = %key.job, id, %error, "a result is kept here: it was refused");
                return Delivered::MuchLater;
            }
            Err(error) => {
                tracing::warn!(job = %key.job, id, %error, "result not delivered; trying again");
                return Delivered::Later;
            }
        }
        let (outbox, of) = (self.outbox.clone(), key.clone());
        let removed = tokio::task::spawn_blocking(move || outbox.remove(of.job.as_str(), of.id)).await;
        if let Ok(Err(error)) = removed {
            // It will be delivered once more, which changes nothing.
            tracing::warn!(job = %key.job, id, %error, "an acknowledged entry cannot be removed");
        }
        Delivered::Acknowledged
    }
}
