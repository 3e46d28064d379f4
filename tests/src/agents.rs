//! Agent programs, and a server of tools, at exact versions, installed once for all tests.
//!
//! They come from npm into `target/agents/<name>-<version>`. Installing is locked against other
//! test processes and atomic: the folder is there whole or not at all. Without npm, or a registry,
//! tests that need one say so and pass, except where [`REQUIRED`] is set.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;

/// Set, a test that needs an agent program fails without it, or without a namespace to run it in.
pub const REQUIRED: &str = "LONGHAUL_REQUIRE_AGENTS";

/// Name, package, version and program of each.
const AGENTS: &[Agent] = &[
    Agent { name: "codex", package: "@openai/codex", version: "0.169.0", program: "codex" },
    Agent { name: "opencode", package: "opencode-ai", version: "1.18.33", program: "opencode" },
    Agent { name: "gemini", package: "@google/gemini-cli", version: "0.61.0", program: "gemini" },
    Agent { name: "codex-acp", package: "@agentclientprotocol/codex-acp", version: "2.6.0", program: "codex-acp" },
    Agent {
        name: "claude-agent-acp",
        package: "@agentclientprotocol/claude-agent-acp",
        version: "0.49.0",
        program: "claude-agent-acp",
    },
    Agent {
        name: "mcp-everything",
        package: "@modelcontextprotocol/server-everything",
        version: "2026.8.31",
        program: "mcp-server-everything",
    },
    Agent { name: "claude", package: "@anthropic-ai/claude-code", version: "2.1.329", program: "claude" },
];

/// An agent program as npm has it.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    program: &'static str,
}

/// What npm is told to install: `package@version` of each.
pub fn packages() -> impl Iterator<Item = String> {
    AGENTS.iter().map(|agent| format!("{}@{}", agent.package, agent.version))
}

/// Where agent programs are.
pub struct Agents;

impl Agents {
    /// The program of an agent, installed if it is not yet there.
    pub fn install(name: &str) -> Result<PathBuf> {
        let agent = AGENTS.iter().find(|agent| agent.name == name);
        let agent = agent.with_context(|| format!("no agent is called {name}"))?;
        let folder = Self::folder();
        std::fs::create_dir_all(&folder)?;
        let place = folder.join(format!("{name}-{}", agent.version));
        let program = place.join("node_modules/.bin").join(agent.program);
        if program.is_file() {
            return Ok(program);
        }
        let lock = std::fs::File::create(folder.join(format!("{name}.lock")))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        if !program.is_file() {
            agent.install(&folder, &place)?;
        }
        Ok(program)
    }

    /// The program for a test; `None`, with the reason printed, where it cannot be had and may not.
    pub fn for_test(name: &str) -> Option<PathBuf> {
        match Self::install(name) {
            Err(error) if std::env::var_os(REQUIRED).is_none() => {
                eprintln!("skipped: {error:#}");
                None
            }
            installed => Some(installed.expect("the agent program is installed")),
        }
    }

    /// A new folder for an agent's home or workspace. It is not below the system's temporary
    /// folder: agents' sandboxes treat that one specially.
    pub fn scratch() -> Result<tempfile::TempDir> {
        let base = Self::folder().join("scratch");
        std::fs::create_dir_all(&base)?;
        Ok(tempfile::Builder::new().prefix("agent-").tempdir_in(base)?)
    }

    fn folder() -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
        root.join("target/agents")
    }
}

impl Agent {
    fn install(&self, folder: &Path, place: &Path) -> Result<()> {
        let made = tempfile::Builder::new().prefix("installing-").tempdir_in(folder)?;
        std::fs::write(made.path().join("package.json"), "{\"private\":true}\n")?;
        let package = format!("{}@{}", self.package, self.version);
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts=false", "--loglevel=error", &package]);
        let out = npm.current_dir(made.path()).stdin(Stdio::null()).output().context("npm is missing")?;
        if !out.status.success() {
            bail!("npm cannot install {package}: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        // A version that npm put in place of the pinned one would be a test of something else.
        let manifest = made.path().join("node_modules").join(self.package).join("package.json");
        let found: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest)?)?;
        if found["version"] != self.version {
            bail!("npm installed {} {} instead of {}", self.package, found["version"], self.version);
        }
        std::fs::rename(made.keep(), place)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_agent_is_an_error() {
        assert!(Agents::install("nobody").is_err_and(|error| error.to_string().contains("nobody")));
    }

    #[test]
    fn names_are_unique_and_versions_exact() {
        for (number, agent) in AGENTS.iter().enumerate() {
            assert!(agent.version.split('.').all(|part| part.parse::<u32>().is_ok()), "{agent:?}");
            assert!(AGENTS[..number].iter().all(|other| other.name != agent.name), "{agent:?}");
        }
    }
}
