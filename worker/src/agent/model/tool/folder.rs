//! A folder that is reached without following links, and what is in it.
//!
//! A path is resolved first and opened after that, and a program of the agent's may put a link in
//! between. So each part of a resolved path is opened from the one before, and a link on the way is an
//! error.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

const OPEN: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
pub struct Folder(OwnedFd);

impl Folder {
    /// The folder at `path` below `root`, neither of which contains a link; made where it is not there,
    /// if `make`.
    pub fn below(root: &Path, path: &Path, make: bool) -> io::Result<Self> {
        let mut folder = rustix::fs::open(root, OPEN, Mode::empty())?;
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(Errno::INVAL.into()) };
            folder = match rustix::fs::openat(&folder, name, OPEN, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    rustix::fs::openat(&folder, name, OPEN, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(Self(folder))
    }

    /// A file of it, to be read; `None` where there is none. What is no file is an error of kind
    /// `InvalidInput`.
    pub fn open(&self, name: &Path) -> io::Result<Option<File>> {
        // A pipe without a writer would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => File::from(opened?),
        };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(not_a_file()) }
    }

    /// Puts a file into it, whole or not at all; one that was there gives it its mode.
    pub fn write(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let mode = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => return Err(not_a_file()),
            Ok(found) => found.st_mode & 0o7777,
            Err(Errno::NOENT) => 0o644,
            Err(error) => return Err(error.into()),
        };
        // The kernel's own name of the open folder: no part of a path is looked up again.
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        let mut new = tempfile::NamedTempFile::new_in(&folder)?;
        new.write_all(bytes)?;
        new.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        new.persist(folder.join(name)).map(drop).map_err(|error| error.error)
    }

    /// Removes a file of it.
    pub fn remove(&self, name: &Path) -> io::Result<()> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty()).map_err(Into::into)
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_was_put_on_the_way_is_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (root, outside) = (dir.path().join("ws"), dir.path().join("outside"));
        for folder in [&root, &outside] {
            std::fs::create_dir(folder).expect("made");
        }
        std::fs::write(outside.join("secret"), "key").expect("written");
        std::os::unix::fs::symlink(&outside, root.join("sub")).expect("linked");
        std::os::unix::fs::symlink(outside.join("secret"), root.join("file")).expect("linked");
        for make in [false, true] {
            assert!(Folder::below(&root, Path::new("sub"), make).is_err());
            assert!(Folder::below(&root, Path::new("sub/deeper"), make).is_err());
            assert!(Folder::below(&root, Path::new(".."), make).is_err());
        }
        let folder = Folder::below(&root, Path::new(""), false).expect("the root");
        assert!(folder.open(Path::new("file")).is_err());
        assert!(folder.write(Path::new("file"), b"x").is_err());
        assert_eq!(std::fs::read(outside.join("secret")).expect("there"), b"key");
        assert_eq!(std::fs::read_dir(&outside).expect("there").count(), 1, "nothing was made outside");
    }

    #[test]
    fn folders_are_made_and_what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Folder::below(dir.path(), Path::new("a/b"), false).is_err());
        let folder = Folder::below(dir.path(), Path::new("a/b"), true).expect("made");
        folder.write(Path::new("x"), b"1").expect("written");
        assert!(folder.open(Path::new("none")).expect("looked").is_none());
        rustix::fs::mkdirat(&folder.0, "sub", Mode::from_raw_mode(0o700)).expect("made");
        assert_eq!(folder.open(Path::new("sub")).expect_err("refused").to_string(), "not a file");
        assert_eq!(folder.write(Path::new("sub"), b"").expect_err("refused").to_string(), "not a file");
        folder.remove(Path::new("x")).expect("removed");
        assert!(!dir.path().join("a/b/x").exists());
    }
}
