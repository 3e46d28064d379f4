//! Programs whose configuration is known: how each is started, what its home holds, and where its
//! models are said to be.
//!
//! With a provider an attempt has a home of its own, written anew, and the program knows the gateway
//! and its throwaway key alone. Without one it has the user's home with the login that is there; then
//! nothing of it is written and its use is only observed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

/// Settings of Gemini CLI that any others of its win over, in the folder for an attempt's home.
const GEMINI_DEFAULTS: &str = "gemini-defaults.json";

/// Characters of the date in the name of a session of Gemini CLI: `2026-11-21T19-27`.
const GEMINI_DATE: usize = 16;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Codex, as its App Server.
    Codex,
    /// Codex behind its adapter.
    CodexAcp,
    /// Claude Code behind its adapter.
    ClaudeAgentAcp,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
    /// One that nothing is known of.
    Unknown,
}

/// Where models are, and which.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// The gateway's address, without a version.
    pub url: String,
    /// Its throwaway key.
    pub key: String,
    /// The wire format, as the job file writes it.
    pub api: String,
    /// The model; empty leaves the choice to the program.
    pub model: String,
}

/// The mode that a job wants of a program, and whether a sandbox of its own can be drawn within ours.
#[derive(Clone, Copy, Debug)]
pub struct Mode<'a> {
    /// As the job file writes it.
    pub wanted: &'a str,
    /// Whether it can.
    pub nests: bool,
}

impl Mode<'_> {
    /// Its own default has a model decide what is allowed.
    fn of_codex_acp(self) -> String {
        let mode = match self.wanted {
            _ if !self.nests => "agent-full-access",
            "" => "workspace-write",
            own => own,
        };
        mode.to_owned()
    }
}

/// What a program's home holds, and its variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Paths in the home, with their content.
    pub files: Vec<(String, String)>,
    /// Variables beyond those that every agent has.
    pub env: BTreeMap<OsString, OsString>,
}

impl Program {
    /// By its name in a plan.
    pub fn of(preset: &str) -> Self {
        match preset {
            "codex-acp" => Self::CodexAcp,
            "claude-agent-acp" => Self::ClaudeAgentAcp,
            "gemini" => Self::Gemini,
            "opencode" => Self::Opencode,
            _ => Self::Unknown,
        }
    }

    /// What starts it where the job file names no command; nothing for one that is unknown.
    pub fn command(self, model: &str) -> Vec<OsString> {
        let mut argv: Vec<OsString> = match self {
            Self::Codex => vec!["codex".into(), "app-server".into()],
            Self::CodexAcp => vec!["codex-acp".into()],
            Self::ClaudeAgentAcp => vec!["claude-agent-acp".into()],
            Self::Gemini => vec!["gemini".into(), "--acp".into()],
            Self::Opencode => vec!["opencode".into(), "acp".into()],
            Self::Unknown => Vec::new(),
        };
        if self == Self::Gemini && !model.is_empty() {
            argv.extend(["-m".into(), model.into()]);
        }
        argv
    }

    /// Whether a session of it goes on in another folder. Claude Code and Gemini file theirs by the
    /// folder; opencode loads one, and then waits for ever for answers to its questions (1.18.33).
    pub fn moves(self) -> bool {
        matches!(self, Self::Codex | Self::CodexAcp)
    }

    /// What a kept file of its sessions is called when it is put back. Gemini CLI writes a loaded session to a
    /// new file whose name is of the minute; in the minute in which the session began that is the old file, and
    /// it is emptied before it is read (0.61.0). It finds sessions by their content.
    pub fn restored(self, path: &str) -> String {
        let Some((folder, name)) = path.rsplit_once('/').filter(|_| self == Self::Gemini) else {
            return path.to_owned();
        };
        let dated = name.strip_prefix("session-").filter(|_| folder.ends_with("/chats"));
        match dated.and_then(|rest| rest.get(GEMINI_DATE..)) {
            Some(rest) => format!("{folder}/session-2000-01-01T00-00{rest}"),
            None => path.to_owned(),
        }
    }

