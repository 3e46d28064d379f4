//! The append-only journal: segments of checksummed records.
//!
//! A segment begins with magic, format version and the sequence number of its first record. The
//! last segment may end in a torn record after a crash: it is cut at the last whole one, and what
//! was cut is kept beside it. Damage anywhere else is an error and changes nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use longhaul_proto::Record;

use super::folder::{make_folder, sync_folder};
use super::record::{RecordError, decode_frame, encode_frame};
use super::{CheckpointError, FILE_FORMAT};

/// How large a journal's files become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalLimits {
    /// A new segment begins beyond this many bytes.
    pub segment_bytes: u64,
    /// Beyond this many bytes of all segments, the oldest go that two verified newer snapshots
    /// cover.
    pub journal_bytes: u64,
    /// A snapshot is due after so many bytes of records.
    pub snapshot_bytes: u64,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, journal_bytes: 1 << 30, snapshot_bytes: 256 << 20 }
    }
}

const MAGIC: &[u8; 4] = b"LHJ\n";
const HEAD_BYTES: usize = 16;

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: File,
    bytes: u64,
    /// Of the segments before this one.
    older_bytes: u64,
    /// Of segments that were removed.
    retired_bytes: u64,
    /// Where the next append begins; what lies beyond a failed one is cut first.
    good: u64,
    next_seq: u64,
    /// Length and next record at the last successful sync.
    synced: (u64, u64),
    /// A sync failed: what was written since the last good one may be gone from the page cache.
    doubtful: bool,
    path: PathBuf,
    buffer: Vec<u8>,
    limits: JournalLimits,
}

/// What reading a journal found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// Sequence number of the last whole record.
    pub last_seq: u64,
    /// Bytes of a torn tail behind it.
    pub torn_bytes: u64,
    /// Bytes of the records that were visited.
    pub visited_bytes: u64,
}

struct Segment {
    path: PathBuf,
    first_seq: u64,
}

impl Segment {
    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |found| found.len())
    }
}

impl Journal {
    /// Opens the journal for appending after `tail`, cutting what [`read`] found torn.
    pub fn open(folder: &Path, tail: &Tail, limits: JournalLimits) -> Result<Self, CheckpointError> {
        make_folder(folder)?;
        let mut all = segments(folder)?;
        match all.pop() {
            None => Self::begin(folder, 1, limits),
            Some(last) => {
                let older_bytes = all.iter().map(Segment::bytes).sum();
                Ok(Self { older_bytes, ..Self::continue_in(folder, &last, tail, limits)? })
            }
        }
    }

    fn begin(folder: &Path, first_seq: u64, limits: JournalLimits) -> Result<Self, CheckpointError> {
        let path = folder.join(format!("{first_seq:020}.lhj"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&path)
            .map_err(CheckpointError::io("create", &path))?;
        let head = segment_head(first_seq);
        file.write_all(&head).and_then(|()| file.sync_all()).map_err(CheckpointError::io("write", &path))?;
        sync_folder(folder)?;
        let bytes = HEAD_BYTES as u64;
        Ok(Self { limits, ..Self::at(folder, path, file, bytes, first_seq) })
    }

    fn continue_in(folder: &Path, last: &Segment, tail: &Tail, limits: JournalLimits) -> Result<Self, CheckpointError> {
        let path = &last.path;
        let mut file =
            OpenOptions::new().read(true).write(true).open(path).map_err(CheckpointError::io("open", path))?;
        let len = file.metadata().map_err(CheckpointError::io("read", path))?.len();
        let mut keep = len - tail.torn_bytes.min(len);
        if tail.torn_bytes > 0 {
            keep_torn(&mut file, path, keep)?;
        }
        if keep < HEAD_BYTES as u64 {
            // The very head was torn: nothing of this segment was ever acknowledged.
            file.set_len(0).map_err(CheckpointError::io("cut", path))?;
            file.seek(SeekFrom::Start(0)).map_err(CheckpointError::io("seek in", path))?;
            file.write_all(&segment_head(last.first_seq)).map_err(CheckpointError::io("write", path))?;
            keep = HEAD_BYTES as u64;
        } else if keep < len {
            file.set_len(keep).map_err(CheckpointError::io("cut", path))?;
        }
        file.sync_all().map_err(CheckpointError::io("sync", path))?;
        file.seek(SeekFrom::Start(keep)).map_err(CheckpointError::io("seek in", path))?;
        let next_seq = tail.last_seq + 1;
        Ok(Self { limits, ..Self::at(folder, path.clone(), file, keep, next_seq) })
    }

    fn at(folder: &Path, path: PathBuf, file: File, bytes: u64, next_seq: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            file,
            bytes,
            older_bytes: 0,
            retired_bytes: 0,
            good: bytes,
            next_seq,
            synced: (bytes, next_seq),
            doubtful: false,
            path,
            buffer: Vec::new(),
            limits: JournalLimits::default(),
        }
    }

