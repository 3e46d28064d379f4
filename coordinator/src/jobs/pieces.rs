//! Bytes on their way to a reader on the network, who may be slow or gone: no thread waits for him.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tonic::Status;

/// One piece, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces read ahead of a reader.
const PIECES_AHEAD: usize = 8;

/// How long a reader may leave a piece untaken before what is read for him is closed.
pub(super) const UNTAKEN_MAX: Duration = Duration::from_secs(120);

/// What a reader takes from.
pub(super) type Taken<T> = mpsc::Receiver<Result<T, Status>>;

/// The reader has left, or takes nothing any more.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct ReaderGone;

/// Where pieces for one reader go.
pub(super) struct Reader<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Reader<T> {
    /// A reader and what it takes from.
    pub fn new() -> (Self, Taken<T>) {
        let (sender, taken) = mpsc::channel(PIECES_AHEAD);
        (Self(sender), taken)
    }

    /// Waits until there is room, for as long as a reader may stall.
    pub async fn give(&self, piece: Result<T, Status>) -> Result<(), ReaderGone> {
        match tokio::time::timeout(UNTAKEN_MAX, self.0.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ReaderGone),
            Err(_) => {
                tracing::info!("a reader took nothing for {} s: it is left", UNTAKEN_MAX.as_secs());
                Err(ReaderGone)
            }
        }
    }

    /// Gives everything there is to read; an error of reading is told to the reader.
    pub async fn give_all(
        &self,
        mut from: impl AsyncRead + Unpin,
        wrap: impl Fn(Vec<u8>) -> T,
    ) -> Result<(), ReaderGone> {
        loop {
            let mut data = Vec::with_capacity(PIECE_BYTES);
            let read = loop {
                match from.read_buf(&mut data).await {
                    Ok(0) => break Ok(()),
                    Ok(_) if data.len() < PIECE_BYTES => {}
                    Ok(_) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if let Err(error) = read {
                return self.give(Err(Status::internal(error.to_string()))).await;
            }
            if data.is_empty() {
                return Ok(());
            }
            self.give(Ok(wrap(data))).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_left_and_one_that_is_slow_is_not() {
        let endless = || tokio::io::repeat(7).take(64 << 20);
        let (reader, stalled) = Reader::new();
        assert_eq!(reader.give_all(endless(), |data| data.len()).await, Err(ReaderGone));
        drop(stalled);
        let (reader, mut slow) = Reader::new();
        let given = tokio::spawn(async move { reader.give_all(endless().take(2 << 20), |data| data.len()).await });
        let mut bytes = 0;
        while let Some(piece) = slow.recv().await {
            bytes += piece.expect("nothing fails");
            tokio::time::sleep(UNTAKEN_MAX / 2).await;
        }
        assert_eq!((bytes, given.await.expect("no panic")), (2 << 20, Ok(())));
    }
}
