//! Logs and differences, in pieces of bounded size that wait for their reader.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longhaul_common::git::{Git, Store};
use longhaul_common::layout::JobLayout;
use longhaul_common::log_file;
use longhaul_proto as pb;
use tonic::Status;

use super::JobsService;
use super::pieces::{Reader, ReaderGone, Taken};
use crate::hub::{AccessError, JobAccess, off_runtime};

impl JobsService {
    pub(super) async fn read_logs(&self, request: pb::LogsRequest) -> Result<Taken<pb::LogChunk>, Status> {
        let access = self.access(&request.job).await?;
        let layout = access.layout();
        let ids: Vec<u64> = if request.subtask.is_empty() {
            let layout = layout.clone();
            if request.attempt > 0 { vec![request.attempt] } else { off_runtime(move || Ok(gates(&layout))).await? }
        } else {
            let attempts = access.show(&request.subtask).await?.attempts;
            let wanted = attempts.iter().map(|attempt| attempt.attempt);
            wanted.filter(|&id| request.attempt == 0 || id == request.attempt).collect()
        };
        let named =
            move || Ok(ids.into_iter().flat_map(|id| files(&layout.logs(id)).map(move |file| (id, file))).collect());
        let files: Vec<(u64, PathBuf)> = off_runtime(named).await?;
        let (reader, taken) = Reader::new();
        tokio::spawn(async move {
            for (id, file) in files {
                give_file(&reader, id, &file).await?;
            }
            Ok::<(), ReaderGone>(())
        });
        Ok(taken)
    }

    pub(super) async fn read_diff(&self, request: pb::DiffRequest) -> Result<Taken<pb::DiffChunk>, Status> {
        let access = self.access(&request.job).await?;
        let (from, to) = if request.subtask.is_empty() {
            let status = access.status().await?;
            (status.base, status.tip)
        } else {
            ends_of(&access, &request.subtask).await?
        };
        let (reader, taken) = Reader::new();
        let (store, format) = (access.store(), if request.stat { "--stat" } else { "--patch" });
        tokio::spawn(async move {
            give_diff(&reader, Git::at(store), &["diff", "--no-ext-diff", format, &from, &to]).await
        });
        Ok(taken)
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

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter()
}

async fn give_file(reader: &Reader<pb::LogChunk>, id: u64, file: &Path) -> Result<(), ReaderGone> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let chunk = |data| pb::LogChunk { id, name: log_file::shown_name(&name).to_owned(), data };
    if log_file::is_compressed(file) {
        let path = file.to_owned();
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut content = Vec::new();
            // What a broken file gives until it breaks is shown.
            drop(log_file::open(&path).and_then(|mut log| log.read_to_end(&mut content)));
            content
        });
        return reader.give_all(&unpacked.await.unwrap_or_default()[..], chunk).await;
    }
    let Ok(log) = tokio::fs::File::open(file).await else { return Ok(()) };
    if log.metadata().await.is_ok_and(|file| file.len() == 0) {
        return reader.give(Ok(chunk(Vec::new()))).await;
    }
    reader.give_all(log, chunk).await
}

async fn give_diff(reader: &Reader<pb::DiffChunk>, git: Git, args: &[&str]) -> Result<(), ReaderGone> {
    let mut command = tokio::process::Command::from(git.command(args));
    // Nobody reads any more: git need not finish.
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return reader.give(Err(Status::internal(format!("cannot run git: {error}")))).await,
    };
    if let Some(out) = child.stdout.take() {
        reader.give_all(out, |data| pb::DiffChunk { data }).await?;
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => reader.give(Err(Status::internal(format!("git diff failed ({status})")))).await,
        Err(error) => reader.give(Err(Status::internal(error.to_string()))).await,
    }
}
