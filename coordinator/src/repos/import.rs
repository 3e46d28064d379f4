//! Taking a result's thin pack in: bounded, in quarantine, checked, then moved.
//!
//! git checks every object (`--strict`: form, links, names such as `.git` and `..`) and runs under
//! limits on processor time and memory, so that a pack made to swell ends itself and is recorded
//! as the result's own failure. A machine under load does not count against a result: processor
//! time is limited, not the time on the clock.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Limits};
use rustix::process::Signal;

use super::error::{RepoError, io};
use super::lock::StoreLock;
use super::recent;

/// Largest result pack in bytes.
pub const PACK_BYTES_MAX: u64 = 512 << 20;

/// A pack of this many objects or more stays a pack (git's own limit for a fetch).
pub const UNPACK_OBJECTS_MAX: u32 = 100;

/// A pack of more bytes stays a pack.
pub const UNPACK_BYTES_MAX: u64 = 4 << 20;

/// Largest loose object in bytes: one that swells more is kept in its pack.
const LOOSE_BYTES_MAX: u64 = 16 << 20;

/// Processor time of one unpacking in seconds: 512 MiB take about 30.
const CPU_S_MAX: u64 = 300;

/// Memory of one unpacking in bytes.
const DATA_BYTES_MAX: u64 = 2 << 30;

/// '=' is in no job's name, so no job's quarantine looks like another's.
pub(super) fn quarantine_name(job: &str, id: &str) -> String {
    format!("incoming-{job}={id}")
}

/// The quarantine of a submission's history begins so: no job has an empty name.
pub(crate) const BASE_QUARANTINE: &str = "incoming-=";

/// A result as its worker reports it.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The job it belongs to.
    pub job: &'a str,
    /// The attempt or gate it is the result of.
    pub id: u64,
    /// The thin pack.
    pub pack: &'a Path,
    /// What it must contain.
    pub commit: Oid,
    /// The tree of `commit`.
    pub tree: Oid,
    /// The first parent of `commit`, which the store has.
    pub base: Oid,
}

/// Unpacks a result in quarantine, checks it, and moves its objects in. Not durable yet: the
/// caller syncs once for many.
pub fn import(store: &Path, incoming: &Incoming<'_>) -> Result<(), RepoError> {
    let bytes = std::fs::metadata(incoming.pack).map_err(io("read", incoming.pack))?.len();
    if bytes > PACK_BYTES_MAX {
        return Err(RepoError::TooLarge { bytes });
    }
    let _nothing_goes_away_meanwhile = StoreLock::shared(store)?;
    let objects = store.join("objects");
    let quarantine = objects.join(quarantine_name(incoming.job, &incoming.id.to_string()));
    if quarantine.exists() {
        std::fs::remove_dir_all(&quarantine).map_err(io("remove", &quarantine))?;
    }
    std::fs::create_dir_all(&quarantine).map_err(io("make the folder", &quarantine))?;
    let result = import_in(store, &quarantine, incoming);
    let cleaned = std::fs::remove_dir_all(&quarantine).map_err(io("remove", &quarantine));
    result.and(cleaned)
}

fn import_in(store: &Path, quarantine: &Path, incoming: &Incoming<'_>) -> Result<(), RepoError> {
    let objects = store.join("objects");
    let git = Git::at(store)
        .with_env("GIT_OBJECT_DIRECTORY", quarantine)
        .with_env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects);
    unpack(&git, incoming.pack, quarantine)?;
    let (commit, base) = (incoming.commit, incoming.base);
    // Complete down to the base, and nothing but one commit on it.
    let line = git.line(["rev-list", "--parents", "--objects", "--no-walk", &commit.to_string()])?;
    let parents = line.lines().next().unwrap_or_default();
    if parents != format!("{commit} {base}") {
        return Err(RepoError::Foreign { commit, problem: format!("is not one commit on its base {base}") });
    }
    git.run(["rev-list", "--objects", "--quiet", &commit.to_string(), &format!("^{base}")])?;
    let found = git.oid(["rev-parse", &format!("{commit}^{{tree}}")])?;
    if found != incoming.tree {
        return Err(RepoError::Foreign { commit, problem: format!("has the tree {found}, not {}", incoming.tree) });
    }
    recent::note(store, commit)?;
    move_objects(quarantine, &objects)?;
    move_packs(&quarantine.join("pack"), &objects.join("pack"))
}

