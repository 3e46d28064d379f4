//! The same server as a process, for a network that the test itself is not in.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::record::Recorded;
use crate::namespace::Namespace;

/// A `scripted-model` in a namespace; it dies with the namespace.
pub struct ModelProcess {
    child: Child,
    port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl ModelProcess {
    /// Starts one with a script as JSON.
    pub fn start(namespace: &Namespace, script: &str) -> Result<Self> {
        super::Script::parse(script)?;
        let folder = tempfile::Builder::new().prefix("longhaul-model-").tempdir()?;
        let file = folder.path().join("script.json");
        let log = folder.path().join("requests.jsonl");
        std::fs::write(&file, script)?;
        let mut command: Command =
            namespace.command(crate::world::binary().with_file_name("scripted-model"), folder.path());
        command.arg("--script").arg(&file).args(["--port", "0", "--log"]).arg(&log);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start scripted-model")?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut said)?;
        let port = said.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("scripted-model does not listen; it said {said:?}"))?;
        Ok(Self { child, port, log, _folder: folder })
    }

    /// Where it listens inside the namespace: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request it has recorded.
    pub fn requests(&self) -> Result<Vec<Recorded>> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).context("a recorded request")).collect()
    }
}

impl Drop for ModelProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
