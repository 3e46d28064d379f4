//! What a program may see of the worker's environment: an allow-list, never the whole.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use longhaul_proto::RepoEnv;

/// Variables every program may see: where tools are, who the user is, how the network is reached.
const ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "GOPATH",
    "GOROOT",
    "GOMODCACHE",
    "GOPROXY",
    "GOFLAGS",
    "NVM_DIR",
    "NODE_PATH",
    "VOLTA_HOME",
    "FNM_DIR",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "UV_CACHE_DIR",
    "PIP_CACHE_DIR",
    "JAVA_HOME",
    "MAVEN_HOME",
    "GRADLE_USER_HOME",
    "ANDROID_HOME",
    "DOTNET_ROOT",
    "RBENV_ROOT",
    "SDKMAN_DIR",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "LD_LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "NIX_PATH",
    "NIX_PROFILES",
];

/// What a program is run for; it decides what it sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It writes the change: no secrets.
    Agent,
    /// It makes the workspace able to build: no secrets, and a network of its own rule.
    Setup,
    /// It formats or prepares: no secrets either, for it may run code an agent wrote.
    Prepare,
    /// It judges the change on the worker's own result.
    Check,
    /// It judges the integrated tree.
    Gate,
}

impl Purpose {
    /// Checks and gates get the declared secrets and know that they run unattended.
    fn judges(self) -> bool {
        matches!(self, Self::Check | Self::Gate)
    }
}

/// The environment of a program, from this process's own variables.
pub fn variables(purpose: Purpose, repo: &RepoEnv, tmp: &Path) -> BTreeMap<OsString, OsString> {
    select(std::env::vars_os(), purpose, repo, tmp)
}

fn select(
    own: impl Iterator<Item = (OsString, OsString)>,
    purpose: Purpose,
    repo: &RepoEnv,
    tmp: &Path,
) -> BTreeMap<OsString, OsString> {
    let named = |names: &[String], key: &OsStr| names.iter().any(|name| OsStr::new(name) == key);
    let mut env: BTreeMap<OsString, OsString> = own
        .filter_map(|(key, value)| {
            // A name that is both passed and secret stays a secret.
            if named(&repo.secrets, &key) {
                return purpose.judges().then_some((key, value));
            }
            if named(&repo.pass_env, &key) {
                return Some((key, value));
            }
            let allowed = ALLOWED.iter().any(|name| *name == key) || key.as_encoded_bytes().starts_with(b"LC_");
            // Only the set-up asks a registry or a proxy for anything in the user's name.
            let told = if purpose == Purpose::Setup { value } else { without_logins(&key, value) };
            allowed.then_some((key, told))
        })
        .collect();
    env.insert("TERM".into(), "dumb".into());
    env.insert("TMPDIR".into(), tmp.into());
    env.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
    // A test that looks for a repository must not find one above the workspace.
    if let Some(slot) = tmp.parent() {
        env.insert("GIT_CEILING_DIRECTORIES".into(), slot.into());
    }
    if purpose.judges() {
        env.insert("CI".into(), "true".into());
    }
    env
}

/// A value without users and passwords in the addresses it holds: a mirror of packages, a proxy, which needs no
/// scheme.
fn without_logins(key: &OsStr, value: OsString) -> OsString {
    let Some(text) = value.to_str().filter(|text| text.contains('@')) else { return value };
    let is_proxy = key.to_str().is_some_and(|key| key.to_ascii_lowercase().ends_with("_proxy"));
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default();
    let bare = is_proxy && first.len() == text.len();
    let mut out = if bare { first.rsplit('@').next().unwrap_or_default() } else { first }.to_owned();
    for part in parts {
        // A password may hold the signs that part addresses of a list.
        let end = part.find(['/', '?', '#']).unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        out.push_str("://");
        out.push_str(authority.rsplit('@').next().unwrap_or_default());
        out.push_str(rest);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(purpose: Purpose) -> Vec<String> {
        let own = ["PATH", "AWS_KEY", "TOKEN", "LC_TIME", "EXTRA", "BOTH", "GIT_DIR", "LD_PRELOAD"]
            .map(|key| (OsString::from(key), OsString::from("x")));
        let repo = RepoEnv {
            secrets: vec!["TOKEN".into(), "BOTH".into()],
            pass_env: vec!["EXTRA".into(), "BOTH".into()],
            ..RepoEnv::default()
        };
        let env = select(own.into_iter(), purpose, &repo, Path::new("/slot/tmp"));
        env.into_keys().map(|key| key.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn secrets_reach_only_what_judges() {
        let agent = ["EXTRA", "GIT_CEILING_DIRECTORIES", "GIT_TERMINAL_PROMPT", "LC_TIME", "PATH", "TERM", "TMPDIR"];
        assert_eq!(seen(Purpose::Agent), agent);
        assert_eq!(seen(Purpose::Prepare), agent);
        for purpose in [Purpose::Check, Purpose::Gate] {
            let seen = seen(purpose);
            assert!(["TOKEN", "BOTH", "CI"].iter().all(|name| seen.iter().any(|key| key == name)), "{seen:?}");
            assert!(!seen.iter().any(|key| key == "AWS_KEY" || key == "GIT_DIR"));
        }
    }

    #[test]
    fn passwords_in_addresses_reach_the_set_up_alone() {
        let own = || {
            [
                ("PIP_INDEX_URL", "https://ada:s3cret@mirror.corp:8443/simple"),
                ("GOPROXY", "https://ada:p%40ss@one.corp,https://two.corp/a@b|direct"),
                ("HTTPS_PROXY", "http://ada@proxy.corp:3128"),
                ("HTTP_PROXY", "ada:s3cret@proxy.corp:3128"),
                ("UV_CACHE_DIR", "/home/ada/a:b@c"),
                ("NPM_CONFIG_REGISTRY", "https://ada:p,s|s@mirror.corp/npm"),
                ("NAMED", "https://ada:s3cret@named.corp"),
            ]
            .map(|(key, value)| (OsString::from(key), OsString::from(value)))
            .into_iter()
        };
        let repo = RepoEnv { pass_env: vec!["NAMED".into()], ..RepoEnv::default() };
        let told = |purpose, key: &str| {
            let env = select(own(), purpose, &repo, Path::new("/slot/tmp"));
            env.get(OsStr::new(key)).and_then(|value| value.to_str()).unwrap_or_default().to_owned()
        };
        for purpose in [Purpose::Agent, Purpose::Prepare, Purpose::Check, Purpose::Gate] {
            assert_eq!(told(purpose, "PIP_INDEX_URL"), "https://mirror.corp:8443/simple");
            assert_eq!(told(purpose, "GOPROXY"), "https://one.corp,https://two.corp/a@b|direct");
            assert_eq!(told(purpose, "HTTPS_PROXY"), "http://proxy.corp:3128");
            assert_eq!(told(purpose, "HTTP_PROXY"), "proxy.corp:3128");
            assert_eq!(told(purpose, "UV_CACHE_DIR"), "/home/ada/a:b@c");
            assert_eq!(told(purpose, "NPM_CONFIG_REGISTRY"), "https://mirror.corp/npm");
            assert_eq!(told(purpose, "NAMED"), "https://ada:s3cret@named.corp", "the job asked for it");
        }
        assert_eq!(told(Purpose::Setup, "PIP_INDEX_URL"), "https://ada:s3cret@mirror.corp:8443/simple");
    }
}
