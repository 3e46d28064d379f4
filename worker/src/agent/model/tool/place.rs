//! Paths as a model writes them, and where they may lead.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use crate::workspace::Folder;

/// Largest file that is read or written whole, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// The workspace and what else may be read.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
    readable: PathBuf,
}

impl Place {
    /// A workspace, and a folder outside of it that may be read: the attempt's own temporary one.
    pub fn new(workspace: &Path, readable: &Path) -> std::io::Result<Self> {
        Ok(Self { root: workspace.canonicalize()?, readable: readable.canonicalize()? })
    }

    /// The workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path leads that is to be read.
    pub fn to_read(&self, path: &str) -> Result<PathBuf, String> {
        let real = self.real(path)?;
        let allowed = real.starts_with(&self.root) || real.starts_with(&self.readable);
        if allowed { Ok(real) } else { Err(format!("{path}: outside the workspace")) }
    }

    /// Where a path leads that is to be written, links followed.
    pub fn to_write(&self, path: &str) -> Result<PathBuf, String> {
        let real = self.real(path)?;
        let Ok(inside) = real.strip_prefix(&self.root) else { return Err(format!("{path}: outside the workspace")) };
        if inside.components().any(|part| part.as_os_str() == ".git") {
            return Err(format!("{path}: .git is not yours to change"));
        }
        if inside.as_os_str().is_empty() {
            return Err(format!("{path}: that is the workspace itself"));
        }
        Ok(real)
    }

    /// The path relative to the workspace, as it is shown.
    pub fn shown(&self, real: &Path) -> String {
        real.strip_prefix(&self.root).unwrap_or(real).display().to_string()
    }

    /// The real path of what is there, joined with what is not there yet. `..` is taken from the
    /// text first, so that it cannot lead out through a folder that does not exist.
    fn real(&self, path: &str) -> Result<PathBuf, String> {
        if path.trim().is_empty() || path.contains('\0') {
            return Err(format!("{path:?} is no path"));
        }
        let mut wanted = self.root.clone();
        for part in Path::new(path).components() {
            match part {
                Component::RootDir => wanted = PathBuf::from("/"),
                Component::ParentDir => {
                    // A link's parent is not the folder it stands in.
                    wanted = wanted.canonicalize().unwrap_or(wanted);
                    wanted.pop();
                }
                Component::Normal(name) => wanted.push(name),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let mut missing = Vec::new();
        let mut there = wanted.as_path();
        loop {
            match there.canonicalize() {
                Ok(real) => return Ok(missing.iter().rev().fold(real, |path, name| path.join(name))),
                Err(error) if std::fs::symlink_metadata(there).is_ok() => return Err(format!("{path}: {error}")),
                Err(_) => {}
            }
            let (Some(name), Some(parent)) = (there.file_name(), there.parent()) else {
                return Err(format!("{path}: no such file"));
            };
            missing.push(name.to_owned());
            there = parent;
        }
    }

    /// The bytes of a file that is to be read, `None` where there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let real = self.to_read(path)?;
        let root = if real.starts_with(&self.root) { &self.root } else { &self.readable };
        let (folder, name) = parts(root, &real).ok_or_else(|| format!("{path}: not a file"))?;
        let folder = match Folder::below(root, folder, false) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            folder => folder.map_err(failed)?,
        };
        let Some(file) = folder.open(name).map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!(
                "{path}: more than {FILE_BYTES_MAX} bytes are too many to read at once; use a command"
            ));
        }
        Ok(Some(bytes))
    }

    /// A file's text; an error for one that is not text, which an edit would spoil.
    pub fn text(&self, path: &str) -> Result<Option<String>, String> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| format!("{path}: not UTF-8; it cannot be edited as text"))
    }

    /// Writes a file whole: it is never half there, and keeps its mode.
    pub fn write(&self, path: &str, text: &str) -> Result<(), String> {
        let (folder, name) = self.place_of(path, true)?;
        folder.write(&name, text.as_bytes()).map_err(|error| format!("{path}: {error}"))
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) -> Result<(), String> {
        let (folder, name) = self.place_of(path, false)?;
        folder.remove(&name).map_err(|error| format!("{path}: {error}"))
    }

    fn place_of(&self, path: &str, make: bool) -> Result<(Folder, PathBuf), String> {
        let real = self.to_write(path)?;
        let (folder, name) = parts(&self.root, &real).ok_or_else(|| format!("{path}: not a file"))?;
        let folder = Folder::below(&self.root, folder, make).map_err(|error| format!("{path}: {error}"))?;
        Ok((folder, name.to_owned()))
    }
}

/// The folder of a path below a root, and the name in it.
fn parts<'a>(root: &Path, real: &'a Path) -> Option<(&'a Path, &'a Path)> {
    let inside = real.strip_prefix(root).ok()?;
    Some((inside.parent()?, Path::new(inside.file_name()?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn paths_stay_inside_whatever_way_they_take() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ws, tmp) = (dir.path().join("ws"), dir.path().join("tmp"));
        for folder in ["ws/src", "ws/.git", "tmp", "outside"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("made");
        }
        std::fs::write(dir.path().join("outside/secret"), "key").expect("written");
        let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, ws.join(at)).expect("linked");
        link(&dir.path().join("outside"), "out");
        link(&dir.path().join("outside/secret"), "file");
        link(&dir.path().join("outside/new"), "dangling");
        link(Path::new("src"), "in");
        let place = Place::new(&ws, &tmp).expect("there");
        for path in [
            "../outside/secret",
            "/etc/passwd",
            "out/secret",
            "out/new",
            "file",
            "dangling",
            "src/../../outside/secret",
            "in/../../outside/x",
            "nowhere/../../outside/secret",
            "..",
            "/",
            "",
            "\0",
        ] {
            assert!(place.to_read(path).is_err(), "{path:?} can be read");
            assert!(place.write(path, "x").is_err(), "{path:?} can be written");
            assert!(place.remove(path).is_err(), "{path:?} can be removed");
        }
        for path in [".git/config", ".git", "src/../.git/hooks/x", "sub/.git/config", "."] {
            assert!(place.write(path, "x").is_err(), "{path:?} can be written");
        }
        let inside = ws.join("src/a.rs").display().to_string();
        for path in ["src/a.rs", "./src//a.rs", "in/a.rs", "in/../src/a.rs", "new/folder/../../src/a.rs", &inside] {
            place.write(path, path).expect("inside");
            assert_eq!(place.text("src/a.rs").expect("read").as_deref(), Some(path));
        }
        assert_eq!(place.text("src/none"), Ok(None));
        assert!(place.write(&tmp.join("x").display().to_string(), "x").is_err(), "only read");
        assert_eq!(std::fs::read_to_string(dir.path().join("outside/secret")).expect("there"), "key");
    }

    #[test]
    fn a_mode_is_kept_and_what_is_no_text_is_not_edited() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = Place::new(dir.path(), dir.path()).expect("there");
        place.write("run.sh", "1").expect("written");
        std::fs::set_permissions(dir.path().join("run.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
        place.write("run.sh", "2").expect("written");
        let mode = std::fs::metadata(dir.path().join("run.sh")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        std::fs::write(dir.path().join("latin"), b"\xe9").expect("written");
        assert!(place.text("latin").expect_err("refused").contains("not UTF-8"));
        assert!(place.text(".").expect_err("refused").contains("not a file"));
    }
}
