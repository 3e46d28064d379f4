//! Logs and differences, in pieces of bounded size that wait for their reader.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longhaul_common::git::{Git, Store};
use longhaul_common::layout::JobLayout;
use longhaul_proto as pb;
use tokio::sync::mpsc;
use tonic::Status;

use super::JobsService;
use crate::hub::{AccessError, JobAccess, off_runtime};

/// One piece, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Pieces read ahead of a reader.
const CHUNKS_AHEAD: usize = 8;

type Chunks<T> = mpsc::Receiver<Result<T, Status>>;

impl JobsService {
    pub(super) async fn read_logs(&self, request: pb::LogsRequest) -> Result<Chunks<pb::LogChunk>, Status> {
        let access = self.access(&request.job).await?;
        let layout = access.layout();
        let ids: Vec<u64> = if request.subtask.is_empty() {
            if request.attempt > 0 { vec![request.attempt] } else { gates(&layout) }
        } else {
            let attempts = access.show(&request.subtask).await?.attempts;
            let wanted = attempts.iter().map(|attempt| attempt.attempt);
            wanted.filter(|&id| request.attempt == 0 || id == request.attempt).collect()
        };
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            for id in ids {
                for file in files(&layout.logs(id)) {
                    if !send_file(&chunks, id, &file) {
                        return;
                    }
                }
            }
        });
        Ok(stream)
    }

    pub(super) async fn read_diff(&self, request: pb::DiffRequest) -> Result<Chunks<pb::DiffChunk>, Status> {
        let access = self.access(&request.job).await?;
        let (from, to) = if request.subtask.is_empty() {
            let status = access.status().await?;
            (status.base, status.tip)
        } else {
            ends_of(&access, &request.subtask).await?
        };
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        let (store, format) = (access.store(), if request.stat { "--stat" } else { "--patch" });
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send_diff(&chunks, Git::at(store), &["diff", "--no-ext-diff", format, &from, &to]) {
                drop(chunks.blocking_send(Err(Status::internal(error))));
            }
        });
        Ok(stream)
    }
}

/// The result of a subtask and what it was made on.
async fn ends_of(access: &JobAccess, subtask: &str) -> Result<(String, String), Status> {
    let row = access.show(subtask).await?.row.unwrap_or_default();
    if row.commit.is_empty() {
        let text = format!("{} has no result: it is {} {}", row.id, row.state, row.reason);
        return Err(Status::failed_precondition(text));
    }
    let (store, commit) = (access.store(), row.commit.clone());
    let parents = off_runtime(move || {
        let oid =
            commit.parse().map_err(|error: longhaul_common::id::BadOid| AccessError::Refused(error.to_string()))?;
        Ok(Store::open_own(&store)?.parents_of(oid)?)
    });
    match parents.await?.first() {
        Some(parent) => Ok((parent.to_string(), row.commit)),
        None => Err(Status::failed_precondition("the result has no base")),
    }
}

/// Everything that holds a gate's log, oldest first.
fn gates(layout: &JobLayout) -> Vec<u64> {
    let folders = std::fs::read_dir(layout.root().join("logs")).into_iter().flatten().flatten();
    let mut ids: Vec<u64> = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok()).collect();
    ids.retain(|&id| layout.gate_log(id).is_some());
    ids.sort_unstable();
    ids
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// `false` when nobody reads any more.
fn send_file(chunks: &mpsc::Sender<Result<pb::LogChunk, Status>>, id: u64, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let chunk = |data| pb::LogChunk { id, name: name.clone(), data };
    let Ok(log) = std::fs::File::open(file) else { return true };
    let empty = log.metadata().is_ok_and(|file| file.len() == 0);
    if empty {
        return chunks.blocking_send(Ok(chunk(Vec::new()))).is_ok();
    }
    match send_pieces(log, |data| chunks.blocking_send(Ok(chunk(data))).is_ok()) {
        Ok(goes_on) => goes_on,
        Err(error) => chunks.blocking_send(Err(Status::internal(format!("{}: {error}", file.display())))).is_ok(),
    }
}

/// Reads to the end in pieces; `false` when `take` wants no more.
fn send_pieces(mut from: impl Read, mut take: impl FnMut(Vec<u8>) -> bool) -> std::io::Result<bool> {
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        if from.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut data)? == 0 {
            return Ok(true);
        }
        if !take(data) {
            return Ok(false);
        }
    }
}

fn send_diff(chunks: &mpsc::Sender<Result<pb::DiffChunk, Status>>, git: Git, args: &[&str]) -> Result<(), String> {
    let mut command = git.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot run git: {error}"))?;
    let read = match child.stdout.take() {
        Some(out) => send_pieces(out, |data| chunks.blocking_send(Ok(pb::DiffChunk { data })).is_ok()),
        None => Ok(true),
    };
    if !matches!(read, Ok(true)) {
        // Nobody reads any more: git need not finish. It may have by itself.
        let _ended_before = child.kill();
        let _ended_after = child.wait();
        return read.map(|_| ()).map_err(|error| error.to_string());
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("git diff failed ({status})")) }
}
