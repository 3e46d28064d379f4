//! Unix sockets of the machine's programs, which a command must not talk to.
//!
//! Neither a read-only mount nor most versions of Landlock keep anybody from a socket that has a path, and
//! what listens there takes whoever its mode lets in: a browser, an agent of keys, a database. So those that
//! are there when a command starts are covered by its mounts, but one that was bound by a relative path, which
//! the kernel's table gives without its folder; folders where they appear later are covered as a whole. From Landlock's version 9 on all of them are closed at any time. Where there are no
//! mounts, no unix socket can be made at all (see [`super::calls`]).

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Most that are covered one by one: they travel as an argument.
const SOCKETS_MAX: usize = 800;

/// The columns before the path.
const COLUMNS_BEFORE_PATH: usize = 7;

/// Where sockets of this machine lie, without those below `known`. To be asked in the machine's own network:
/// each has a table of its own.
pub fn of_machine(known: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let Ok(table) = std::fs::read_to_string("/proc/net/unix") else { return Ok(Vec::new()) };
    let found = table.lines().skip(1).filter_map(path_of).filter_map(|path| path.canonicalize().ok());
    let found = found.filter(|path| !known.iter().any(|folder| path.starts_with(folder)));
    let mut found: Vec<PathBuf> = found.filter(|path| is_socket(path)).collect();
    found.sort();
    found.dedup();
    if found.len() > SOCKETS_MAX {
        return Err(format!(
            "{} unix sockets of this machine lie outside of /run, at most {SOCKETS_MAX} can be closed",
            found.len()
        ));
    }
    Ok(found)
}

/// The folder of the user's own sockets, where it is another than below `/run`.
pub fn runtime_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute())?;
    let home = variable("HOME").map(PathBuf::from);
    // Named by mistake, it would hide what programs need.
    let is_above = |path: &Path| path.starts_with(&folder);
    (!is_above(Path::new("/tmp")) && !home.is_some_and(|home| is_above(&home))).then_some(folder)
}

/// `address: references protocol flags type state inode path`; one without a path has no name, or one that
/// begins with `@`.
fn path_of(line: &str) -> Option<PathBuf> {
    let mut rest = line;
    for _ in 0..COLUMNS_BEFORE_PATH {
        rest = rest.trim_start().split_once(' ')?.1;
    }
    let path = rest.trim_start();
    path.starts_with('/').then(|| path.into())
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn lines_of_the_table_give_paths() {
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 12345 /a folder/s";
        assert_eq!(path_of(line), Some("/a folder/s".into()));
        for other in ["ffff: 00000003 00000000 00000000 0001 03  1162", "f: 2 0 0 1 01  77 @abstract", "f: 2 0", ""] {
            assert_eq!(path_of(other), None, "{other}");
        }
    }

    #[test]
    fn sockets_with_a_path_are_found_where_they_are_not_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().canonicalize().expect("there");
        let (one, two) = (dir.join("stream"), dir.join("datagram"));
        let _held = (UnixListener::bind(&one).expect("bound"), UnixDatagram::bind(&two).expect("bound"));
        let found = of_machine(&[]).expect("few enough");
        assert!(found.contains(&one) && found.contains(&two), "{found:?}");
        let others = of_machine(std::slice::from_ref(&dir)).expect("few enough");
        assert!(!others.iter().any(|path| path.starts_with(&dir)), "{others:?}");
    }

    #[test]
    fn a_folder_of_sockets_is_hidden_unless_everything_is_in_it() {
        let of = |runtime: &str| {
            let variables = [("XDG_RUNTIME_DIR", runtime.to_owned()), ("HOME", "/home/ada".to_owned())];
            runtime_folder(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        assert_eq!(of("/home/ada/.sockets"), Some("/home/ada/.sockets".into()));
        for wrong in ["/home/ada", "/home", "/", "/tmp", "relative"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
