//! One direction of one connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::frames::Frames;
use super::mischief::Trick;
use super::{Control, Settings, Way};
use crate::random::Random;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;

/// A message that is held back with nothing behind it arrives after this.
const HELD_MAX: Duration = Duration::from_millis(50);

/// Where bytes come from and go to.
pub(crate) struct Pump {
    pub from: OwnedReadHalf,
    pub to: OwnedWriteHalf,
    pub way: Way,
    pub number: u64,
    pub control: Arc<Control>,
}

impl Pump {
    /// Runs until one side ends.
    pub(crate) async fn run(mut self) {
        let seed = self.control.settings.borrow().seed;
        let stream = self.number * 2 + u64::from(self.way == Way::Down);
        let mut random = Random::stream(seed, stream);
        let (mut frames, mut trick) = (Frames::default(), Trick::default());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = tokio::select! {
                read = self.from.read(&mut piece) => read.unwrap_or(0),
                () = tokio::time::sleep(HELD_MAX), if trick.holds() => {
                    for bytes in trick.release() {
                        if self.pass(bytes, &mut random).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
            };
            if read == 0 {
                let _gone_as_well = self.to.shutdown().await;
                return;
            }
            // Always cut into frames, so that mischief can begin at any time, between two.
            frames.push(&piece[..read]);
            while let Some(frame) = frames.next_frame() {
                let mischief = self.control.settings.borrow().mischief.unwrap_or_default();
                let (passes, done) = trick.play(frame, mischief, &mut random);
                if let Some(done) = done {
                    self.control.note(format!("connection {} {:?}: {done}", self.number, self.way));
                }
                for bytes in passes {
                    if self.pass(bytes, &mut random).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Writes, after what the settings make it wait for.
    async fn pass(&mut self, bytes: Bytes, random: &mut Random) -> std::io::Result<()> {
        let mut settings = self.control.settings.subscribe();
        let way = self.way;
        // The sender lives in the control this pump holds, so the wait cannot fail.
        let now: Settings =
            settings.wait_for(|settings| !settings.is_cut(way)).await.map(|now| now.clone()).unwrap_or_default();
        let jitter = random.below(u64::try_from(now.jitter.as_micros()).unwrap_or(u64::MAX));
        let limited = now.bandwidth.map(|limit| Duration::from_secs_f64(bytes.len() as f64 / limit.max(1) as f64));
        let wait = now.delay + Duration::from_micros(jitter) + limited.unwrap_or_default();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.to.write_all(&bytes).await
    }
}
