//! Results kept until the coordinator has made them durable.
//!
//! An entry is a folder `<job>-<id>` with `report.pb`, `result.pack` (for a commit) and `logs/`. It
//! is filled under a temporary name, synced file by file and folder by folder, and renamed; so an
//! entry that exists is whole. A crash before the rename loses an attempt, after it nothing; what such
//! an attempt had used of models is in its books, and is reported by the next process.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use longhaul_proto::{FailureClass, Finished, LogFile, Report, Usage, finished, report};
use prost::Message as _;

use crate::books::Books;
use crate::config::{Delivery, Scope};
use crate::failure::failure;
use crate::session::desk::Key;

/// Prefix of an entry that is not sealed yet.
const STAGING: &str = ".staging-";

/// Prefix of an entry that is acknowledged and being removed.
const DONE: &str = ".done-";

/// The outbox of one worker folder.
#[derive(Clone, Debug)]
pub struct Outbox {
    root: PathBuf,
}

/// An entry that is being filled. Dropped without being sealed, it is removed.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    name: String,
    sealed: bool,
}

impl Outbox {
    /// Opens the outbox below a worker's folder, creating it. Of what earlier processes of this job (or
    /// of all) left unsealed, it seals as handed back what used models, and removes the rest.
    pub fn open(root: &Path, scope: &Scope, worker: &str) -> io::Result<Self> {
        let outbox = Self { root: root.join("outbox") };
        fs::create_dir_all(&outbox.root)?;
        for name in outbox.names()? {
            if let Some(key) = name.strip_prefix(STAGING).and_then(|entry| parse_name(entry, scope))
                && let Some(usage) = Books::read(&outbox.root.join(&name))
            {
                // Left as it is for the next start: what it had used is not lost, and nothing else waits for it.
                if let Err(error) = outbox.hand_back(&key, worker, usage) {
                    tracing::warn!(%error, name, "what an attempt had used cannot be handed back yet");
                }
                continue;
            }
            let unfinished = name.strip_prefix(STAGING).or_else(|| name.strip_prefix(DONE));
            if unfinished.is_some_and(|entry| parse_name(entry, scope).is_some()) {
                crate::workspace::remove_tree(&outbox.root.join(&name))?;
            }
        }
        Ok(outbox)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Seals what a process that was ended left, with what it had used.
    fn hand_back(&self, key: &Key, worker: &str, usage: Usage) -> io::Result<()> {
        let name = format!("{}-{}", key.job, key.id);
        let mut staging = Staging { path: self.root.join(format!("{STAGING}{name}")), name, sealed: false };
        let handed = staging.hand_back(key, worker, usage);
        if handed.is_err() {
            staging.sealed = true;
        }
        handed
    }

    /// The sealed entries of the scope, in order.
    pub fn sealed(&self, scope: &Scope) -> io::Result<Vec<Key>> {
        let mut keys: Vec<Key> = self.names()?.iter().filter_map(|name| parse_name(name, scope)).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Bytes on disk of everything in it. Blocks.
    pub fn bytes(&self) -> u64 {
        crate::workspace::tree_bytes(&self.root)
    }

    /// Entries in it, unsealed ones included. Blocks.
    pub fn entries(&self) -> usize {
        fs::read_dir(&self.root).map_or(0, Iterator::count)
    }

    /// Starts an entry, with its `logs` folder.
    pub fn stage(&self, job: &str, id: u64) -> io::Result<Staging> {
        let name = format!("{job}-{id}");
        let path = self.root.join(format!("{STAGING}{name}"));
        crate::workspace::remove_tree(&path)?;
        fs::create_dir_all(path.join("logs"))?;
        Ok(Staging { path, name, sealed: false })
    }

    /// Reads a sealed entry.
    pub fn read(&self, job: &str, id: u64) -> io::Result<Delivery> {
        let path = self.root.join(format!("{job}-{id}"));
        let report = Report::decode(fs::read(path.join("report.pb"))?.as_slice()).map_err(io::Error::other)?;
        let pack = Some(path.join("result.pack")).filter(|pack| pack.exists());
        let mut logs = Vec::new();
        for entry in fs::read_dir(path.join("logs"))? {
            let entry = entry?;
            logs.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
        logs.sort();
        Ok(Delivery { report, pack, logs })
    }

    /// Removes an entry after its durable ack. A crash in the middle leaves a folder that the next
    /// start removes.
    pub fn remove(&self, job: &str, id: u64) -> io::Result<()> {
        let path = self.root.join(format!("{job}-{id}"));
        let done = self.root.join(format!("{DONE}{job}-{id}"));
        crate::workspace::remove_tree(&done)?;
        match fs::rename(&path, &done) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        crate::workspace::remove_tree(&done)
    }
}

impl Staging {
    /// Seals it with what was used. Its logs are given up where there is no room for them.
    fn hand_back(&mut self, key: &Key, worker: &str, usage: Usage) -> io::Result<()> {
        fs::remove_file(self.pack()).or_else(absent)?;
        fs::create_dir_all(self.logs())?;
        let report = |logs: Vec<LogFile>| {
            let words = "its worker was ended before it was done; what it had used of models is counted";
            let outcome = finished::Outcome::Failure(failure(FailureClass::HandedBack, words));
            let finished =
                Finished { outcome: Some(outcome), usage: Some(usage), logs, lost: true, ..Finished::default() };
            let body = Some(report::Body::Finished(finished));
            Report { job: key.job.to_string(), id: key.id, worker: worker.to_owned(), body }
        };
        let sealed = logs_in(&self.logs()).and_then(|logs| self.seal(&report(logs)));
        sealed.or_else(|_| {
            self.drop_logs()?;
            self.seal(&report(Vec::new()))
        })
    }

    /// Where logs go.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Where the books of what it uses go.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Where the pack goes.
    pub fn pack(&self) -> PathBuf {
        self.path.join("result.pack")
    }

    /// Gives up the logs, to make room for what matters more.
    pub fn drop_logs(&self) -> io::Result<()> {
        crate::workspace::remove_tree(&self.logs())?;
        fs::create_dir(self.logs())
    }

    /// Makes the entry durable and visible. Where that fails nothing of it is lost, and it can be
    /// tried again. Blocks on the disk.
    pub fn seal(&mut self, report: &Report) -> io::Result<()> {
        let root = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        if self.sealed {
            return File::open(root)?.sync_all();
        }
        let mut file = File::create(self.path.join("report.pb"))?;
        file.write_all(&report.encode_to_vec())?;
        sync_below(&self.path)?;
        let sealed = root.join(&self.name);
        // A result of the same id is the same result; the later one replaces it.
        crate::workspace::remove_tree(&sealed)?;
        fs::rename(&self.path, &sealed)?;
        self.sealed = true;
        File::open(root)?.sync_all()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What used models is reported by the next process.
        if !self.sealed && Books::read(&self.path).is_none() {
            // What stays behind is removed at the next start.
            let _left = crate::workspace::remove_tree(&self.path);
        }
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The files of a folder of logs, as a result names them.
fn logs_in(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let content = fs::read(entry.path())?;
            let hash = blake3::hash(&content).as_bytes().to_vec();
            let name = entry.file_name().to_string_lossy().into_owned();
            logs.push(LogFile { name, hash, bytes: content.len() as u64 });
        }
    }
    logs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(logs)
}

fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_below(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

fn parse_name(name: &str, scope: &Scope) -> Option<Key> {
    let (job, id) = name.rsplit_once('-')?;
    let key = Key { job: job.parse().ok()?, id: id.parse().ok()? };
    scope.job().is_none_or(|job| *job == key.job).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Used;

    #[test]
    fn an_entry_exists_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let scope = |name: &str| Scope::Job(name.parse().expect("a name"));
        let (job, other) = (scope("a"), scope("a-1"));
        let none: Vec<Key> = Vec::new();
        let outbox = Outbox::open(dir.path(), &job, "w").expect("opened");
        let report = Report { job: "a".into(), id: 7, ..Report::default() };

        // A crash while it is filled.
        let staging = outbox.stage("a", 6).expect("staged");
        fs::write(staging.logs().join("x"), "x").expect("written");
        std::mem::forget(staging);
        assert_eq!(outbox.sealed(&job).expect("listed"), none);

        let mut staging = outbox.stage("a", 7).expect("staged");
        fs::write(staging.pack(), "pack").expect("written");
        fs::write(staging.logs().join("01-check"), "log").expect("written");
        let in_the_way = dir.path().join("outbox/.staging-a-7/report.pb");
        fs::create_dir(&in_the_way).expect("made");
        staging.seal(&report).expect_err("not now");
        fs::remove_dir(&in_the_way).expect("removed");
        staging.seal(&report).expect("sealed");
        staging.seal(&report).expect("once more changes nothing");
        drop(staging);

        // Another job in the same folder is left alone, also one whose name starts the same.
        let staging = outbox.stage("a-1", 7).expect("staged");
        let outbox = Outbox::open(dir.path(), &job, "w").expect("opened again");
        assert!(staging.logs().exists());
        let seven = Key { job: "a".parse().expect("a name"), id: 7 };
        for (scope, sealed) in [(&job, vec![seven.clone()]), (&other, none.clone()), (&Scope::All, vec![seven.clone()])]
        {
            assert_eq!(outbox.sealed(scope).expect("listed"), sealed);
        }
        let delivery = outbox.read("a", 7).expect("read");
        assert_eq!(delivery.report, report);
        assert!(delivery.pack.is_some() && delivery.logs.len() == 1);

        // A crash after the ack, in the middle of the removal.
        fs::rename(dir.path().join("outbox/a-7"), dir.path().join("outbox/.done-a-7")).expect("renamed");
        let outbox = Outbox::open(dir.path(), &job, "w").expect("opened again");
        assert_eq!(outbox.sealed(&job).expect("listed"), none);
        outbox.remove("a", 7).expect("removing what is gone is fine");
        drop(staging);
        assert_eq!(fs::read_dir(dir.path().join("outbox")).expect("listed").count(), 0);
    }

    #[test]
    fn what_a_killed_attempt_used_is_handed_back_and_stops_no_start() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let outbox = Outbox::open(dir.path(), &Scope::All, "w").expect("opened");
        for id in [1, 2] {
            let staging = outbox.stage("a", id).expect("staged");
            fs::write(staging.logs().join("01-agent"), "log").expect("written");
            Books::new(staging.folder(), Usage { tokens: id, ..Usage::default() }).write(&Used::default());
            std::mem::forget(staging);
        }
        // Killed while its logs were dropped, and something where the report has to be.
        fs::remove_dir_all(dir.path().join("outbox/.staging-a-1/logs")).expect("removed");
        let in_the_way = dir.path().join("outbox/.staging-a-2/report.pb");
        fs::create_dir(&in_the_way).expect("made");
        let outbox = Outbox::open(dir.path(), &Scope::All, "w").expect("opened all the same");
        let keys = |outbox: &Outbox| {
            outbox.sealed(&Scope::All).expect("listed").into_iter().map(|key| key.id).collect::<Vec<_>>()
        };
        assert_eq!(keys(&outbox), [1]);
        fs::remove_dir(&in_the_way).expect("removed");
        let outbox = Outbox::open(dir.path(), &Scope::All, "w").expect("opened again");
        assert_eq!(keys(&outbox), [1, 2]);
        let used = [1, 2].map(|id| match outbox.read("a", id).expect("read").report.body {
            Some(report::Body::Finished(finished)) => finished.usage.map(|usage| usage.tokens),
            _ => None,
        });
        assert_eq!(used, [Some(1), Some(2)]);
    }
}
