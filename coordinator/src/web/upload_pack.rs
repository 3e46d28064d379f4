//! One run of `git upload-pack --stateless-rpc`, streamed both ways.
//!
//! The process and its children end when the client leaves, when the server stops, or when they
//! take too long. What the client sends is bounded after decompression; what git sends waits for
//! the client in a short queue.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::body::{Body, Bytes};
use flate2::write::GzDecoder;
use http_body_util::BodyExt as _;
use longhaul_common::JobId;
use longhaul_common::git::Git;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::seats::Seat;

/// What a client may send for one fetch, decompressed, in bytes: 16 bytes of packet and 40 of id
/// for each of 100,000 commits it has.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;

/// How long one fetch may take.
pub const SERVE_MAX: Duration = Duration::from_secs(1_800);

/// How long git may be silent, and how long the client may leave bytes untaken.
pub const STALL_MAX: Duration = Duration::from_secs(120);

/// Bytes read from git at once, and how many such pieces wait for the client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 8;

/// How the request's body is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

/// What to answer.
pub(super) struct Question {
    pub(super) store: PathBuf,
    pub(super) job: JobId,
    pub(super) protocol: Option<String>,
    pub(super) encoding: Encoding,
}

/// A run that has its seat and is not started yet.
pub(super) struct UploadPack {
    pub(super) question: Question,
    pub(super) stop: CancellationToken,
    pub(super) seat: Seat,
}

/// Ends the process and all it started, unless it has ended by itself.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Not reaped yet, so its number is still its own; it leads a process group.
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _already_gone = kill_process_group(pid, Signal::KILL);
        }
    }
}

type Piece = Result<Bytes, std::io::Error>;

impl UploadPack {
    /// The advertisement of refs or capabilities.
    pub(super) fn refs(self) -> std::io::Result<Body> {
        let mut first = Vec::new();
        if self.question.protocol.as_deref().is_none_or(|protocol| !protocol.contains("version=2")) {
            first.push(Bytes::from_static(b"001e# service=git-upload-pack\n0000"));
        }
        let running = self.spawn(&["--stateless-rpc", "--http-backend-info-refs"], Stdio::null())?;
        Ok(self.answer(running, None, first))
    }

    /// The answer to a fetch's request.
    pub(super) fn pack(self, request: Body) -> std::io::Result<Body> {
        let running = self.spawn(&["--stateless-rpc"], Stdio::piped())?;
        Ok(self.answer(running, Some(request), Vec::new()))
    }

    fn spawn(&self, options: &[&str], input: Stdio) -> std::io::Result<Running> {
        let Question { store, job, protocol, .. } = &self.question;
        let mut git = Git::at(store);
        if let Some(protocol) = protocol {
            git = git.with_env("GIT_PROTOCOL", protocol);
        }
        let shown = format!("uploadpack.hideRefs=!refs/longhaul/{job}/");
        let settings = [
            "-c",
            "uploadpack.hideRefs=refs/",
            "-c",
            &shown,
            "-c",
            "uploadpack.allowAnySHA1InWant=true",
            // One fetch takes one core and a bounded part of the memory.
            "-c",
            "pack.threads=1",
            "-c",
            "pack.windowMemory=64m",
            "-c",
            "core.bigFileThreshold=16m",
            "upload-pack",
            "--strict",
        ];
        let mut command = Command::from(git.command(settings));
        command.args(options).arg(store).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Running)
    }

    fn answer(self, mut running: Running, request: Option<Body>, first: Vec<Bytes>) -> Body {
        let (pieces, stream) = mpsc::channel(PIECES_MAX);
        let (stdin, stdout) = (running.0.stdin.take(), running.0.stdout.take());
        let encoding = self.question.encoding;
        tokio::spawn(async move {
            let feeding = async {
                match (stdin, request) {
                    (Some(stdin), Some(request)) => feed(request, encoding, stdin).await,
                    _ => Ok(()),
                }
            };
            let telling = async {
                for piece in first {
                    send(&pieces, Ok(piece)).await?;
                }
                match stdout {
                    Some(stdout) => tell(stdout, &pieces).await,
                    None => Ok(()),
                }
            };
            let both = async { tokio::try_join!(feeding, telling) };
            let ended = tokio::select! {
                ended = tokio::time::timeout(SERVE_MAX, both) => ended.map_err(|_| stalled("the fetch took too long")),
                () = pieces.closed() => Err(stalled("the client left")),
                () = self.stop.cancelled() => Err(stalled("the server ends")),
            };
            let ended = match ended {
                Ok(Ok(_)) => match running.0.wait().await {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(std::io::Error::other(format!("git upload-pack ended with {status}"))),
                    Err(error) => Err(error),
                },
                Ok(Err(error)) | Err(error) => Err(error),
            };
            drop(running);
            if let Err(error) = ended {
                tracing::debug!(%error, "a fetch was not served to its end");
                drop(self.seat);
                // The client must not take half an answer for a whole one.
                let _client_left = send(&pieces, Err(error)).await;
            }
        });
        Body::from_stream(ReceiverStream::new(stream))
    }
}

fn stalled(words: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, words)
}

async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) -> std::io::Result<()> {
    match tokio::time::timeout(STALL_MAX, pieces.send(piece)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(stalled("the client takes nothing")),
    }
}

async fn tell(mut stdout: ChildStdout, pieces: &mpsc::Sender<Piece>) -> std::io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = tokio::time::timeout(STALL_MAX, stdout.read_buf(&mut piece)).await;
        if read.map_err(|_| stalled("git says nothing"))?? == 0 {
            return Ok(());
        }
        send(pieces, Ok(piece.into())).await?;
    }
}

async fn feed(mut request: Body, encoding: Encoding, mut stdin: ChildStdin) -> std::io::Result<()> {
    let mut sofar = 0;
    let mut decoder = GzDecoder::new(Vec::new());
    loop {
        let frame = tokio::time::timeout(STALL_MAX, request.frame()).await;
        let Some(frame) = frame.map_err(|_| stalled("the client sends nothing"))? else { break };
        let Ok(data) = frame.map_err(std::io::Error::other)?.into_data() else { continue };
        // A frame is at most the connection's window; its decompressed form is bounded by steps.
        for step in data.chunks(4 << 10) {
            let plain = match encoding {
                Encoding::Plain => step.to_vec(),
                Encoding::Gzip => {
                    decoder.write_all(step)?;
                    std::mem::take(decoder.get_mut())
                }
            };
            sofar += plain.len();
            if sofar > REQUEST_BYTES_MAX {
                return Err(std::io::Error::other("the fetch's request is over its limit"));
            }
            if stdin.write_all(&plain).await.is_err() {
                // git has heard enough, or says why by its status.
                return Ok(());
            }
        }
    }
    if encoding == Encoding::Gzip {
        let _written_or_git_left = stdin.write_all(&decoder.finish()?).await;
    }
    Ok(())
}
