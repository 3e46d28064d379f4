//! A job's events from a server, without a gap and without an end before the job's own: a broken
//! connection is made again from the last number seen. What is asked at the end waits as long.

use std::time::Duration;

use longhaul_proto::{WatchEvent, WatchRequest};
use tokio::sync::mpsc;

use crate::client::{Client, words};

/// First wait before a connection is tried again; doubled up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// Longest wait before a connection is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Events read ahead of the screen.
const AHEAD_MAX: usize = 256;

/// What a follower hears.
#[derive(Debug)]
pub enum Heard {
    /// A durable event.
    Event(Box<WatchEvent>),
    /// The connection broke; it is made again by itself.
    Lost {
        /// Why, in words.
        cause: String,
        /// The wait before the next try.
        again_in: Duration,
    },
    /// The connection is there again.
    Back,
    /// The job is over, and everything was told.
    Over,
    /// Asking again does not help.
    Failed(anyhow::Error),
}

/// Follows a job from behind `after_seq` until it closes. Ends with what it returns.
pub fn follow(client: &Client, after_seq: u64) -> mpsc::Receiver<Heard> {
    let (sender, heard) = mpsc::channel(AHEAD_MAX);
    let follower = Follower { client: client.clone(), seen: after_seq, lost: false, pause: PAUSE_FIRST, sender };
    tokio::spawn(follower.run());
    heard
}

struct Follower {
    client: Client,
    seen: u64,
    lost: bool,
    pause: Duration,
    sender: mpsc::Sender<Heard>,
}

/// The listener is gone.
struct Alone;

impl Follower {
    async fn run(mut self) {
        loop {
            let failed = match self.once().await {
                Ok(Ok(true)) => {
                    drop(self.sender.send(Heard::Over).await);
                    return;
                }
                // The server ended the stream of an open job: it is going down.
                Ok(Ok(false)) => tonic::Status::unavailable("the server ended the connection"),
                Ok(Err(status)) => status,
                Err(Alone) => return,
            };
            if !words::passes(&failed) {
                drop(self.sender.send(Heard::Failed(self.client.said(failed))).await);
                return;
            }
            if self.wait(&failed).await.is_err() {
                return;
            }
        }
    }

    /// One connection to its end; whether the job is over.
    async fn once(&mut self) -> Result<Result<bool, tonic::Status>, Alone> {
        let Some(mut rpc) = self.client.rpc() else { return Ok(Ok(true)) };
        let request = WatchRequest { job: self.client.job().to_string(), after_seq: self.seen };
        let mut stream = match rpc.watch(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        if std::mem::take(&mut self.lost) {
            self.tell(Heard::Back).await?;
        }
        loop {
            match stream.message().await {
                Ok(Some(event)) => {
                    self.pause = PAUSE_FIRST;
                    // The same event again after a reconnect is told once.
                    if event.seq > self.seen {
                        self.seen = event.seq;
                        self.tell(Heard::Event(Box::new(event))).await?;
                    }
                }
                Ok(None) => break,
                Err(status) => return Ok(Err(status)),
            }
        }
        let request = longhaul_proto::GetRequest { job: self.client.job().to_string() };
        Ok(rpc.get(request).await.map(|status| is_closed(&status.into_inner().phase)))
    }

    async fn wait(&mut self, failed: &tonic::Status) -> Result<(), Alone> {
        if !std::mem::replace(&mut self.lost, true) {
            let cause = failed.message().to_owned();
            self.tell(Heard::Lost { cause, again_in: self.pause }).await?;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.sender.closed() => Err(Alone),
        }
    }

    async fn tell(&self, heard: Heard) -> Result<(), Alone> {
        self.sender.send(heard).await.map_err(|_| Alone)
    }
}

/// Asks again, as long as that may help, with the pauses of a broken connection; `lost` is told the
/// first cause. A person who does not want to wait drops it.
pub async fn patiently<T>(
    mut ask: impl AsyncFnMut() -> Result<T, tonic::Status>,
    lost: impl FnOnce(&str),
) -> Result<T, tonic::Status> {
    let (mut pause, mut lost) = (PAUSE_FIRST, Some(lost));
    loop {
        match ask().await {
            Err(status) if words::passes(&status) => {
                if let Some(lost) = lost.take() {
                    lost(status.message());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}

/// Whether a job in this phase has ended.
pub fn is_closed(phase: &str) -> bool {
    matches!(phase, "done" | "partial" | "failed" | "cancelled")
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_at_the_end_outlasts_a_broken_connection_and_not_a_refusal() {
        let (mut asked, mut told) = (0, Vec::new());
        let begun = tokio::time::Instant::now();
        let hiccup = async || {
            asked += 1;
            if asked < 4 { Err(Status::unavailable("connection reset")) } else { Ok(asked) }
        };
        let answer = patiently(hiccup, |cause| told.push(cause.to_owned())).await;
        assert_eq!((answer.expect("it is asked again"), told), (4, vec!["connection reset".to_owned()]));
        assert_eq!(begun.elapsed().as_millis() / 10, (PAUSE_FIRST * 7).as_millis() / 10, "one pause, two and four");
        let mut asked = 0;
        let refuse = async || {
            asked += 1;
            Err::<(), _>(Status::not_found("no such job"))
        };
        let refused = patiently(refuse, |_| {}).await.expect_err("asking again does not help");
        assert_eq!((refused.code(), asked), (Code::NotFound, 1));
    }
}
