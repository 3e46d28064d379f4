//! Plans of real repositories, made with git in temporary folders.

mod carry;
mod characterise;
mod errors;
mod expansion;
mod keys;
mod render;
mod trust;

use std::path::{Path, PathBuf};

use longhaul_common::git::Git;
use longhaul_common::spec::{Problems, parse};
use longhaul_proto::{Node, Plan};

use super::{ExpandOptions, expand};

/// A repository with a job file beside its files.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// With these files committed.
    fn new(files: &[(&str, &str)]) -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let root = world.root();
        Git::at(root.join(".git")).run(["init", "-q", "-b", "main", &root.display().to_string()]).expect("git init");
        for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.org")] {
            world.git(&["config", key, value]);
        }
        world.commit(files);
        world
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn git(&self, args: &[&str]) {
        Git::at(self.root().join(".git")).with_work_tree(self.root()).run(args).expect("git runs");
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    fn commit(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x", "--allow-empty"]);
    }

    /// The plan of a job file that lies in the repository's root.
    fn expand(&self, text: &str) -> Result<Plan, Problems> {
        self.expand_with(text, &options())
    }

    fn expand_with(&self, text: &str, options: &ExpandOptions) -> Result<Plan, Problems> {
        let file = parse(&self.root().join("longhaul.toml"), text)?;
        expand(&file, options)
    }

    #[track_caller]
    fn plan(&self, text: &str) -> Plan {
        self.expand(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
    }

    /// Problems without the temporary path.
    #[track_caller]
    fn problems(&self, text: &str) -> Vec<String> {
        let problems = self.expand(text).expect_err("it is wrong");
        let root = self.root().canonicalize().expect("it exists").display().to_string();
        let given = self.root().display().to_string();
        let clean = |problem: &longhaul_common::spec::Problem| {
            problem.to_string().replace(&root, "ROOT").replace(&given, "ROOT").replace("ROOT/longhaul.toml:", "")
        };
        problems.iter().map(clean).collect()
    }
}

fn options() -> ExpandOptions {
    ExpandOptions::new("job".parse().expect("a job name"))
}

/// Nine lines every job needs; tests add from line 10 on.
const HEAD: &str = r#"goal = "g"
[[repo]]
name = "r"
path = "."
[agent.go]
kind = "command"
run = "true"
[gate]
run = "true"
"#;

fn job(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

fn map(id: &str, files: &str, rest: &str) -> String {
    format!("[[map]]\nid = '{id}'\nfiles = '{files}'\nladder = ['go']\n{rest}\n")
}

fn task(id: &str, rest: &str) -> String {
    format!("[[task]]\nid = '{id}'\nladder = ['go']\n{rest}\n")
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.nodes.iter().map(|node| node.id.as_str()).collect()
}

#[track_caller]
fn node<'a>(plan: &'a Plan, id: &str) -> &'a Node {
    plan.nodes.iter().find(|node| node.id == id).unwrap_or_else(|| panic!("no {id} in {:?}", ids(plan)))
}

fn after<'a>(plan: &'a Plan, id: &str) -> Vec<&'a str> {
    node(plan, id).deps.iter().map(|&dep| plan.nodes[dep as usize].id.as_str()).collect()
}

fn exists(path: &Path) -> bool {
    path.exists()
}