    /// Removes the oldest segments while all together are over the limit, as far as every record
    /// of theirs is at or before `covered_seq`. Gives the bytes that went.
    pub fn retire(&mut self, covered_seq: u64) -> Result<u64, CheckpointError> {
        let all = segments(&self.folder)?;
        let mut gone = 0;
        for (segment, next) in all.iter().zip(all.iter().skip(1)) {
            if !self.is_over_limit() || next.first_seq > covered_seq + 1 {
                break;
            }
            let bytes = segment.bytes();
            std::fs::remove_file(&segment.path).map_err(CheckpointError::io("remove", &segment.path))?;
            self.older_bytes = self.older_bytes.saturating_sub(bytes);
            self.retired_bytes += bytes;
            gone += bytes;
        }
        if gone > 0 {
            sync_folder(&self.folder)?;
        }
        Ok(gone)
    }

    /// Whether all segments together are over the limit.
    pub fn is_over_limit(&self) -> bool {
        self.older_bytes + self.good > self.limits.journal_bytes
    }

    /// Bytes ever written, those of removed segments (since it was opened) included: it only grows.
    pub fn written_bytes(&self) -> u64 {
        self.retired_bytes + self.older_bytes + self.good
    }

    /// Its limits.
    pub fn limits(&self) -> JournalLimits {
        self.limits
    }

    /// The number the next record must have.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Writes records behind the last one. They are durable after [`Journal::sync`] only. After an
    /// error nothing of them counts, and the same call may be made again.
    pub fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        let Some(first) = records.first() else { return Ok(()) };
        if self.doubtful {
            self.file =
                OpenOptions::new().write(true).open(&self.path).map_err(CheckpointError::io("open", &self.path))?;
            self.doubtful = false;
        }
        assert_eq!(first.seq, self.next_seq, "records are numbered without gaps");
        if self.good > self.limits.segment_bytes {
            self.sync()?;
            let (older_bytes, retired_bytes) = (self.older_bytes + self.good, self.retired_bytes);
            let next = Self::begin(&self.folder, self.next_seq, self.limits)?;
            *self = Self { older_bytes, retired_bytes, ..next };
        }
        if self.bytes > self.good {
            self.file.set_len(self.good).map_err(CheckpointError::io("cut", &self.folder))?;
            self.bytes = self.good;
        }
        self.file.seek(SeekFrom::Start(self.good)).map_err(CheckpointError::io("seek in", &self.folder))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        records.iter().for_each(|record| encode_frame(record, &mut buffer));
        let len = buffer.len() as u64;
        // Counted as written before it is: a failed write may leave a part behind.
        self.bytes = self.good + len;
        let written = self.file.write_all(&buffer);
        self.buffer = buffer;
        written.map_err(CheckpointError::io("append to the journal in", &self.folder))?;
        self.good += len;
        self.next_seq += records.len() as u64;
        Ok(())
    }

    /// Makes everything appended since the last sync durable (`fdatasync`). After an error none of
    /// it counts, and it has to be appended again: a second fdatasync may answer well for pages
    /// that the first one lost.
    pub fn sync(&mut self) -> Result<(), CheckpointError> {
        let synced = self.file.sync_data().map_err(CheckpointError::io("sync the journal in", &self.folder));
        if synced.is_ok() {
            self.synced = (self.good, self.next_seq);
        } else {
            (self.good, self.next_seq) = self.synced;
            // What lies beyond is cut before the next append.
            self.bytes = u64::MAX;
            self.doubtful = true;
        }
        synced
    }
}

