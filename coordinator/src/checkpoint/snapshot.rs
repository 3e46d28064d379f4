//! Snapshots: the state at a sequence number, in a file that is complete or absent.

use std::path::{Path, PathBuf};

use super::folder::{make_folder, write_atomic};
use super::{CheckpointError, FILE_FORMAT};
use crate::core::State;

/// How many snapshots are kept.
pub const SNAPSHOTS_KEPT: usize = 3;

const MAGIC: &[u8; 4] = b"LHS\n";
const HEAD_BYTES: usize = 24;

/// The bytes of the state's snapshot.
pub fn encode_snapshot(state: &State) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&FILE_FORMAT.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.seq().to_le_bytes());
    let mut bytes = postcard::to_extend(state, bytes).expect("the state is serialisable");
    let crc = crc32c::crc32c(&bytes[HEAD_BYTES..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Writes the state's snapshot and drops those beyond [`SNAPSHOTS_KEPT`].
pub fn write_snapshot(folder: &Path, state: &State) -> Result<PathBuf, CheckpointError> {
    make_folder(folder)?;
    let path = folder.join(format!("{:020}.lhs", state.seq()));
    write_atomic(&path, &[&encode_snapshot(state)])?;
    for (_, old) in list_snapshots(folder)?.into_iter().rev().skip(SNAPSHOTS_KEPT) {
        std::fs::remove_file(&old).map_err(CheckpointError::io("remove", old))?;
    }
    Ok(path)
}

/// Snapshots by sequence number, oldest first.
pub fn list_snapshots(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(CheckpointError::io("read the folder", folder))?.path();
        let seq = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(seq), Some("lhs")) = (seq, path.extension().and_then(|end| end.to_str())) {
            found.push((seq, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a snapshot. `None` when it is damaged: the journal makes up for it.
pub fn read_snapshot(path: &Path) -> Result<Option<State>, CheckpointError> {
    decode_snapshot(path, &std::fs::read(path).map_err(CheckpointError::io("read", path))?)
}

/// The state in a snapshot's bytes; `path` is for the error. `None` when they are damaged.
pub fn decode_snapshot(path: &Path, bytes: &[u8]) -> Result<Option<State>, CheckpointError> {
    if bytes.len() < HEAD_BYTES || &bytes[..4] != MAGIC {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if word(4) > FILE_FORMAT {
        return Err(CheckpointError::Newer { path: path.to_owned(), found: word(4) });
    }
    let body = &bytes[HEAD_BYTES..];
    if crc32c::crc32c(body) != word(16) {
        return Ok(None);
    }
    let Ok(mut state) = postcard::from_bytes::<State>(body) else { return Ok(None) };
    Ok(state.rebuild().is_ok().then_some(state))
}
