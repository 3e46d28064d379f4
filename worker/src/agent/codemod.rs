//! The codemod agent: ast-grep rules over the files of a subtask, in process.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use longhaul_proto::CodemodAgent;

use super::rules::{RuleError, Rules};
use crate::workspace::Folder;

/// Files above this many bytes are generated or data; parsing them would take minutes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a file is passed over in which nothing can be left.
const GONE: &str = "does not exist";

/// What a codemod did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodemodDone {
    /// Files it changed, in order.
    pub changed: Vec<String>,
    /// Files that rules cover and that were passed over, with the reason.
    pub skipped: Vec<String>,
    /// Whether one of those is there: what it holds is not known.
    pub is_partial: bool,
}

impl CodemodDone {
    /// In words, for the record.
    pub fn words(&self) -> String {
        let list = |title: &str, lines: &[String]| match lines {
            [] => format!("{title} none"),
            lines => format!("{title} {}:\n{}", lines.len(), lines.join("\n")),
        };
        format!("{}\n{}", list("changed", &self.changed), list("passed over", &self.skipped))
    }
}

/// Why a codemod could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum CodemodError {
    /// The rules themselves.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// A file of the workspace.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
}

/// Applies the rules to each of `files` below `workspace`, in which no link is followed. Blocks.
pub fn apply(agent: &CodemodAgent, workspace: &Path, files: &[String]) -> Result<CodemodDone, CodemodError> {
    let rules = Rules::parse(&agent.rules_path, &agent.rules_yaml)?;
    let opened = Folder::at(workspace);
    let root = opened.map_err(|source| CodemodError::Io { action: "open", path: workspace.to_owned(), source })?;
    let mut done = CodemodDone::default();
    for file in files {
        if !rules.cover(file) {
            continue;
        }
        let path = Path::new(file);
        match read(&root, path)? {
            Content::Text(text) => {
                if let Some(text) = rules.apply(file, &text)? {
                    replace(&root, path, &text)?;
                    done.changed.push(file.clone());
                }
            }
            Content::Skipped(why) => {
                done.is_partial |= why != GONE;
                done.skipped.push(format!("{file}: {why}"));
            }
        }
    }
    Ok(done)
}

enum Content {
    Text(String),
    Skipped(&'static str),
}

fn read(root: &Folder, path: &Path) -> Result<Content, CodemodError> {
    let bytes = match root.read(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => match error.kind() {
            ErrorKind::NotFound => return Ok(Content::Skipped(GONE)),
            ErrorKind::InvalidInput | ErrorKind::NotADirectory => return Ok(Content::Skipped("not a regular file")),
            ErrorKind::FileTooLarge => return Ok(Content::Skipped("too large")),
            _ => return Err(CodemodError::Io { action: "read", path: path.to_owned(), source: error }),
        },
    };
    if bytes.contains(&0) {
        return Ok(Content::Skipped("binary"));
    }
    Ok(String::from_utf8(bytes).map_or(Content::Skipped("not UTF-8"), Content::Text))
}

/// Replaces a file by a new one of the same mode: a half-written file is never seen, and a hard
/// link to the old content (package managers make them) is not written through.
fn replace(root: &Folder, path: &Path, text: &str) -> Result<(), CodemodError> {
    let written = root.parts(path).and_then(|(folder, name)| folder.write(name, text.as_bytes()));
    written.map_err(|source| CodemodError::Io { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn modes_are_kept_and_what_is_no_source_is_passed_over() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ws = dir.path();
        let write = |name: &str, content: &[u8]| fs::write(ws.join(name), content).expect("written");
        write("run.py", b"old()\n");
        fs::set_permissions(ws.join("run.py"), fs::Permissions::from_mode(0o755)).expect("set");
        write("binary.py", b"old()\0");
        write("latin.py", b"old() # \xe9");
        write("other.txt", b"old()");
        write("target", b"old()");
        std::os::unix::fs::symlink(ws.join("target"), ws.join("link.py")).expect("linked");
        let outside = tempfile::tempdir().expect("a temporary folder");
        fs::write(outside.path().join("theirs.py"), "old()").expect("written");
        std::os::unix::fs::symlink(outside.path(), ws.join("up")).expect("linked");
        fs::write(ws.join("huge.py"), vec![b' '; FILE_BYTES_MAX as usize + 1]).expect("written");
        let agent = CodemodAgent {
            rules_path: "r.yml".into(),
            rules_yaml: "id: r\nlanguage: python\nrule: { pattern: old() }\nfix: new()\n".into(),
        };
        let files = ["run.py", "binary.py", "latin.py", "other.txt", "link.py", "huge.py", "gone.py", "up/theirs.py"];
        let files = files.map(String::from);
        let done = apply(&agent, ws, &files).expect("applied");
        assert_eq!(done.changed, ["run.py"]);
        assert_eq!(done.skipped.len(), 6, "{:?}", done.skipped);
        let mode = fs::metadata(ws.join("run.py")).expect("there").permissions().mode();
        assert_eq!((fs::read(ws.join("run.py")).expect("read"), mode & 0o777), (b"new()\n".to_vec(), 0o755));
        assert_eq!(fs::read(ws.join("target")).expect("read"), b"old()");
        assert_eq!(fs::read(outside.path().join("theirs.py")).expect("read"), b"old()", "through a linked folder");
        assert_eq!(apply(&agent, ws, &files).expect("applied again").changed, Vec::<String>::new());
    }
}