/// Few objects become loose ones; many stay a pack, which costs one file instead of thousands.
fn unpack(git: &Git, pack: &Path, quarantine: &Path) -> Result<(), RepoError> {
    let size = std::fs::metadata(pack).map_err(io("read", pack))?.len();
    if size <= UNPACK_BYTES_MAX && objects_in(pack)? < UNPACK_OBJECTS_MAX {
        let limits = Limits { cpu_s: CPU_S_MAX, data_bytes: DATA_BYTES_MAX, file_bytes: Some(LOOSE_BYTES_MAX) };
        let unpacked = git.run_limited(args(&["unpack-objects", "-q", "--strict"]), open(pack)?, &limits);
        match unpacked {
            // One object swells to something that is better kept packed.
            Err(GitError::Failed { status, .. }) if status.signal() == Some(Signal::XFSZ.as_raw()) => {
                // What it had written is not to be moved in.
                std::fs::remove_dir_all(quarantine).map_err(io("remove", quarantine))?;
                std::fs::create_dir_all(quarantine).map_err(io("make the folder", quarantine))?;
            }
            other => return other.map_err(RepoError::from),
        }
    }
    let limits = Limits { cpu_s: CPU_S_MAX, data_bytes: DATA_BYTES_MAX, file_bytes: None };
    Ok(git.run_limited(args(&["index-pack", "--stdin", "--fix-thin", "--strict"]), open(pack)?, &limits)?)
}

/// A command with the settings that bound its memory: large blobs are streamed, one thread works,
/// and the store's packs are looked at through small windows.
fn args(command: &[&str]) -> Vec<String> {
    let settings = ["core.bigFileThreshold=16m", "pack.threads=1", "core.packedGitWindowSize=32m", "core.fsync=none"];
    let mut args: Vec<String> = settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
    args.extend(command.iter().map(|&arg| arg.to_owned()));
    args.push(format!("--max-input-size={PACK_BYTES_MAX}"));
    args
}

fn open(pack: &Path) -> Result<File, RepoError> {
    File::open(pack).map_err(io("read", pack))
}

/// The number of objects a pack's header names; git checks that it is true.
fn objects_in(pack: &Path) -> Result<u32, RepoError> {
    let mut header = [0; 12];
    match open(pack)?.read_exact(&mut header) {
        Ok(()) => Ok(u32::from_be_bytes([header[8], header[9], header[10], header[11]])),
        // git says what is wrong with it.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(io("read", pack)(error)),
    }
}

/// The index last: a pack without one is not seen by anybody.
fn move_packs(from: &Path, to: &Path) -> Result<(), RepoError> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    std::fs::create_dir_all(to).map_err(io("make the folder", to))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| path.extension().is_some_and(|end| end == "idx"));
    for file in files {
        let Some(name) = file.file_name() else { continue };
        // A `.keep` is index-pack's note to a fetch that is still running; there is none.
        if name.as_encoded_bytes().starts_with(b"pack-") && !name.as_encoded_bytes().ends_with(b".keep") {
            std::fs::rename(&file, to.join(name)).map_err(io("move in", &file))?;
        }
    }
    Ok(())
}

fn move_objects(from: &Path, to: &Path) -> Result<(), RepoError> {
    for fan in std::fs::read_dir(from).map_err(io("read the folder", from))? {
        let fan = fan.map_err(io("read the folder", from))?.path();
        let Some(name) = fan.file_name().filter(|name| name.len() == 2) else { continue };
        let target = to.join(name);
        std::fs::create_dir_all(&target).map_err(io("make the folder", &target))?;
        for object in std::fs::read_dir(&fan).map_err(io("read the folder", &fan))? {
            let object = object.map_err(io("read the folder", &fan))?.path();
            let Some(name) = object.file_name() else { continue };
            std::fs::rename(&object, target.join(name)).map_err(io("move in", &object))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_job_s_leftovers_look_like_a_submission_s() {
        for job in ["base", "a", "incoming"] {
            assert!(!BASE_QUARANTINE.starts_with(&quarantine_name(job, "")), "{job}");
            assert!(!quarantine_name(job, "7").starts_with(BASE_QUARANTINE), "{job}");
        }
        assert!("".parse::<longhaul_common::JobId>().is_err(), "a submission's is that of no job");
    }
}
