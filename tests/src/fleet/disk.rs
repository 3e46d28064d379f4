//! A small disk of one process: a tmpfs in a mount namespace of its own, which outlives the process
//! and ends with the test. Needs root.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Name of the file that takes all space.
const FILL: &str = "all-the-space";

/// The namespace's holder, and where the disk is in it.
pub struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// Whether this user may make one; otherwise why not.
    pub fn possible() -> Result<(), String> {
        let tried = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        match tried {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err("mount namespaces need root here".to_owned()),
            Err(error) => Err(format!("unshare (util-linux) cannot be run: {error}")),
        }
    }

    /// Mounts one of so many bytes.
    pub fn mount(at: &Path, bytes: u64) -> anyhow::Result<Self> {
        let script = format!(
            "mount -t tmpfs -o size={bytes},mode=0755 longhaul-test {} && echo mounted && exec sleep infinity",
            shell_words(at)
        );
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux) makes the mount namespace")?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "mounted" {
            drop(holder.kill());
            bail!("no small disk could be mounted: {:?}", holder.wait()?);
        }
        Ok(Self { holder, at: at.to_owned() })
    }

    /// The same command, run where the disk is mounted.
    pub fn inside(&self, command: Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        if let Some(folder) = command.get_current_dir() {
            inside.arg(format!("--wd={}", folder.display())).current_dir(folder);
        }
        inside.arg("--").arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside
    }

    /// A path of the disk as this process sees it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let inner = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inner)
    }

    /// Takes all space that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let path = self.seen(&self.at).join(FILL);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let block = vec![0_u8; 64 << 10];
        // Smaller and smaller, down to the last page.
        for size in [block.len(), 4 << 10, 512, 1] {
            while std::io::Write::write(&mut file, &block[..size]).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    /// Gives the space back.
    pub fn free(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.seen(&self.at).join(FILL)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Copies what is on it to a folder outside.
    pub fn copy_out(&self, to: &Path) -> anyhow::Result<()> {
        let status = Command::new("cp").arg("-a").arg(self.seen(&self.at)).arg(to).status()?;
        ensure!(status.success(), "the small disk could not be copied");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// A path as one word of a shell.
fn shell_words(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
