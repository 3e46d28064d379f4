//! A folder with a user's repository, a job file and a state folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Marks every process a world starts, so that survivors can be found.
pub const MARK: &str = "LONGHAUL_TEST_WORLD";

/// One user on one machine.
pub struct World {
    folder: tempfile::TempDir,
}

/// A finished call of the binary.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl World {
    /// A repository with these files in one commit on `main`.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let world = Self { folder: scratch() };
        std::fs::create_dir_all(world.repo()).expect("a folder");
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.git(&["config", "user.name", "Ada"]);
        world.git(&["config", "user.email", "ada@example.org"]);
        world.commit(files, "start");
        world
    }

    /// Leaves the folder where it is, for a look at what went wrong.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// The user's checkout.
    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// Where Longhaul keeps its state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The world's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes files of the repository and commits them.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    /// Writes a file of the repository without committing it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().expect("below the repository")).expect("a folder");
        std::fs::write(path, text).expect("writable");
    }

    /// Writes the job file beside the repository.
    pub fn job(&self, text: &str) {
        std::fs::write(self.folder.path().join("longhaul.toml"), text).expect("writable");
    }

    /// Runs git in the user's repository; gives stdout, trimmed.
    pub fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git").arg("-C").arg(self.repo()).args(args).output().expect("git");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The binary with arguments, ready to start in the world's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("LONGHAUL_STATE_DIR", self.state())
            .env(MARK, self.folder.path())
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn longhaul(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().expect("the binary starts"))
    }

    /// Runs the binary and expects an exit code.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.longhaul(args);
        assert_eq!(ran.code, code, "longhaul {args:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Starts the binary with its stdout piped.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// The status as JSON.
    pub fn status(&self) -> Value {
        let ran = self.expect(0, &["status", "--json"]);
        serde_json::from_str(&ran.stdout).expect("one object")
    }

    /// A file on the result's branch.
    pub fn on_branch(&self, branch: &str, path: &str) -> String {
        self.git(&["show", &format!("{branch}:{path}")])
    }

    /// The only branch below `longhaul/`.
    pub fn branch(&self) -> String {
        let branches = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/longhaul/"]);
        assert_eq!(branches.lines().count(), 1, "{branches:?}");
        branches
    }
}

fn scratch() -> tempfile::TempDir {
    // Not below the system's temporary folder: sandboxes of agents treat that one specially.
    let base = binary().with_file_name("worlds");
    std::fs::create_dir_all(&base).expect("a folder");
    tempfile::Builder::new().prefix("world-").tempdir_in(base).expect("a folder")
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The binary beside the test: one build form builds both.
pub fn binary() -> PathBuf {
    let exe = std::env::current_exe().expect("known");
    // Tests are in target/<profile>/deps, programs beside the binary.
    let beside = exe.with_file_name("longhaul");
    let above = exe.parent().and_then(Path::parent).expect("target/<profile>/deps").join("longhaul");
    let binary = if beside.is_file() { beside } else { above };
    assert!(binary.is_file(), "{} is not built: build with --workspace --all-targets", binary.display());
    binary
}