    /// Where in its home its sessions are.
    pub fn sessions(self) -> &'static [&'static str] {
        match self {
            Self::Codex | Self::CodexAcp => &[".codex/sessions"],
            Self::ClaudeAgentAcp => &[".claude/projects"],
            Self::Gemini => &[".gemini/tmp", ".gemini/projects.json"],
            Self::Opencode => &[
                ".local/share/opencode/storage",
                ".local/share/opencode/opencode.db",
                ".local/share/opencode/opencode.db-wal",
            ],
            Self::Unknown => &[],
        }
    }

    /// What below a user's home holds its login and its state.
    pub fn logins(self, home: Option<PathBuf>) -> Vec<PathBuf> {
        let parts: &[&str] = match self {
            Self::Codex | Self::CodexAcp => &[".codex"],
            Self::ClaudeAgentAcp => &[".claude", ".claude.json"],
            Self::Gemini => &[".gemini"],
            Self::Opencode => {
                &[".local/share/opencode", ".local/state/opencode", ".config/opencode", ".cache/opencode"]
            }
            Self::Unknown => &[],
        };
        home.into_iter().flat_map(|home| parts.iter().map(move |part| home.join(part))).collect()
    }

    /// Whether the title of a command that it asks leave for is its command line; it says that nowhere else
    /// (Gemini CLI 0.61.0). Others may write there what they like.
    pub fn titled(self) -> bool {
        self == Self::Gemini
    }

    /// What holds for it with a login as with a provider: its mode, and that it does not read by itself what the
    /// repository tells agents, which it is told within a limit, or what sets variables of its process. `configured`
    /// says that the job trusts settings of the repository.
    pub fn switches(self, home: &Path, mode: Mode<'_>, configured: bool) -> Home {
        let mut made = Home::default();
        let mut set = |name: &str, value: OsString| drop(made.env.insert(name.into(), value));
        match self {
            Self::CodexAcp => {
                set("INITIAL_AGENT_MODE", mode.of_codex_acp().into());
                set("CODEX_CONFIG", json!({"project_doc_max_bytes": 0}).to_string().into());
            }
            Self::ClaudeAgentAcp => set("CLAUDE_CODE_DISABLE_CLAUDE_MDS", "1".into()),
            Self::Opencode => {
                set("OPENCODE_DISABLE_CLAUDE_CODE", "1".into());
                set("OPENCODE_DISABLE_EXTERNAL_SKILLS", "1".into());
                // This one is for its settings and for AGENTS.md at once.
                if !configured {
                    set("OPENCODE_DISABLE_PROJECT_CONFIG", "1".into());
                }
            }
            Self::Gemini => {
                set("GEMINI_CLI_SYSTEM_DEFAULTS_PATH", home.join(GEMINI_DEFAULTS).into());
                let defaults = json!({"advanced": {"ignoreLocalEnv": true}});
                made.files.push((GEMINI_DEFAULTS.into(), defaults.to_string()));
            }
            Self::Codex | Self::Unknown => {}
        }
        made
    }

    /// The home of an attempt whose models are behind the gateway.
    pub fn home(self, home: &Path, models: &Models) -> Home {
        let Models { url, key, .. } = models;
        let mut made = Home::default();
        let mut set = |name: &str, value: OsString| drop(made.env.insert(name.into(), value));
        set("HOME", home.into());
        for (name, folder) in [
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_STATE_HOME", ".local/state"),
        ] {
            set(name, home.join(folder).into());
        }
        match self {
            Self::Codex | Self::CodexAcp => {
                set("CODEX_HOME", home.join(".codex").into());
                set("LONGHAUL_MODEL_KEY", key.into());
                set("NO_BROWSER", "1".into());
                made.files.push((".codex/config.toml".into(), codex(models)));
            }
            Self::ClaudeAgentAcp => {
                set("CLAUDE_CONFIG_DIR", home.join(".claude").into());
                claude(models).into_iter().for_each(|(name, value)| set(name, value.into()));
            }
            Self::Gemini => {
                set("GEMINI_API_KEY", key.into());
                set("GOOGLE_GEMINI_BASE_URL", url.into());
                set("GEMINI_CLI_TRUST_WORKSPACE", "true".into());
                let settings = json!({
                    "security": {"auth": {"selectedType": "gemini-api-key"}},
                    "general": {"enableAutoUpdate": false},
                    "privacy": {"usageStatisticsEnabled": false},
                    "telemetry": {"enabled": false},
                });
                made.files.push((".gemini/settings.json".into(), settings.to_string()));
            }
            Self::Opencode => {
                set("OPENCODE_DISABLE_AUTOUPDATE", "1".into());
                set("OPENCODE_DISABLE_MODELS_FETCH", "1".into());
                made.files.push((".config/opencode/opencode.json".into(), opencode(models)));
            }
            Self::Unknown => {
                unknown(models).into_iter().for_each(|(name, value)| set(name, value.into()));
            }
        }
        made
    }
}

/// Claude Code's variables.
fn claude(models: &Models) -> Vec<(&'static str, String)> {
    let switches = [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_TELEMETRY",
        "DISABLE_ERROR_REPORTING",
        "IS_SANDBOX",
    ];
    let Models { url, key, model, .. } = models;
    let mut set = vec![("ANTHROPIC_BASE_URL", url.clone()), ("ANTHROPIC_API_KEY", key.clone())];
    set.extend(switches.map(|name| (name, "1".to_owned())));
    set.extend((!model.is_empty()).then(|| ("ANTHROPIC_MODEL", model.clone())));
    set
}

