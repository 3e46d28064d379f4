//! Settings that stay the same from call to call: where the server is, what a worker offers, how
//! NATS is reached.
//!
//! A flag wins over the environment (`LONGHAUL_SECTION__KEY`), that over the user's configuration
//! file, that over the default. No file of a repository takes part: whoever can commit to one must
//! not be able to say where a token is sent. Unknown keys and variables are refused, because one
//! that is misspelt would silently do nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use longhaul_common::server::{ServerAccess, is_private};
use longhaul_common::spec::did_you_mean;
use longhaul_common::text::without_user;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::exit::Stop;

/// Largest token file in bytes.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// The value of `server.url` that means this machine, whatever a lower layer says.
const LOCAL: &str = "local";

/// A key of the configuration file.
#[derive(Debug)]
struct Key {
    /// `section.key`.
    name: &'static str,
    /// A variable besides `LONGHAUL_SECTION__KEY`.
    alias: &'static str,
    default: &'static str,
    /// Relative paths in a file are relative to that file.
    path: bool,
}

const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, alias: "", default, path: false }
}

const fn path(name: &'static str) -> Key {
    Key { name, alias: "", default: "", path: true }
}

const KEYS: [Key; 35] = [
    Key { name: "server.url", alias: "LONGHAUL_SERVER", default: "", path: false },
    path("server.token_file"),
    path("server.ca"),
    path("server.cert"),
    path("server.key"),
    key("worker.name", ""),
    path("worker.root"),
    key("worker.slots", ""),
    key("worker.gates", "1"),
    key("worker.labels", ""),
    key("worker.listen", ""),
    key("worker.drain_timeout", "10m"),
    key("worker.cpus", ""),
    key("worker.memory", ""),
    key("worker.disk_free", "256m"),
    key("worker.slots_max", "64g"),
    key("worker.mirrors_max", "20g"),
    key("worker.sandbox", "best-effort"),
    key("worker.hosts", ""),
    key("worker.processes_max", "4096"),
    key("worker.open_files_max", "65536"),
    key("worker.file_max", "8g"),
    key("worker.address_max", ""),
    key("worker.attempt_memory", ""),
    path("worker.record"),
    path("worker.replay"),
    key("nats.url", ""),
    key("nats.fleet", "default"),
    path("nats.ca"),
    path("nats.cert"),
    path("nats.key"),
    path("nats.creds"),
    path("nats.nkey"),
    path("nats.token_file"),
    key("nats.replicas", "1"),
];

