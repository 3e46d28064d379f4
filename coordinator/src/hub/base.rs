//! A submission's history on its way into the store: unpacked in quarantine, complete or not at
//! all, durable before the plan that names it is journaled.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Store, StoreError, sync_objects};

use crate::repos::{BASE_QUARANTINE, RepoError, StoreLock, ensure_store, io};

/// Largest pack of a submission in bytes.
pub const PACK_BYTES_MAX: u64 = 8 << 30;

/// Why the history was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The store has not got it, and neither has the pack.
    #[error(
        "the repository on this server lacks the base {base} or its history, and the pack did not bring it whole: {cause}"
    )]
    Missing {
        /// What the plan is pinned to.
        base: Oid,
        /// What is missing.
        cause: String,
    },
    /// The store could not be made or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// git could not be run.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl BaseError {
    /// Whether the disk is full, which more space mends.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Repo(error) => error.is_disk_full(),
            other => longhaul_common::room::says_out_of_room(&other.to_string()),
        }
    }
}

/// A base that the store has, with its whole history. While this lives nothing goes away, so that
/// the base stays until a ref keeps it.
pub(super) struct TakenBase {
    store: PathBuf,
    base: Oid,
    _nothing_goes_away: StoreLock,
}

/// What a ref named before, to put it back.
pub(super) struct KeptBase {
    name: String,
    before: Option<Oid>,
}

impl TakenBase {
    /// Has a ref keep the base. Durable when it returns.
    pub(super) fn keep_as(&self, name: &str) -> Result<KeptBase, BaseError> {
        let before = Store::open_own(&self.store)?.reference(name)?;
        self.update_ref(&["update-ref", name, &self.base.to_string()])?;
        Ok(KeptBase { name: name.to_owned(), before })
    }

    /// The plan was refused after all.
    pub(super) fn put_back(&self, kept: &KeptBase) -> Result<(), BaseError> {
        match kept.before {
            Some(before) => self.update_ref(&["update-ref", &kept.name, &before.to_string()]),
            None => self.update_ref(&["update-ref", "-d", &kept.name]),
        }
    }

    fn update_ref(&self, args: &[&str]) -> Result<(), BaseError> {
        Git::at(&self.store).run([&["-c", "core.fsync=all"], args].concat())?;
        Ok(())
    }
}

/// Makes sure that the store has `base` with its whole history, from `pack` where that is needed.
/// Durable when it returns; no ref is moved.
pub(super) fn take_base(store: &Path, pack: Option<&Path>, base: Oid) -> Result<TakenBase, BaseError> {
    ensure_store(store)?;
    let nothing_goes_away = StoreLock::shared(store)?;
    if !Store::open_own(store)?.has(base) {
        let missing = |cause: String| BaseError::Missing { base, cause };
        let pack = pack.ok_or_else(|| missing("no pack came".to_owned()))?;
        let objects = store.join("objects");
        let quarantine = tempfile::Builder::new()
            .prefix(BASE_QUARANTINE)
            .tempdir_in(&objects)
            .map_err(io("make a folder in", &objects))?;
        unpack(store, quarantine.path(), pack).and_then(|()| is_whole(store, quarantine.path(), base)).map_err(
            |error| match error {
                BaseError::Git(error @ GitError::Failed { .. }) => missing(error.to_string()),
                other => other,
            },
        )?;
        move_pack(&quarantine.path().join("pack"), &objects.join("pack"))?;
    }
    sync_objects(&store.join("objects")).map_err(io("sync", store))?;
    Ok(TakenBase { store: store.to_owned(), base, _nothing_goes_away: nothing_goes_away })
}

fn quarantined(store: &Path, quarantine: &Path) -> Git {
    Git::at(store)
        .with_env("GIT_OBJECT_DIRECTORY", quarantine)
        .with_env("GIT_ALTERNATE_OBJECT_DIRECTORIES", store.join("objects"))
}

fn unpack(store: &Path, quarantine: &Path, pack: &Path) -> Result<(), BaseError> {
    let limit = format!("--max-input-size={PACK_BYTES_MAX}");
    let args = ["index-pack", "--stdin", "--strict", "--fix-thin", limit.as_str()];
    let input = File::open(pack).map_err(io("read", pack))?;
    let mut command = quarantined(store, quarantine).command(args);
    command.stdin(Stdio::from(input)).stdout(Stdio::null()).stderr(Stdio::piped());
    let out = command.output().map_err(|source| GitError::Start { source })?;
    if out.status.success() {
        return Ok(());
    }
    let stderr = longhaul_common::text::clip_tail(String::from_utf8_lossy(&out.stderr).trim(), 2_000).to_owned();
    Err(GitError::Failed { args: args.join(" "), status: out.status, stderr }.into())
}

/// Every object of the history is there.
fn is_whole(store: &Path, quarantine: &Path, base: Oid) -> Result<(), BaseError> {
    let tips: Vec<String> =
        Store::open_own(store)?.references("refs/longhaul/")?.into_iter().map(|(_, oid)| format!("^{oid}\n")).collect();
    let wanted = format!("{base}\n{}", tips.concat());
    let git = quarantined(store, quarantine);
    git.run(["cat-file", "-e", &format!("{base}^{{commit}}")])?;
    git.run_with_input(["rev-list", "--objects", "--quiet", "--stdin"], wanted.as_bytes())?;
    Ok(())
}

/// The index last: a pack without one is not looked at.
fn move_pack(from: &Path, to: &Path) -> Result<(), BaseError> {
    std::fs::create_dir_all(to).map_err(io("make the folder", to))?;
    let entries = std::fs::read_dir(from).map_err(io("read the folder", from))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|file| (file.extension().is_some_and(|end| end == "idx"), file.clone()));
    for file in files {
        let Some(name) = file.file_name() else { continue };
        std::fs::rename(&file, to.join(name)).map_err(io("move in", &file))?;
    }
    Ok(())
}
