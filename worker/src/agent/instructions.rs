//! What a repository tells agents: the `AGENTS.md` files above what a subtask works on, or `CLAUDE.md`
//! where there is none. The nearest one wins, so it comes last and is the last to be cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longhaul_common::tokens;
use longhaul_proto::Work;

/// Names of the file, the first that is there counts.
const NAMES: [&str; 2] = ["AGENTS.md", "CLAUDE.md"];

/// Larger files are no instructions, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Tokens of all of them together.
pub const TOKENS_MAX: usize = 8_000;

/// Of a model's window they get at most this part: the rest of the briefing and the work need room too.
const WINDOW_PART: u64 = 10;

/// Tokens of all of them together in a window of this size.
pub fn tokens_max(context_tokens: u64) -> usize {
    usize::try_from(context_tokens / WINDOW_PART).unwrap_or(TOKENS_MAX).min(TOKENS_MAX)
}

/// Folders that are looked at for one; those nearest to the root come first.
const FOLDERS_MAX: usize = 1_000;

/// Where a subtask works: its files, its claims, and what it may write, which need not be there yet.
pub fn places(work: &Work) -> Vec<String> {
    let globs = work.task.iter().filter(|task| !task.whole_repository).flat_map(|task| &task.write);
    let written = globs.map(|glob| literal(glob).to_owned());
    work.files.iter().chain(&work.claims).cloned().chain(written).collect()
}

/// The folders of a glob that have no wildcard; all of one that has none.
fn literal(glob: &str) -> &str {
    let Some(wildcard) = glob.find(['*', '?', '[', '{']) else { return glob };
    glob[..wildcard].rfind('/').map_or("", |end| &glob[..=end])
}

/// One file of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its path in the repository.
    pub path: String,
    /// What it says, perhaps cut.
    pub text: String,
}

/// All of them that matter to a subtask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// From the root to the nearest; of one depth in order of paths.
    pub all: Vec<Instruction>,
    /// Files that were cut or left out.
    pub clipped: Vec<String>,
}

impl Instructions {
    /// Those that matter for `files`, at most `tokens_max` tokens of them. Reads files: blocks.
    pub fn gather(workspace: &Path, files: &[String], tokens_max: usize) -> Self {
        let mut folders: BTreeMap<(usize, String), PathBuf> = BTreeMap::new();
        folders.insert((0, String::new()), workspace.to_owned());
        for file in files {
            let mut folder = String::new();
            let parts: Vec<&str> = file.split('/').collect();
            // What is written as a folder is one, and so is what is found to be.
            let folders_of = parts.len().saturating_sub(usize::from(!workspace.join(file).is_dir()));
            for (depth, part) in (1..).zip(&parts[..folders_of]) {
                // Nothing above the workspace, whatever a path says.
                if part.is_empty() || *part == "." || *part == ".." {
                    break;
                }
                folder.push_str(part);
                folders.insert((depth, folder.clone()), workspace.join(&folder));
                folder.push('/');
            }
        }
        let found =
            folders.into_iter().take(FOLDERS_MAX).filter_map(|((_, folder), path)| read(workspace, &folder, &path));
        Self::clip(found.collect(), tokens_max)
    }

    fn clip(mut all: Vec<Instruction>, tokens_max: usize) -> Self {
        let mut left = tokens_max;
        let mut clipped = Vec::new();
        for one in all.iter_mut().rev() {
            let whole = tokens::count(&one.text);
            if whole > left {
                one.text = tokens::clip(&one.text, left).to_owned();
                clipped.push(one.path.clone());
            }
            left = left.saturating_sub(whole);
        }
        all.retain(|one| !one.text.trim().is_empty());
        Self { all, clipped }
    }

    /// The part that holds for every subtask: the file in the root.
    pub fn general(&self) -> String {
        self.render(|path| !path.contains('/'))
    }

    /// The part that holds for this subtask's folders.
    pub fn near(&self) -> String {
        self.render(|path| path.contains('/'))
    }