/// The configuration file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    server: ServerTable,
    worker: WorkerTable,
    nats: NatsTable,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ServerTable {
    url: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct WorkerTable {
    name: Option<String>,
    root: Option<PathBuf>,
    slots: Option<u32>,
    gates: Option<u32>,
    labels: Option<Vec<String>>,
    listen: Option<String>,
    drain_timeout: Option<String>,
    cpus: Option<u32>,
    memory: Option<String>,
    disk_free: Option<String>,
    slots_max: Option<String>,
    mirrors_max: Option<String>,
    sandbox: Option<String>,
    hosts: Option<Vec<String>>,
    processes_max: Option<u64>,
    open_files_max: Option<u64>,
    file_max: Option<String>,
    address_max: Option<String>,
    attempt_memory: Option<String>,
    record: Option<PathBuf>,
    replay: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct NatsTable {
    url: Option<String>,
    fleet: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    creds: Option<PathBuf>,
    nkey: Option<PathBuf>,
    token_file: Option<PathBuf>,
    replicas: Option<u32>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Variable(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One resolved setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// `section.key`.
    pub name: &'static str,
    /// As text; empty for none. Lists are joined by commas.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

impl Setting {
    /// The value as it may be shown: addresses without the passwords they may hold.
    pub fn shown(&self) -> String {
        match self.name {
            "nats.url" | "server.url" => self.value.split(',').map(without_user).collect::<Vec<_>>().join(","),
            _ => self.value.clone(),
        }
    }
}

/// Every setting, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    all: Vec<Setting>,
    token: Option<String>,
}

impl Settings {
    /// From the environment, the user's file and the global flags.
    pub fn load(global: &Global) -> anyhow::Result<Self> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("LONGHAUL_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let variables: Vec<(String, String)> = variables.collect();
        let mut settings = Self::from(config_path().as_deref(), &variables)?;
        settings.flag("server.url", global.server.clone());
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let files = [
            ("server.token_file", &global.token_file),
            ("server.ca", &global.ca),
            ("server.cert", &global.cert),
            ("server.key", &global.key),
        ];
        for (name, path) in files {
            settings.flag(name, shown(path));
        }
        Ok(settings)
    }

    fn from(file: Option<&Path>, variables: &[(String, String)]) -> anyhow::Result<Self> {
        refuse_unknown(variables)?;
        let (table, folder) = read(file)?;
        let resolve = |key: &Key| {
            let own = variable_of(key.name);
            let names = [own.as_str(), key.alias];
            let named = names
                .iter()
                .find_map(|name| variables.iter().find(|(variable, value)| variable == name && !value.is_empty()));
            if let Some((name, value)) = named {
                return Setting { name: key.name, value: value.clone(), origin: Origin::Variable(name.clone()) };
            }
            let (section, entry) = key.name.split_once('.').expect("every key has a section");
            let value = text(&table[section][entry]);
            if value.is_empty() {
                return Setting { name: key.name, value: key.default.to_owned(), origin: Origin::Default };
            }
            let value = if key.path { folder.join(&value).display().to_string() } else { value };
            Setting { name: key.name, value, origin: Origin::File(file.unwrap_or(Path::new("")).to_owned()) }
        };
        let token = variables.iter().find(|(name, _)| name == "LONGHAUL_TOKEN").map(|(_, value)| value.clone());
        Ok(Self { all: KEYS.iter().map(resolve).collect(), token: token.filter(|token| !token.is_empty()) })
    }

    /// Puts a flag over what the other layers say; `None` leaves them.
    pub fn flag(&mut self, name: &str, value: Option<String>) {
        let (Some(value), Some(setting)) = (value, self.all.iter_mut().find(|setting| setting.name == name)) else {
            return;
        };
        *setting = Setting { name: setting.name, value, origin: Origin::Flag };
    }

    /// All of them, in a fixed order.
    pub fn all(&self) -> &[Setting] {
        &self.all
    }

    fn setting(&self, name: &str) -> &Setting {
        self.all.iter().find(|setting| setting.name == name).expect("a name from the list of keys")
    }

    /// A setting as text, where it is set.
    pub fn text(&self, name: &str) -> Option<&str> {
        Some(self.setting(name).value.as_str()).filter(|value| !value.is_empty())
    }

    /// A setting that is a path; absolute, for git runs in folders of its own.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|text| std::path::absolute(text).unwrap_or_else(|_| text.into()))
    }

    /// A setting of a form of its own; an error says where the value came from.
    pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |error: T::Err| {
            let cause = error.to_string();
            Stop::usage(format!("{name} = {text:?} ({}): {}", self.setting(name).origin, cause.replace('\n', "; ")))
        };
        text.parse().map(Some).map_err(wrong)
    }

    /// The server to speak to; `None` for this machine alone.
    pub fn server(&self) -> anyhow::Result<Option<ServerAccess>> {
        let Some(url) = self.text("server.url").filter(|url| *url != LOCAL) else { return Ok(None) };
        let access = ServerAccess {
            url: url.trim_end_matches('/').to_owned(),
            token: match &self.token {
                Some(token) => Some(token.clone()),
                None => self.secret("server.token_file")?,
            },
            ca: self.path("server.ca"),
            cert: self.path("server.cert"),
            key: self.path("server.key"),
        };
        let shown = without_user(url);
        if shown != url {
            return Err(Stop::usage(format!(
                "server.url names a user before {shown}, which no server here asks for: use --token-file"
            )));
        }
        if access.token.is_some() && !is_private(&access.url) {
            return Err(Stop::usage(format!(
                "the token would travel in clear text to {shown}: use https://, or a tunnel to 127.0.0.1"
            )));
        }
        Ok(Some(access))
    }

    /// The content of a file that holds a secret, trimmed.
    pub fn secret(&self, name: &str) -> anyhow::Result<Option<String>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let about = || format!("cannot read {name} ({})", path.display());
        let bytes = std::fs::metadata(&path).with_context(about)?.len();
        if bytes > TOKEN_BYTES_MAX {
            return Err(Stop::usage(format!("{} has {bytes} bytes, which is no token", path.display())));
        }
        let text = std::fs::read_to_string(&path).with_context(about)?;
        match text.trim() {
            "" => Err(Stop::usage(format!("{} is empty: `longhaul token NAME` makes a token", path.display()))),
            token => Ok(Some(token.to_owned())),
        }
    }
}

/// Where the user's configuration file lies, there or not.
pub fn config_path() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    if let Some(path) = std::env::var_os("LONGHAUL_CONFIG").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("longhaul/config.toml"))
}

fn variable_of(name: &str) -> String {
    format!("LONGHAUL_{}", name.replace('.', "__").to_ascii_uppercase())
}

fn refuse_unknown(variables: &[(String, String)]) -> anyhow::Result<()> {
    let known: Vec<String> = KEYS.iter().map(|key| variable_of(key.name)).collect();
    for (name, _) in variables.iter().filter(|(name, _)| name.contains("__")) {
        if !known.contains(name) {
            let near = did_you_mean(name, known.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!(": did you mean {near}?"));
            return Err(Stop::usage(format!("the variable {name} names no setting{near}")));
        }
    }
    Ok(())
}

