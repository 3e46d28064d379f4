//! Results on their way in, in files of bounded size.
//!
//! Nothing of a stream is held in memory but one piece. A delivery that ends, for whatever
//! reason, takes its files with it; what a killed server left is cleared at the next start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tonic::Status;

use crate::repos::PACK_BYTES_MAX;

/// Bytes of a log's name at most; names are file names.
const LOG_NAME_BYTES_MAX: usize = 128;

/// Bounds of what is on its way in.
#[derive(Clone, Debug)]
pub struct SpoolLimits {
    /// Bytes in the spool over all deliveries.
    pub total_bytes: u64,
    /// Bytes of one pack.
    pub pack_bytes: u64,
    /// Bytes of all logs of one delivery; what is over is dropped, and the log says so.
    pub log_bytes: u64,
    /// Logs of one delivery.
    pub logs: usize,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { total_bytes: 8 << 30, pack_bytes: PACK_BYTES_MAX, log_bytes: 256 << 20, logs: 256 }
    }
}

/// The folder of all deliveries under way.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limits: Arc<SpoolLimits>,
    used: Arc<AtomicU64>,
}

/// What a piece of a pack led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PackRoom {
    /// It was written.
    Enough,
    /// The pack is over its limit.
    Over,
}

/// One delivery's files.
pub(super) struct Room {
    spool: Spool,
    folder: TempDir,
    bytes: u64,
    pack: Option<(File, blake3::Hasher, u64)>,
    logs: BTreeMap<String, PathBuf>,
    log: Option<(String, File)>,
    log_bytes: u64,
}

impl Spool {
    /// Opens the folder and clears what is left in it.
    pub(super) fn open(folder: &Path, limits: SpoolLimits) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(Self { folder: folder.to_owned(), limits: Arc::new(limits), used: Arc::default() })
    }

    /// Bytes of one pack at most.
    pub(super) fn pack_bytes_max(&self) -> u64 {
        self.limits.pack_bytes
    }

    /// A place for one delivery.
    pub(super) fn room(&self) -> Result<Room, Status> {
        let folder = tempfile::tempdir_in(&self.folder).map_err(|error| self.full(&error))?;
        Ok(Room { spool: self.clone(), folder, bytes: 0, pack: None, logs: BTreeMap::new(), log: None, log_bytes: 0 })
    }

    fn full(&self, error: &std::io::Error) -> Status {
        Status::unavailable(format!(
            "the result cannot be written to {} on the coordinator: {error}; it is taken when there is space",
            self.folder.display()
        ))
    }
}

impl Room {
    /// Takes bytes out of the whole spool's, until the room is dropped.
    fn reserve(&mut self, bytes: usize) -> Result<(), Status> {
        let (bytes, max) = (bytes as u64, self.spool.limits.total_bytes);
        let fits = |used: u64| Some(used + bytes).filter(|sum| *sum <= max);
        match self.spool.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(Status::unavailable(format!(
                "{used} of {max} bytes for results on their way in are taken on the coordinator: try again later"
            ))),
        }
    }

    /// Appends to the pack.
    pub(super) async fn pack(&mut self, data: &[u8]) -> Result<PackRoom, Status> {
        let sofar = self.pack.as_ref().map_or(0, |(_, _, bytes)| *bytes);
        if sofar + data.len() as u64 > self.spool.limits.pack_bytes {
            return Ok(PackRoom::Over);
        }
        self.reserve(data.len())?;
        if self.pack.is_none() {
            let file = File::create(self.pack_path()).await.map_err(|error| self.spool.full(&error))?;
            self.pack = Some((file, blake3::Hasher::new(), 0));
        }
        let (file, hasher, bytes) = self.pack.as_mut().expect("made above");
        file.write_all(data).await.map_err(|error| self.spool.full(&error))?;
        hasher.update(data);
        *bytes += data.len() as u64;
        Ok(PackRoom::Enough)
    }

    /// Appends to a log; a new name begins a new one.
    pub(super) async fn log(&mut self, name: &str, data: &[u8]) -> Result<(), Status> {
        if self.log.as_ref().is_none_or(|(current, _)| current != name) {
            self.begin_log(name).await?;
        }
        let room = self.spool.limits.log_bytes.saturating_sub(self.log_bytes);
        if room == 0 {
            return Ok(());
        }
        let fits = usize::try_from(room).map_or(data.len(), |room| room.min(data.len()));
        self.reserve(fits)?;
        self.log_bytes += fits as u64;
        let cut = match fits < data.len() || self.log_bytes == self.spool.limits.log_bytes {
            true => format!("\n[the coordinator keeps {} bytes of logs of one result]\n", self.spool.limits.log_bytes),
            false => String::new(),
        };
        let (_, file) = self.log.as_mut().expect("begun above");
        file.write_all(&data[..fits]).await.map_err(|error| self.spool.full(&error))?;
        file.write_all(cut.as_bytes()).await.map_err(|error| self.spool.full(&error))
    }

    async fn begin_log(&mut self, name: &str) -> Result<(), Status> {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name);
        if !plain || name.contains(['\0', '\n']) || name.len() > LOG_NAME_BYTES_MAX {
            return Err(Status::invalid_argument("a log's name is not a file name"));
        }
        if self.logs.contains_key(name) || self.logs.len() >= self.spool.limits.logs {
            let max = self.spool.limits.logs;
            return Err(Status::invalid_argument(format!("a log comes twice, or there are more than {max}")));
        }
        self.end_log().await?;
        // Numbered on disk: names of logs and of the pack never meet.
        let path = self.folder.path().join(format!("log-{}", self.logs.len()));
        let file = File::create(&path).await.map_err(|error| self.spool.full(&error))?;
        self.logs.insert(name.to_owned(), path);
        self.log = Some((name.to_owned(), file));
        Ok(())
    }

    async fn end_log(&mut self) -> Result<(), Status> {
        match self.log.take() {
            Some((_, mut file)) => file.flush().await.map_err(|error| self.spool.full(&error)),
            None => Ok(()),
        }
    }

    /// Ends the writing; gives the pack's length and hash.
    pub(super) async fn finish(&mut self) -> Result<(u64, Option<blake3::Hash>), Status> {
        self.end_log().await?;
        match &mut self.pack {
            None => Ok((0, None)),
            Some((file, hasher, bytes)) => {
                file.flush().await.map_err(|error| self.spool.full(&error))?;
                Ok((*bytes, Some(hasher.finalize())))
            }
        }
    }

    fn pack_path(&self) -> PathBuf {
        self.folder.path().join("pack")
    }

    /// The pack, where one came.
    pub(super) fn pack_file(&self) -> Option<PathBuf> {
        self.pack.as_ref().map(|_| self.pack_path())
    }

    /// Name and file of each log.
    pub(super) fn log_files(&self) -> Vec<(String, PathBuf)> {
        self.logs.iter().map(|(name, path)| (name.clone(), path.clone())).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
