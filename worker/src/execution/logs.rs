//! The logs and traces that become part of a result.

use std::path::PathBuf;
use std::sync::PoisonError;

use longhaul_proto::LogFile;

use super::Execution;

/// Ending of a trace's name.
const TRACE: &str = "trace.jsonl.zst";

impl Execution {
    /// Writes down what held for the programs of this assignment, and what they asked for in vain.
    pub async fn record_boundary(&self) -> Option<LogFile> {
        let (held, open) = self.boundary.sentence();
        let mut text = format!("{held}\n");
        if !open.is_empty() {
            text.push_str(&format!("not enforced: {open}\n"));
        }
        for name in self.shut.iter().filter(|name| self.slot.ws().join(name).exists()) {
            text.push_str(&format!("hidden from agents, for repo.trust does not name it: {name}\n"));
        }
        for host in self.boundary.refused() {
            text.push_str(&format!("refused, for policy.hosts does not list it: {host}\n"));
        }
        let text = self.secrets.redact_text(&text);
        let name = self.log_name("sandbox", "log");
        let path = self.logs_dir.join(&name);
        let (hash, bytes) = (blake3::hash(text.as_bytes()).as_bytes().to_vec(), text.len() as u64);
        match tokio::task::spawn_blocking(move || std::fs::write(path, text)).await {
            Ok(Ok(())) => Some(LogFile { name, hash, bytes }),
            // A full disk has words of its own; a record is no reason to lose a result.
            _ => None,
        }
    }

    /// `03-check`: in order of their start, with nothing a name could break.
    pub(super) fn log_name(&self, name: &str, ending: &str) -> String {
        let number = std::fs::read_dir(&self.logs_dir).map_or(0, Iterator::count);
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        format!("{:02}-{name}.{ending}", number + 1)
    }

    /// A trace among the logs: its name, and where to write it.
    pub fn trace_file(&self, name: &str) -> (String, PathBuf) {
        let name = self.log_name(name, TRACE);
        let path = self.logs_dir.join(&name);
        (name, path)
    }

    /// How many traces are part of the result so far.
    pub fn traces(&self) -> usize {
        self.logs().iter().filter(|log| log.name.ends_with(TRACE)).count()
    }

    /// Makes a file among the logs, which is whole now, part of the result.
    pub async fn keep_file(&self, name: String, path: PathBuf) {
        let read = tokio::task::spawn_blocking(move || std::fs::read(path));
        if let Ok(Ok(content)) = read.await {
            let hash = blake3::hash(&content).as_bytes().to_vec();
            let file = LogFile { name, hash, bytes: content.len() as u64 };
            self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }

    /// Logs so far.
    pub fn logs(&self) -> Vec<LogFile> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
