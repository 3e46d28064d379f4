//! What came in lately: commits that the journal may not name yet.
//!
//! git does not write an object again that is there already, so a new result may stand on objects
//! of an old one. Between its import and its record nobody else knows of it; pruning keeps what
//! these lists name. One file a day, one line a commit; lists of before yesterday go.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use longhaul_common::Oid;

use super::error::{RepoError, io};

const PREFIX: &str = "imports-";

fn today() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 86_400)
}

/// Writes down that a commit is coming in. Called under the store's shared lock.
pub fn note(store: &Path, commit: Oid) -> Result<(), RepoError> {
    let path = store.join(format!("{PREFIX}{}", today()));
    let file = OpenOptions::new().create(true).append(true).open(&path);
    // One write: lines of two processes do not mix.
    file.and_then(|mut file| file.write_all(format!("{commit}\n").as_bytes())).map_err(io("write", &path))
}

/// The lists, each with whether its time is over.
fn lists(store: &Path) -> Result<Vec<(PathBuf, bool)>, RepoError> {
    let mut lists = Vec::new();
    for entry in std::fs::read_dir(store).map_err(io("read the folder", store))? {
        let path = entry.map_err(io("read the folder", store))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(day) = name.strip_prefix(PREFIX).and_then(|day| day.parse::<u64>().ok()) {
            lists.push((path, day + 1 < today()));
        }
    }
    Ok(lists)
}

/// Commits of today and yesterday, some of which may be gone.
pub(super) fn read(store: &Path) -> Result<Vec<Oid>, RepoError> {
    let mut commits = Vec::new();
    for (path, _) in lists(store)?.into_iter().filter(|(_, over)| !over) {
        let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        commits.extend(text.lines().filter_map(|line| line.parse::<Oid>().ok()));
    }
    Ok(commits)
}

/// Removes older lists. Called under the exclusive lock.
pub(super) fn clear(store: &Path) -> Result<(), RepoError> {
    for (path, _) in lists(store)?.into_iter().filter(|(_, over)| *over) {
        std::fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}
