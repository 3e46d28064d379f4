//! The files in which an agent keeps what it wants to find again, as one small tar archive.
//!
//! Only plain files travel, secrets in them replaced. An archive comes back from a coordinator and
//! was made by another worker, so nothing in it may lead out of the folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use crate::process::Secrets;
use crate::workspace::Folder;

/// Largest archive: it travels in the journal and in every assignment that goes on from it.
pub const ARCHIVE_BYTES_MAX: usize = 256 << 10;

/// Files of one archive.
const FILES_MAX: usize = 1_000;

/// Unit of the format.
const BLOCK: usize = 512;

/// Longest name: the plain header field.
const NAME_BYTES_MAX: usize = 100;

/// Why files do not travel.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A file or folder.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Too much.
    #[error("the session's files are over {ARCHIVE_BYTES_MAX} bytes or {FILES_MAX} files")]
    TooLarge,
    /// Not one of our archives.
    #[error("the session's archive cannot be read: {0}")]
    Garbled(&'static str),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SessionError {
    move |source| SessionError::Io { path: path.to_owned(), source }
}

/// All plain files below a folder, which the agent may write meanwhile; empty when there are none. Blocks.
pub fn pack(folder: &Path, secrets: &Secrets) -> Result<Vec<u8>, SessionError> {
    let root = match Folder::at(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(io(folder))?,
    };
    let mut archive = Vec::new();
    let mut files = 0;
    let mut open = vec![PathBuf::new()];
    while let Some(next) = open.pop() {
        let Ok(inside) = root.sub(&next, false) else { continue };
        for name in inside.names().unwrap_or_default() {
            let (path, own) = (next.join(&name), Path::new(&name));
            let kind = match inside.kind(own) {
                // It was there for a moment only.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                kind => kind.map_err(io(&path))?,
            };
            if kind == FileType::Directory {
                open.push(path);
                continue;
            }
            let Some(name) = path.to_str() else { continue };
            if kind != FileType::RegularFile || name.len() > NAME_BYTES_MAX {
                continue;
            }
            files += 1;
            let content = match inside.read(own, ARCHIVE_BYTES_MAX as u64) {
                Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => return Err(SessionError::TooLarge),
                read => secrets.redact(&read.map_err(io(&path))?),
            };
            if files > FILES_MAX || archive.len() + content.len() + 4 * BLOCK > ARCHIVE_BYTES_MAX {
                return Err(SessionError::TooLarge);
            }
            archive.extend(header(name, content.len()));
            archive.extend(&content);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
    }
    if !archive.is_empty() {
        archive.resize(archive.len() + 2 * BLOCK, 0);
    }
    Ok(archive)
}

/// A ustar header of a plain file.
fn header(name: &str, bytes: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Writes the files of an archive into a folder, which exists. Blocks.
pub fn unpack(archive: &[u8], folder: &Path) -> Result<(), SessionError> {
    if archive.len() > ARCHIVE_BYTES_MAX + 3 * BLOCK {
        return Err(SessionError::TooLarge);
    }
    let mut rest = archive;
    let mut files = 0;
    while rest.len() >= BLOCK && rest[0] != 0 {
        let (block, after) = rest.split_at(BLOCK);
        let text = |range: std::ops::Range<usize>| {
            let field = &block[range];
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
            std::str::from_utf8(&field[..end]).map_err(|_| SessionError::Garbled("a header is not text"))
        };
        let (name, size) = (text(0..100)?, text(124..136)?);
        let size = usize::from_str_radix(size.trim(), 8).map_err(|_| SessionError::Garbled("a size is no number"))?;
        if block[156] != b'0' || size > after.len() {
            return Err(SessionError::Garbled("an entry is no whole plain file"));
        }
        files += 1;
        if files > FILES_MAX {
            return Err(SessionError::TooLarge);
        }
        write(folder, Path::new(name), &after[..size])?;
        rest = &after[size.next_multiple_of(BLOCK).min(after.len())..];
    }
    Ok(())
}

fn write(folder: &Path, name: &Path, content: &[u8]) -> Result<(), SessionError> {
    if name.as_os_str().is_empty() || !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(SessionError::Garbled("a name leads out of the folder"));
    }
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io(parent))?;
    }
    // The folder was empty: whatever is there already came with this archive.
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
    file.write_all(content).map_err(io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_without_secrets_and_without_links() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("deep/er")).expect("made");
        fs::create_dir(&to).expect("made");
        fs::write(from.join("a"), "the key is hunter2!").expect("written");
        fs::write(from.join("deep/er/b"), vec![7; 1_000]).expect("written");
        fs::write(from.join("empty"), "").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).expect("linked");
        let archive = pack(&from, &Secrets::new(["hunter2!".into()])).expect("packed");
        assert_eq!(archive.len() % BLOCK, 0);
        unpack(&archive, &to).expect("unpacked");
        assert_eq!(fs::read_to_string(to.join("a")).expect("there"), "the key is [redacted]");
        assert_eq!(fs::read(to.join("deep/er/b")).expect("there"), vec![7; 1_000]);
        assert!(to.join("empty").exists() && !to.join("link").exists());
        assert!(pack(&dir.path().join("none"), &Secrets::default()).expect("nothing").is_empty());
        std::os::unix::fs::symlink(&from, dir.path().join("linked")).expect("linked");
        assert!(pack(&dir.path().join("linked"), &Secrets::default()).is_err(), "a link in the place of the folder");
    }

    #[test]
    fn hostile_archives_stay_inside() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["../out", "/tmp/out", "a/../../out", ""] {
            let mut archive = header(name, 1).to_vec();
            archive[0] = archive[0].max(b' ');
            archive.extend([b'x'; BLOCK]);
            if name.is_empty() {
                archive[156] = b'2';
            }
            assert!(unpack(&archive, dir.path()).is_err(), "{name}");
        }
        let mut short = header("a", 5_000).to_vec();
        short.extend([0; BLOCK]);
        assert!(unpack(&short, dir.path()).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
        assert!(!dir.path().parent().expect("has one").join("out").exists());
    }

    #[test]
    fn too_much_does_not_travel() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("big"), vec![0; ARCHIVE_BYTES_MAX]).expect("written");
        assert!(matches!(pack(dir.path(), &Secrets::default()), Err(SessionError::TooLarge)));
    }
}
