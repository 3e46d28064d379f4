//! The packs of a store: which there are, what is in them, and taking one's place.
//!
//! A pack goes only when what replaces it is durable and was seen to hold all of it that stays,
//! and when the multi-pack index names it no more. Killed at any point, the worst that is left is
//! something twice.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, sync_objects};

use super::error::{RepoError, io};
use super::lock::StoreLock;

/// Age at which a half-written pack has lost its writer.
const ORPHAN_AGE: Duration = Duration::from_secs(3_600);

/// Where the ids of a version 2 index begin: a header of 8 bytes and 256 counts of 4.
const IDS_AT: u64 = 8 + 256 * 4;

/// One pack with its index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pack {
    /// Objects in it.
    pub(super) objects: u64,
    /// Its path without the ending.
    pub(super) stem: PathBuf,
}

impl Pack {
    fn file(&self, end: &str) -> PathBuf {
        self.stem.with_extension(end)
    }

    /// The name of its pack or index file.
    pub(super) fn name(&self, end: &str) -> String {
        self.file(end).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Every id in it, in order.
    pub(super) fn ids(&self) -> Result<impl Iterator<Item = Oid> + use<>, RepoError> {
        let path = self.file("idx");
        let mut file = File::open(&path).map_err(io("read", &path))?;
        file.seek(SeekFrom::Start(IDS_AT)).map_err(io("read", &path))?;
        let mut ids = BufReader::new(file.take(self.objects * 20));
        Ok(std::iter::from_fn(move || {
            let mut id = [0; 20];
            ids.read_exact(&mut id).ok()?;
            Oid::from_bytes(&id).ok()
        }))
    }
}

/// All packs, fewest objects first. One whose index is not there (yet) is none.
pub(super) fn list(store: &Path) -> Result<Vec<Pack>, RepoError> {
    let folder = store.join("objects/pack");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut packs = Vec::new();
    for entry in entries {
        let path = entry.map_err(io("read the folder", &folder))?.path();
        if path.extension().is_some_and(|end| end == "idx") && path.with_extension("pack").is_file() {
            let mut file = File::open(&path).map_err(io("read", &path))?;
            let mut count = [0; 4];
            file.seek(SeekFrom::Start(IDS_AT - 4)).map_err(io("read", &path))?;
            file.read_exact(&mut count).map_err(io("read", &path))?;
            packs.push(Pack { objects: u32::from_be_bytes(count).into(), stem: path.with_extension("") });
        }
    }
    packs.sort();
    Ok(packs)
}

/// The number of loose objects.
pub(super) fn loose(store: &Path) -> Result<u64, RepoError> {
    let counted = Git::at(store).line(["count-objects"])?;
    Ok(counted.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Writes a pack from lines on git's stdin; `None` when it would be empty.
pub(super) fn write(
    store: &Path,
    how: &[&str],
    lines: impl Iterator<Item = String>,
) -> Result<Option<Pack>, RepoError> {
    let mut input = tempfile::tempfile().map_err(io("make a file for", store))?;
    {
        let mut writer = std::io::BufWriter::new(&mut input);
        for line in lines {
            writeln!(writer, "{line}").map_err(io("list objects of", store))?;
        }
        writer.flush().map_err(io("list objects of", store))?;
    }
    input.rewind().map_err(io("list objects of", store))?;
    let git = Git::at(store);
    let settings = ["-c", "core.fsync=all", "-c", "pack.windowMemory=256m", "-c", "core.bigFileThreshold=16m"];
    let fixed = ["pack-objects", "--quiet", "--non-empty", "--delta-base-offset", "--threads=1"];
    let mut command = git.command(settings.iter().chain(&fixed).chain(how));
    command
        .arg(store.join("objects/pack/pack"))
        .stdin(Stdio::from(input))
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let output = command.output().map_err(|source| GitError::Start { source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(GitError::Failed { args: "pack-objects".to_owned(), status: output.status, stderr }.into());
    }
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let stem = store.join("objects/pack").join(format!("pack-{hash}"));
    Ok(list(store)?.into_iter().find(|pack| pack.stem == stem))
}

/// Whether `staying` hold every id of `going` for which `needed` is true.
pub(super) fn hold_all(staying: &[Pack], going: &[Pack], needed: impl Fn(&Oid) -> bool) -> Result<bool, RepoError> {
    for pack in going {
        let mut missing: Vec<Oid> = pack.ids()?.filter(|id| needed(id)).collect();
        for other in staying {
            if missing.is_empty() {
                break;
            }
            let mut there = other.ids()?.peekable();
            // Both are sorted.
            missing.retain(|id| {
                while there.next_if(|found| found < id).is_some() {}
                there.peek() != Some(id)
            });
        }
        if !missing.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names `staying` in the multi-pack index, makes all of it durable, and removes `going`.
/// Needs the exclusive lock.
pub(super) fn retire(_: &StoreLock, store: &Path, staying: &[Pack], going: &[Pack]) -> Result<(), RepoError> {
    let names: Vec<String> = staying.iter().map(|pack| pack.name("idx")).collect();
    if !names.is_empty() {
        let args = ["-c", "core.fsync=all", "multi-pack-index", "write", "--no-progress", "--stdin-packs"];
        Git::at(store).run_with_input(args, (names.join("\n") + "\n").as_bytes())?;
    }
    let objects = store.join("objects");
    sync_objects(&objects).map_err(io("sync", &objects))?;
    for pack in going {
        // The index first: a pack without one is nobody's, and cleared later.
        for end in ["idx", "rev", "bitmap", "pack"] {
            remove(&pack.file(end))?;
        }
    }
    Ok(())
}

/// Clears what writers that are long gone left half-done. Needs the exclusive lock.
pub(super) fn clear_orphans(_: &StoreLock, store: &Path) -> Result<u64, RepoError> {
    let folder = store.join("objects/pack");
    let mut cleared = 0;
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let half = name.starts_with("tmp_")
            || (matches!(path.extension().and_then(|end| end.to_str()), Some("pack" | "rev"))
                && !path.with_extension("idx").exists());
        let modified = entry.metadata().and_then(|data| data.modified()).unwrap_or_else(|_| SystemTime::now());
        if half && modified.elapsed().is_ok_and(|age| age >= ORPHAN_AGE) {
            remove(&path)?;
            cleared += 1;
        }
    }
    Ok(cleared)
}

pub(super) fn remove(path: &Path) -> Result<(), RepoError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Every object that is reached from these commits and not from those (`not` may be read too
/// narrowly by git, never too widely: an object of both may come).
pub(super) fn reached(
    store: &Path,
    options: &[&str],
    from: &[Oid],
    not: &[Oid],
    mut each: impl FnMut(Oid),
) -> Result<(), RepoError> {
    let mut input = tempfile::tempfile().map_err(io("make a file for", store))?;
    let lines = from.iter().map(ToString::to_string).chain(not.iter().map(|id| format!("^{id}")));
    let text: String = lines.map(|line| line + "\n").collect();
    input.write_all(text.as_bytes()).and_then(|()| input.rewind()).map_err(io("list commits of", store))?;
    let fixed = ["rev-list", "--objects", "--no-object-names", "--ignore-missing", "--stdin"];
    let mut command = Git::at(store).command(fixed.iter().chain(options));
    command.stdin(Stdio::from(input)).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(io("read the objects of", store))?;
            if let Ok(id) = line.parse() {
                each(id);
            }
        }
    }
    let status = child.wait().map_err(|source| GitError::Start { source })?;
    match status.success() {
        true => Ok(()),
        false => {
            let stderr = "the objects of the store's commits cannot be listed".to_owned();
            Err(GitError::Failed { args: "rev-list --objects".to_owned(), status, stderr }.into())
        }
    }
}
