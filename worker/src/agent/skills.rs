//! Skills of a repository: folders with a `SKILL.md`, of which an agent is told the name, what for
//! and where, and which it reads when it needs one. Only folders that the job names count.

use std::path::Path;

/// The file that makes a folder a skill.
const FILE: &str = "SKILL.md";

/// Skills that are listed; more are left out.
const SKILLS_MAX: usize = 50;

/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 400;

/// Larger files are no skills, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// What for.
    pub description: String,
    /// Its file in the repository.
    pub path: String,
}

/// The skills in these folders of a workspace, in order of their paths: each folder itself, and
/// those right below it. Reads files: blocks.
pub fn gather(workspace: &Path, folders: &[String]) -> Vec<Skill> {
    let Ok(root) = workspace.canonicalize() else { return Vec::new() };
    let mut found: Vec<Skill> = Vec::new();
    for folder in folders.iter().map(|folder| folder.trim_matches('/')) {
        let mut paths = vec![format!("{folder}/{FILE}")];
        let below = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let names = below.map(|entry| entry.file_name().to_string_lossy().into_owned());
        paths.extend(names.map(|name| format!("{folder}/{name}/{FILE}")));
        found.extend(paths.into_iter().filter_map(|path| read(&root, path)));
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found.dedup();
    found.truncate(SKILLS_MAX);
    found
}

/// As a section of a prompt; empty without skills.
pub fn render(skills: &[Skill]) -> String {
    if skills.is_empty() {
        return String::new();
    }
    let line = |skill: &Skill| format!("- {}: {} ({})\n", skill.name, skill.description, skill.path);
    let lines: String = skills.iter().map(line).collect();
    format!("# Skills\n\nInstructions for special work. Where one fits, read its file first.\n\n{lines}\n")
}

fn read(root: &Path, path: String) -> Option<Skill> {
    // A link is followed as long as it stays inside.
    let real = root.join(&path).canonicalize().ok().filter(|real| real.starts_with(root))?;
    let size = std::fs::metadata(&real).ok().filter(std::fs::Metadata::is_file)?.len();
    if size > FILE_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8_lossy(&std::fs::read(&real).ok()?).into_owned();
    let head = text.strip_prefix("---\n")?.split("\n---").next()?;
    let value = |key: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let plain = line.trim().trim_matches(['"', '\'']);
        (!plain.is_empty()).then(|| longhaul_common::text::clip_head(plain, DESCRIPTION_BYTES_MAX).to_owned())
    };
    Some(Skill { name: value("name")?, description: value("description")?, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_folders_and_those_below_are_listed_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("ws/skills/b/SKILL.md", "---\nname: b\ndescription: \"does: b\"\n---\nSteps.\n"),
            ("ws/skills/a/SKILL.md", "---\ndescription: does a\nname: a\n---\n"),
            ("ws/skills/none/SKILL.md", "no head\n"),
            ("ws/skills/nameless/SKILL.md", "---\ndescription: x\n---\n"),
            ("ws/skills/a/deeper/SKILL.md", "---\nname: deeper\ndescription: x\n---\n"),
            ("ws/one/SKILL.md", "---\nname: one\ndescription: alone\n---\n"),
            ("ws/other/SKILL.md", "---\nname: other\ndescription: not named\n---\n"),
            ("outside/SKILL.md", "---\nname: out\ndescription: outside\n---\n"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("ws/skills/out")).expect("linked");
        let folders = ["skills/", "one", "gone", "skills"].map(str::to_owned);
        let found = gather(&dir.path().join("ws"), &folders);
        assert_eq!(
            render(&found).lines().skip(4).collect::<Vec<_>>(),
            ["- one: alone (one/SKILL.md)", "- a: does a (skills/a/SKILL.md)", "- b: does: b (skills/b/SKILL.md)", ""]
        );
        assert_eq!(render(&[]), "");
    }
}