fn segment_head(first_seq: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(MAGIC);
    head[4..8].copy_from_slice(&FILE_FORMAT.to_le_bytes());
    head[8..].copy_from_slice(&first_seq.to_le_bytes());
    head
}

/// What is cut is evidence: it stays beside the segment.
fn keep_torn(file: &mut File, path: &Path, keep: u64) -> Result<(), CheckpointError> {
    let mut torn = Vec::new();
    file.seek(SeekFrom::Start(keep))
        .and_then(|_| file.read_to_end(&mut torn))
        .map_err(CheckpointError::io("read", path))?;
    let aside = path.with_extension(format!("torn-{keep}"));
    std::fs::write(&aside, torn).map_err(CheckpointError::io("write", aside))
}

fn segments(folder: &Path) -> Result<Vec<Segment>, CheckpointError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(CheckpointError::io("read the folder", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(CheckpointError::io("read the folder", folder))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(first_seq), Some("lhj")) = (stem, path.extension().and_then(|end| end.to_str())) {
            found.push(Segment { path, first_seq });
        }
    }
    found.sort_by_key(|segment| segment.first_seq);
    Ok(found)
}

/// Number of the oldest record that is still there; `None` without a journal.
pub fn first_seq(folder: &Path) -> Result<Option<u64>, CheckpointError> {
    Ok(segments(folder)?.first().map(|segment| segment.first_seq))
}

/// Gives every record after `after_seq` to `visit`, in order. Reads only; a torn tail is reported.
pub fn read(
    folder: &Path,
    after_seq: u64,
    mut visit: impl FnMut(Record) -> Result<(), CheckpointError>,
) -> Result<Tail, CheckpointError> {
    let all = segments(folder)?;
    let mut tail = Tail { last_seq: all.first().map_or(0, |first| first.first_seq - 1), ..Tail::default() };
    for (at, segment) in all.iter().enumerate() {
        let next = all.get(at + 1);
        if let Some(next) = next.filter(|next| next.first_seq - 1 <= after_seq) {
            tail.last_seq = next.first_seq - 1;
            continue;
        }
        if segment.first_seq != tail.last_seq + 1 {
            let cause = format!("it begins with record {}, expected {}", segment.first_seq, tail.last_seq + 1);
            return Err(CheckpointError::Damaged { path: segment.path.clone(), offset: 8, cause });
        }
        read_segment(segment, next.is_none(), after_seq, &mut tail, &mut visit)?;
    }
    Ok(tail)
}

fn read_segment(
    segment: &Segment,
    last: bool,
    after_seq: u64,
    tail: &mut Tail,
    visit: &mut impl FnMut(Record) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let path = &segment.path;
    let bytes = std::fs::read(path).map_err(CheckpointError::io("read", path))?;
    let damaged =
        |offset: usize, cause: String| CheckpointError::Damaged { path: path.clone(), offset: offset as u64, cause };
    if bytes.len() < HEAD_BYTES {
        if last {
            tail.torn_bytes = bytes.len() as u64;
            return Ok(());
        }
        return Err(damaged(0, "its head is cut off".to_owned()));
    }
    if &bytes[..4] != MAGIC {
        return Err(damaged(0, "it is no journal segment".to_owned()));
    }
    let format = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
    if format > FILE_FORMAT {
        return Err(CheckpointError::Newer { path: path.clone(), found: format });
    }
    if bytes[8..HEAD_BYTES] != segment.first_seq.to_le_bytes() {
        return Err(damaged(8, "its first record's number is not the one in its name".to_owned()));
    }
    let mut at = HEAD_BYTES;
    while at < bytes.len() {
        let (record, len) = match decode_frame(&bytes[at..]) {
            Ok(found) => found,
            Err(RecordError::Unknown) => return Err(damaged(at, RecordError::Unknown.to_string())),
            Err(_) if last => {
                tail.torn_bytes = (bytes.len() - at) as u64;
                return Ok(());
            }
            Err(error) => return Err(damaged(at, error.to_string())),
        };
        if record.seq != tail.last_seq + 1 {
            return Err(damaged(at, format!("record {} stands where {} belongs", record.seq, tail.last_seq + 1)));
        }
        tail.last_seq = record.seq;
        at += len;
        if record.seq > after_seq {
            tail.visited_bytes += len as u64;
            visit(record)?;
        }
    }
    Ok(())
}