    fn render(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for one in self.all.iter().filter(|one| wanted(&one.path)) {
            let folder = one.path.rsplit_once('/').map(|(folder, _)| folder);
            let scope = match folder {
                None => "for the whole repository".to_owned(),
                Some(folder) => format!("for {folder}/; where they differ it wins over those further up"),
            };
            text.push_str(&format!("# {} ({scope})\n\n{}\n\n", one.path, one.text.trim()));
        }
        text
    }
}

fn read(workspace: &Path, folder: &str, path: &Path) -> Option<Instruction> {
    let root = workspace.canonicalize().ok()?;
    NAMES.iter().find_map(|name| {
        // A link is followed as long as it stays inside.
        let real = path.join(name).canonicalize().ok().filter(|real| real.starts_with(&root))?;
        let found = std::fs::metadata(&real).ok()?;
        if !found.is_file() || found.len() > FILE_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&real).ok()?).into_owned();
        let path = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
        Some(Instruction { path, text })
    })
}

#[cfg(test)]
mod tests {
    use longhaul_proto::Task;

    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        dir
    }

    fn gathered(dir: &tempfile::TempDir, files: &[&str], tokens: usize) -> (Vec<String>, Vec<String>) {
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let found = Instructions::gather(dir.path(), &files, tokens);
        (found.all.into_iter().map(|one| one.path).collect(), found.clipped)
    }

    #[test]
    fn the_nearest_comes_last_and_claude_stands_in() {
        let dir = repository(&[
            ("AGENTS.md", "root"),
            ("CLAUDE.md", "not read"),
            ("a/CLAUDE.md", "a"),
            ("a/b/AGENTS.md", "b"),
            ("other/AGENTS.md", "other"),
            ("a/b/c/x.rs", ""),
        ]);
        let none: Vec<String> = Vec::new();
        assert_eq!(
            gathered(&dir, &["a/b/c/x.rs", "a/y.rs"], 100),
            (vec!["AGENTS.md".into(), "a/CLAUDE.md".into(), "a/b/AGENTS.md".into()], none.clone())
        );
        for of_b in ["a/b/**", "a/b/new.rs", "a/b/{c,d}/x.rs", "a/b/", "a/b"] {
            let task = Task { write: vec![of_b.into(), "**/other/x.rs".into()], ..Task::default() };
            let places = places(&Work { task: Some(task), ..Work::default() });
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            let found = gathered(&dir, &places, 100).0;
            assert_eq!(found, ["AGENTS.md", "a/CLAUDE.md", "a/b/AGENTS.md"], "{of_b}");
        }
        assert_eq!(gathered(&dir, &["x.rs"], 100), (vec!["AGENTS.md".into()], none.clone()));
        assert_eq!(gathered(&dir, &["../other/x.rs"], 100), (vec!["AGENTS.md".into()], none));
        let found = Instructions::gather(dir.path(), &["a/y.rs".into()], 100);
        assert_eq!(found.general(), "# AGENTS.md (for the whole repository)\n\nroot\n\n");
        assert!(found.near().starts_with("# a/CLAUDE.md (for a/;"), "{}", found.near());
    }

    #[test]
    fn the_farthest_is_cut_first() {
        let dir = repository(&[("AGENTS.md", &"root word\n".repeat(100)), ("a/AGENTS.md", &"near word\n".repeat(10))]);
        let whole = tokens::count(&"near word\n".repeat(10));
        let (paths, clipped) = gathered(&dir, &["a/x"], whole + 10);
        assert_eq!((paths.len(), clipped), (2, vec!["AGENTS.md".to_owned()]));
        let (paths, clipped) = gathered(&dir, &["a/x"], whole);
        assert_eq!((paths, clipped), (vec!["a/AGENTS.md".to_owned()], vec!["AGENTS.md".to_owned()]));
    }

    #[test]
    fn links_out_of_the_workspace_are_not_followed() {
        let outside = repository(&[("secret", "the key")]);
        let dir = repository(&[("in/real.md", "inside")]);
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("AGENTS.md")).expect("linked");
        assert_eq!(gathered(&dir, &["x"], 100).0, Vec::<String>::new());
        std::os::unix::fs::symlink("in/real.md", dir.path().join("CLAUDE.md")).expect("linked");
        assert_eq!(gathered(&dir, &["x"], 100).0, ["CLAUDE.md"]);
    }
}