/// What a program that is not known is told: our own names, and those that most programs look for.
fn unknown(models: &Models) -> Vec<(&'static str, String)> {
    let Models { url, key, model, api } = models;
    let (address, secret) = match api.as_str() {
        "anthropic-messages" => ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
        "gemini" => ("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
        _ => ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    };
    let versioned = if address == "OPENAI_BASE_URL" { format!("{url}/v1") } else { url.clone() };
    vec![
        ("LONGHAUL_MODEL_URL", url.clone()),
        ("LONGHAUL_MODEL_KEY", key.clone()),
        ("LONGHAUL_MODEL", model.clone()),
        (address, versioned),
        (secret, key.clone()),
    ]
}

/// Codex's configuration. Without `analytics` off each exit without a network takes seconds longer.
fn codex(models: &Models) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let model = if models.model.is_empty() { String::new() } else { format!("model = {}\n", quoted(&models.model)) };
    let url = quoted(&format!("{}/v1", models.url));
    format!(
        "{model}model_provider = \"longhaul\"\napproval_policy = \"on-request\"\nsandbox_mode = \"workspace-write\"\n\
         check_for_update_on_startup = false\nweb_search = \"disabled\"\n[analytics]\nenabled = false\n[feedback]\nenabled = false\n\
         [model_providers.longhaul]\nname = \"longhaul\"\nbase_url = {url}\nwire_api = \"responses\"\n\
         env_key = \"LONGHAUL_MODEL_KEY\"\nrequest_max_retries = 2\nstream_max_retries = 2\n"
    )
}

/// opencode's configuration: it asks for everything, so that each use is on record.
fn opencode(models: &Models) -> String {
    let model = if models.model.is_empty() { "default" } else { &models.model };
    let name = format!("longhaul/{model}");
    let mut known = serde_json::Map::new();
    known.insert(
        model.to_owned(),
        json!({"name": model, "tool_call": true, "limit": {"context": 128_000, "output": 16_384}}),
    );
    json!({
        "autoupdate": false,
        "share": "disabled",
        "model": name,
        "small_model": name,
        "enabled_providers": ["longhaul"],
        "provider": {"longhaul": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "longhaul",
            "options": {"baseURL": format!("{}/v1", models.url), "apiKey": models.key},
            "models": known,
        }},
        "permission": {"edit": "ask", "bash": "ask", "webfetch": "ask"},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Models {
        Models { url: "http://127.0.0.1:9".into(), key: "lh-k".into(), api: "openai-chat".into(), model: "m\"1".into() }
    }

    #[test]
    fn a_session_of_gemini_is_put_back_under_another_minute() {
        let kept = ".gemini/tmp/ws/chats/session-2026-11-21T19-27-2cb6a648.jsonl";
        assert_eq!(Program::Gemini.restored(kept), ".gemini/tmp/ws/chats/session-2000-01-01T00-00-2cb6a648.jsonl");
        for (program, path) in [
            (Program::Codex, kept),
            (Program::Gemini, ".gemini/projects.json"),
            (Program::Gemini, ".gemini/tmp/ws/chats/session-x"),
            (Program::Gemini, ".gemini/tmp/ws/.project_root"),
        ] {
            assert_eq!(program.restored(path), path);
        }
    }

    #[test]
    fn every_program_is_told_of_the_gateway_alone() {
        let home = Path::new("/slot/home");
        for program in [
            Program::Codex,
            Program::CodexAcp,
            Program::ClaudeAgentAcp,
            Program::Gemini,
            Program::Opencode,
            Program::Unknown,
        ] {
            let made = program.home(home, &models());
            let env: String =
                made.env.iter().map(|(name, value)| format!("{}={}\n", name.display(), value.display())).collect();
            let all: String = made.files.iter().map(|(_, content)| content.as_str()).collect::<String>() + &env;
            for wanted in ["http://127.0.0.1:9", "lh-k", "HOME=/slot/home\n"] {
                assert!(all.contains(wanted), "{program:?} lacks {wanted}: {all}");
            }
            assert!(made.files.iter().all(|(path, _)| !path.starts_with('/') && !path.contains("..")));
        }
    }

    #[test]
    fn names_of_models_cannot_break_a_configuration() {
        let made = Program::Opencode.home(Path::new("/h"), &models());
        let config: serde_json::Value = serde_json::from_str(&made.files[0].1).expect("JSON");
        assert_eq!(config["model"], "longhaul/m\"1");
        let made = Program::Codex.home(Path::new("/h"), &models());
        assert!(made.files[0].1.starts_with("model = \"m\\\"1\"\n"), "{}", made.files[0].1);
    }

    #[test]
    fn a_mode_holds_with_a_login_too() {
        let mode = |wanted, nests| {
            let made = Program::CodexAcp.switches(Path::new("/h"), Mode { wanted, nests }, false);
            made.env.get(std::ffi::OsStr::new("INITIAL_AGENT_MODE")).cloned().expect("set")
        };
        assert_eq!(mode("read-only", true), "read-only");
        assert_eq!(mode("", true), "workspace-write");
        assert_eq!(mode("read-only", false), "agent-full-access", "there is no sandbox in which it could ask");
    }

    #[test]
    fn commands_are_the_usual_ones() {
        assert_eq!(Program::of("gemini").command("gemini-x"), ["gemini", "--acp", "-m", "gemini-x"]);
        assert_eq!(Program::of("opencode").command("x"), ["opencode", "acp"]);
        assert!(Program::of("").command("x").is_empty() && Program::of("").sessions().is_empty());
    }
}