/// The file as a tree of values, and the folder its relative paths start from.
fn read(file: Option<&Path>) -> anyhow::Result<(serde_json::Value, PathBuf)> {
    let empty = || serde_json::to_value(ConfigFile::default()).expect("plain data");
    let Some(file) = file else { return Ok((empty(), PathBuf::new())) };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((empty(), PathBuf::new())),
        Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot read {}", file.display()))),
    };
    let table: ConfigFile =
        toml::from_str(&text).map_err(|error| Stop::usage(format!("{}: {error}", file.display())))?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    Ok((serde_json::to_value(table)?, folder))
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a configuration file, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(text: &str) -> Self {
            let hash = blake3::hash(text.as_bytes()).to_hex();
            let folder = std::env::temp_dir().join(format!("longhaul-settings-{}-{}", std::process::id(), &hash[..8]));
            std::fs::create_dir_all(&folder).expect("a folder");
            let folder = Self(folder);
            std::fs::write(folder.file(), text).expect("a file");
            folder
        }

        fn file(&self) -> PathBuf {
            self.0.join("config.toml")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone_already = std::fs::remove_dir_all(&self.0);
        }
    }

    fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let folder = Folder::new(
            "[server]\nurl = 'http://127.0.0.1:1'\nca = 'ca.pem'\n[worker]\nslots = 3\nlabels = ['a', 'b']\n[nats]\nfleet = 'x'\n",
        );
        let path = folder.file();
        let given = variables(&[("LONGHAUL_SERVER", "http://127.0.0.1:2"), ("LONGHAUL_NATS__FLEET", "y")]);
        let mut settings = Settings::from(Some(&path), &given).expect("right");
        assert_eq!(settings.text("server.url"), Some("http://127.0.0.1:2"));
        assert_eq!(settings.setting("nats.fleet").origin, Origin::Variable("LONGHAUL_NATS__FLEET".to_owned()));
        assert_eq!(settings.text("server.ca"), folder.0.join("ca.pem").to_str());
        assert_eq!(settings.setting("worker.slots").origin, Origin::File(path));
        assert_eq!(settings.parsed::<u32>("worker.slots").expect("a number"), Some(3));
        assert_eq!(settings.text("worker.labels"), Some("a,b"));
        assert_eq!((settings.text("nats.replicas"), settings.text("nats.url")), (Some("1"), None));
        settings.flag("server.url", Some("http://127.0.0.1:3/".to_owned()));
        settings.flag("nats.fleet", None);
        let access = settings.server().expect("right").expect("a server");
        assert_eq!((access.url.as_str(), access.token), ("http://127.0.0.1:3", None));
        settings.flag("server.url", Some("local".to_owned()));
        assert!(settings.server().expect("right").is_none(), "back to this machine");
    }

    #[test]
    fn what_is_misspelt_is_refused_with_its_place() {
        let folder = Folder::new("[server]\nurl = 'http://x'\n\n[worker]\nslot = 3\n");
        let error = Settings::from(Some(&folder.file()), &[]).expect_err("slot is no key").to_string();
        assert!(error.contains("line 5") && error.contains("slots"), "{error}");
        let given = variables(&[("LONGHAUL_SERVRE__URL", "x")]);
        let error = Settings::from(None, &given).expect_err("no such section").to_string();
        assert!(error.contains("did you mean LONGHAUL_SERVER__URL"), "{error}");
        let given = variables(&[("LONGHAUL_WORKER__SLOTS", "many")]);
        let settings = Settings::from(None, &given).expect("text");
        let error = settings.parsed::<u32>("worker.slots").expect_err("no number").to_string();
        assert!(error.contains("LONGHAUL_WORKER__SLOTS"), "{error}");
    }

    #[test]
    fn passwords_in_addresses_are_used_and_not_shown() {
        let urls = "tls://ada:secret@a.example:4222,tls://secret@b.example,tls://c.example";
        let settings = Settings::from(None, &variables(&[("LONGHAUL_NATS__URL", urls)])).expect("right");
        assert_eq!(settings.text("nats.url"), Some(urls));
        let shown = settings.setting("nats.url").shown();
        assert_eq!(shown, "tls://a.example:4222,tls://b.example,tls://c.example");
    }

    #[test]
    fn a_token_does_not_travel_in_clear_text() {
        for (url, fine) in [
            ("http://127.0.0.1:7117", true),
            ("http://[::1]:7117", true),
            ("http://localhost", true),
            ("https://far.example", true),
            ("http://far.example:7117", false),
            ("http://127.0.0.1.far.example", false),
            ("http://127.0.0.1:x@far.example", false),
            ("https://ada:secret@far.example", false),
        ] {
            let given = variables(&[("LONGHAUL_SERVER__URL", url), ("LONGHAUL_TOKEN", "t")]);
            let settings = Settings::from(None, &given).expect("right");
            let server = settings.server();
            assert_eq!(server.is_ok(), fine, "{url}");
            assert!(server.err().is_none_or(|error| !error.to_string().contains("secret")), "{url}");
            assert!(settings.all().iter().all(|setting| !setting.shown().contains("secret")), "{url}");
            assert!(settings.all().iter().all(|setting| setting.value != "t"), "the token is shown nowhere");
        }
    }
}
