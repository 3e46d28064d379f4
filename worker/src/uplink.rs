//! Results over gRPC: `Results.Deliver`, one stream a result.
//!
//! The report goes first, then pack and logs in pieces, then the end with a hash of the pack.
//! There is no limit on the whole, for a pack may be large and a link slow; without progress for a
//! while the stream is given up and the result is tried again. What the coordinator says decides
//! whether that is soon (it is away, or has not heard of the assignment yet) or much later (it does
//! not take it from this worker).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use longhaul_common::server::{Connection, ServerAccess, ServerError};
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::{Ack, LogPart, ResultEnd, ResultPart, result_part};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::config::{Delivery, ResultSink, SinkError};

/// Largest piece of a pack or log.
const PART_BYTES: usize = 1 << 20;

/// Pieces that are read ahead of the network.
const AHEAD_MAX: usize = 2;

/// Longest time without a piece taken by the network.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Longest time from the last piece to the answer: the pack is checked and made durable.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// Hands results to a coordinator's server.
#[derive(Clone, Debug)]
pub struct GrpcSink {
    client: ResultsClient<Connection>,
}

impl GrpcSink {
    /// To a server; nothing is sent before the first result.
    pub fn new(server: &ServerAccess) -> Result<Self, ServerError> {
        Ok(Self { client: ResultsClient::new(server.connect()?) })
    }
}

impl ResultSink for GrpcSink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<Ack, SinkError>> {
        Box::pin(send(self.client.clone(), delivery))
    }
}

/// How far the sending is: pieces given to the network, and whether the last was.
#[derive(Default)]
struct Sent {
    parts: AtomicU64,
    ended: std::sync::atomic::AtomicBool,
}

async fn send(mut client: ResultsClient<Connection>, delivery: Delivery) -> Result<Ack, SinkError> {
    let (parts, stream) = mpsc::channel(AHEAD_MAX);
    let sent = Arc::new(Sent::default());
    let progress = Arc::clone(&sent);
    let feeding = async move {
        let fed = feed(&parts, delivery, &progress).await;
        // The end of the stream: the server answers now.
        drop(parts);
        fed
    };
    let call = client.deliver(ReceiverStream::new(stream));
    tokio::pin!(call, feeding);
    let mut fed = false;
    let stalled = stalled(&sent);
    tokio::pin!(stalled);
    loop {
        tokio::select! {
            // An answer before the end of the stream is a refusal.
            answer = &mut call => return answer.map(tonic::Response::into_inner).map_err(|status| of_status(&status)),
            done = &mut feeding, if !fed => {
                done?;
                fed = true;
            }
            waited = &mut stalled => return Err(SinkError::Unavailable(format!("no progress for {} s", waited.as_secs()))),
        }
    }
}

/// Ends when nothing moved for too long.
async fn stalled(sent: &Sent) -> Duration {
    loop {
        let before = sent.parts.load(Ordering::Relaxed);
        let limit = if sent.ended.load(Ordering::Relaxed) { ANSWER_MAX } else { STALLED_MAX };
        tokio::time::sleep(limit).await;
        let ended_meanwhile = limit == STALLED_MAX && sent.ended.load(Ordering::Relaxed);
        if sent.parts.load(Ordering::Relaxed) == before && !ended_meanwhile {
            return limit;
        }
    }
}

async fn feed(to: &mpsc::Sender<ResultPart>, delivery: Delivery, sent: &Sent) -> Result<(), SinkError> {
    let Delivery { report, pack, logs } = delivery;
    let out = Out { to, sent };
    out.part(result_part::Part::Report(report)).await;
    let mut end = ResultEnd::default();
    if let Some(pack) = pack {
        let mut hasher = blake3::Hasher::new();
        end.pack_bytes = out
            .file(&pack, |data| {
                hasher.update(&data);
                result_part::Part::Pack(data)
            })
            .await?;
        end.pack_hash = hasher.finalize().as_bytes().to_vec();
    }
    for (name, path) in logs {
        out.file(&path, |data| result_part::Part::Log(LogPart { name: name.clone(), data })).await?;
    }
    out.part(result_part::Part::End(end)).await;
    sent.ended.store(true, Ordering::Relaxed);
    Ok(())
}

struct Out<'a> {
    to: &'a mpsc::Sender<ResultPart>,
    sent: &'a Sent,
}

impl Out<'_> {
    /// Nobody takes it once the server has answered; then the answer says why.
    async fn part(&self, part: result_part::Part) {
        let _unheard = self.to.send(ResultPart { part: Some(part) }).await;
        self.sent.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// A file in pieces; an empty one is one empty piece. Gives its bytes.
    async fn file(&self, path: &Path, mut part: impl FnMut(Vec<u8>) -> result_part::Part) -> Result<u64, SinkError> {
        let broken = |source: std::io::Error| SinkError::NotKept(format!("cannot read {}: {source}", path.display()));
        let mut file = tokio::fs::File::open(path).await.map_err(broken)?;
        let mut bytes = 0;
        loop {
            let mut data = Vec::with_capacity(PART_BYTES);
            (&mut file).take(PART_BYTES as u64).read_to_end(&mut data).await.map_err(broken)?;
            if data.is_empty() && bytes > 0 {
                return Ok(bytes);
            }
            let last = data.len() < PART_BYTES;
            bytes += data.len() as u64;
            self.part(part(data)).await;
            if last {
                return Ok(bytes);
            }
        }
    }
}

/// What the coordinator's word means for the result, which is kept in any case.
fn of_status(status: &Status) -> SinkError {
    let words = format!("{}: {}", status.code().description(), status.message());
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => SinkError::Refused(words),
        Code::DataLoss | Code::ResourceExhausted | Code::FailedPrecondition | Code::Internal => {
            SinkError::NotKept(words)
        }
        _ => SinkError::Unavailable(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_waits_long() {
        for (code, refused) in [
            (Code::NotFound, false),
            (Code::Unavailable, false),
            (Code::Unknown, false),
            (Code::PermissionDenied, true),
            (Code::Unauthenticated, true),
        ] {
            assert_eq!(matches!(of_status(&Status::new(code, "x")), SinkError::Refused(_)), refused, "{code:?}");
        }
    }
}
