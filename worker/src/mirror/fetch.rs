//! Fetching commits by id, as often as the network needs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError};
use longhaul_common::server::ServerAccess;
use tokio_util::sync::CancellationToken;

use super::mirrors::MirrorError;
use super::shimmed;
use crate::backoff::Backoff;
use crate::process::{ProcessEnd, ProcessSpec, Secrets, run};

/// Fetches of one assignment at most.
const TRIES_MAX: u32 = 6;

/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Longest time without a byte or a line of progress.
const SILENT_MAX: Duration = Duration::from_secs(120);

/// Words by which git says that the other side went away in the middle. They outweigh those of
/// damage: what came in until then is a damaged pack.
const CUT: &[&str] = &["early EOF", "unexpected disconnect", "hung up", "RPC failed", "expected 'packfile'"];

/// Words by which git says that its own repository is damaged, and not the network.
const DAMAGED: &[&str] = &[
    "is corrupt",
    "object file",
    "bad object",
    "missing blob",
    "missing tree",
    "unable to read",
    "unable to parse",
    "not a GIT packfile",
    "too short to be a packfile",
    "does not match index",
    "index file",
    "differ in contents",
    "not a git repository",
    "bad config",
    "remote did not send all necessary objects",
    "invalid sha1 pointer",
];

/// One fetch.
pub(super) struct Fetch<'a> {
    pub path: PathBuf,
    pub url: &'a str,
    pub server: &'a ServerAccess,
    pub shim: &'a [OsString],
    pub secrets: Secrets,
    pub job: &'a str,
    pub commits: &'a [Oid],
}

/// The ref that keeps a commit and says that everything below it is there.
pub(super) fn reference(job: &str, oid: Oid) -> String {
    format!("refs/longhaul/{job}/{oid}")
}

/// Fetches until it is there, refused for good, or tried too often.
pub(super) async fn fetch(wanted: &Fetch<'_>, cancel: &CancellationToken) -> Result<(), MirrorError> {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut tries = 0;
    loop {
        let cause = match once(wanted, cancel).await? {
            None => return Ok(()),
            Some(cause) => cause,
        };
        tries += 1;
        if tries == TRIES_MAX {
            return Err(MirrorError::Fetch { url: wanted.url.to_owned(), tries, cause });
        }
        tracing::warn!(url = wanted.url, tries, cause, "fetch failed; trying again");
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            () = cancel.cancelled() => return Err(MirrorError::Cancelled),
        }
    }
}

/// One try; why it has to be repeated, if it has to.
async fn once(wanted: &Fetch<'_>, cancel: &CancellationToken) -> Result<Option<String>, MirrorError> {
    let log = wanted.path.join("fetch.log");
    let outcome = run(wanted.shim, spec(wanted, log.clone()), cancel).await;
    let outcome = outcome.map_err(|error| MirrorError::Fetch {
        url: wanted.url.to_owned(),
        tries: 1,
        cause: error.to_string(),
    })?;
    let said = outcome.log.tail.trim().to_owned();
    if outcome.log.disk_full || longhaul_common::room::says_out_of_room(&said) {
        return Err(MirrorError::DiskFull { cause: format!("git fetch: {said}") });
    }
    match outcome.end {
        ProcessEnd::Exited(0) => Ok(None),
        ProcessEnd::Cancelled => Err(MirrorError::Cancelled),
        ProcessEnd::Exited(_) if is_damage(&said) => Err(MirrorError::Git(GitError::Output {
            args: "fetch".to_owned(),
            output: said,
            expected: "a whole mirror",
        })),
        ProcessEnd::Silent(limit) => Ok(Some(format!("no progress for {limit:?}: {said}"))),
        end => Ok(Some(format!("{end:?}: {said}"))),
    }
}

/// Whether git blames its own repository. What is neither is taken for the network's doing.
fn is_damage(said: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    says(DAMAGED) && !says(CUT)
}

/// Git through the shim: it ends with the worker, is bounded by progress, and its token is in its
/// environment only.
fn spec(wanted: &Fetch<'_>, log: PathBuf) -> ProcessSpec {
    let mut git = Git::at(&wanted.path);
    for (key, value) in wanted.server.git_env() {
        git = git.with_env(key, value);
    }
    let settings = ["protocol.version=2", "fetch.unpackLimit=1", "http.lowSpeedLimit=1", "http.lowSpeedTime=60"];
    let mut args: Vec<String> = settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
    let fetch = ["fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];
    args.extend(fetch.into_iter().chain(["--progress", "--force"]).map(str::to_owned));
    args.extend(["--".to_owned(), wanted.url.to_owned()]);
    args.extend(wanted.commits.iter().map(|oid| format!("{oid}:{}", reference(wanted.job, *oid))));
    let spec = shimmed::spec(&git, &args, log, wanted.secrets.clone());
    ProcessSpec { idle_timeout: Some(SILENT_MAX), ..spec }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_connection_is_no_damage() {
        for cut in [
            "error: RPC failed; curl 18 transfer closed with outstanding read data remaining\n\
             fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\n\
             fatal: fetch-pack: invalid index-pack output",
            "fatal: the remote end hung up unexpectedly\nfatal: pack is corrupted (SHA1 mismatch)",
            "fatal: expected 'packfile' to be sent after 'ready'",
            "fatal: fetch-pack: invalid index-pack output",
        ] {
            assert!(!is_damage(cut), "{cut}");
        }
        for damage in [
            "error: object file ./objects/ab/cd is empty\nfatal: loose object abcd is corrupt",
            "error: file ./objects/pack/pack-1.pack is not a GIT packfile",
            "fatal: not a git repository: '/m.git'",
        ] {
            assert!(is_damage(damage), "{damage}");
        }
    }
}
