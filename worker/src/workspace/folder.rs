//! A folder that is reached without following links, and what is in it.
//!
//! A path is resolved first and opened after that, and a program of the agent's may put a link in
//! between. So each part of a resolved path is opened from the one before, and a link on the way is an
//! error. What programs write is read and written through this alone: the worker has no boundary of its
//! own, and would follow such a link to whatever is its user's.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

const OPEN: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// A folder that is there and is no link itself; what is above it is for the caller to know.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OPEN, Mode::empty())?))
    }

    /// The folder at `path` below `root`, neither of which contains a link; made where it is not there,
    /// if `make`.
    pub fn below(root: &Path, path: &Path, make: bool) -> io::Result<Self> {
        Self::at(root)?.sub(path, make)
    }

    /// The folder at `path` below this one, on the same terms.
    pub fn sub(&self, path: &Path, make: bool) -> io::Result<Self> {
        let mut folder = self.0.try_clone()?;
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

    /// The kernel's own name of it: no part of a path is looked up again.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Names of what is in it, in order.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names: Vec<OsString> =
            std::fs::read_dir(self.path())?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// What is at a path below it; a link is one, whatever it leads to.
    pub fn kind(&self, path: &Path) -> io::Result<FileType> {
        let (folder, name) = self.parts(path)?;
        let found = rustix::fs::statat(&folder.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode))
    }

    /// The bytes of a file below it: an error of kind `FileTooLarge` for more than `bytes_max`.
    pub fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let (folder, name) = self.parts(path)?;
        let file = folder.open(name)?.ok_or(Errno::NOENT)?;
        let mut bytes = Vec::new();
        // Its length is no bound: it may grow while it is read.
        if file.metadata()?.len() <= bytes_max {
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 <= bytes_max {
                return Ok(bytes);
            }
        }
        let words = format!("it has more than {bytes_max} bytes");
        Err(io::Error::new(io::ErrorKind::FileTooLarge, words))
    }

    /// The folder of a path below it, and the name in that.
    pub fn parts<'a>(&self, path: &'a Path) -> io::Result<(Self, &'a Path)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(not_a_file()) };
        Ok((self.sub(parent, false)?, Path::new(name)))
    }

    /// A file of it, to be read; `None` where there is none. What is no file, a link for example, is an
    /// error of kind `InvalidInput`.
    pub fn open(&self, name: &Path) -> io::Result<Option<File>> {
        // A pipe without a writer would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(not_a_file()),
            opened => File::from(opened?),
        };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(not_a_file()) }
    }

    /// A new file, to be written, in the place of whatever file, link or pipe is there.
    pub fn create(&self, name: &Path) -> io::Result<File> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// A file of it that is there, to be written at its end.
    pub fn append(&self, name: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        let found = file.metadata()?;
        // A second name of it may be that of a file elsewhere.
        if found.is_file() && found.nlink() == 1 { Ok(file) } else { Err(not_a_file()) }
    }

    /// A new named pipe, open here for reading as well: its reader starts without a writer, and a write
    /// is never a signal.
    pub fn pipe(&self, name: &Path) -> io::Result<File> {
        rustix::fs::mknodat(&self.0, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        if pipe.metadata()?.file_type().is_fifo() { Ok(pipe) } else { Err(not_a_file()) }
    }

    /// Puts a file into it, whole or not at all; one that was there gives it its mode.
    pub fn write(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let mode = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => return Err(not_a_file()),
            Ok(found) => found.st_mode & 0o7777,
            Err(Errno::NOENT) => 0o644,
            Err(error) => return Err(error.into()),
        };
        let folder = self.path();
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
    fn nothing_is_read_or_written_through_a_link_or_a_pipe() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tmp, outside) = (dir.path().join("tmp"), dir.path().join("outside"));
        std::fs::create_dir(&tmp).expect("made");
        std::fs::write(&outside, "theirs").expect("written");
        let folder = Folder::at(&tmp).expect("opened");
        let name = Path::new("name");
        std::os::unix::fs::symlink(&outside, tmp.join(name)).expect("linked");
        assert!(folder.append(name).is_err() && folder.pipe(name).is_err());
        assert_eq!(folder.kind(name).expect("there"), FileType::Symlink);
        folder.create(name).expect("made anew").write_all(b"ours").expect("written");
        std::fs::remove_file(tmp.join(name)).expect("removed");
        std::fs::hard_link(&outside, tmp.join(name)).expect("linked");
        assert!(folder.append(name).is_err(), "a second name of a file");
        folder.create(name).expect("made anew").write_all(b"ours").expect("written");
        assert_eq!(folder.read(name, 4).expect("read"), b"ours");
        assert_eq!(folder.read(name, 3).expect_err("too much").kind(), io::ErrorKind::FileTooLarge);
        std::os::unix::fs::symlink("/dev/zero", tmp.join("endless")).expect("linked");
        drop(folder.pipe(Path::new("pipe")).expect("made"));
        for wrong in ["endless", "pipe"] {
            let error = folder.read(Path::new(wrong), 9).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{wrong}");
        }
        std::os::unix::fs::symlink(dir.path(), tmp.join("up")).expect("linked");
        assert!(Folder::at(&tmp.join("up")).is_err() && folder.read(Path::new("up/outside"), 9).is_err());
        assert_eq!(folder.names().expect("listed"), ["endless", "name", "pipe", "up"]);
        assert_eq!(std::fs::read(&outside).expect("there"), b"theirs");
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
