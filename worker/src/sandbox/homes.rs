//! What lies in a user's home, and who may touch it: credentials nobody, registries' caches the
//! set-up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use longhaul_common::hosts::HostPattern;

/// Credentials below the home of the worker's user.
const CREDENTIALS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".oci",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
    ".boto",
    ".vault-token",
    ".password-store",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".gradle/gradle.properties",
    ".terraform.d",
    ".codex/auth.json",
    ".claude/.credentials.json",
    ".claude.json",
    ".gemini/oauth_creds.json",
    ".local/share/opencode/auth.json",
    ".local/share/keyrings",
    ".colima",
    ".lima",
    ".mozilla",
    ".config/longhaul",
    ".config/gh",
    ".config/hub",
    ".config/git/credentials",
    ".config/gcloud",
    ".config/rclone",
    ".config/op",
    ".config/containers/auth.json",
    ".config/google-chrome",
    ".config/chromium",
];

/// Credentials of the machine, which root could read.
const MACHINE: &[&str] =
    &["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d"];

/// Folders that a set-up fills for all that come after it, each below a variable or the home.
const SHARED_CACHES: &[(&str, &str, &[&str])] = &[
    ("CARGO_HOME", ".cargo", &["registry", "git", ".package-cache", ".package-cache-mutate", ".global-cache"]),
    ("GOPATH", "go", &["pkg"]),
    ("GOMODCACHE", "go/pkg/mod", &[""]),
    ("MAVEN_REPOSITORY", ".m2/repository", &[""]),
    ("GRADLE_USER_HOME", ".gradle", &["caches", "wrapper", "daemon", "native"]),
    ("npm_config_cache", ".npm", &[""]),
    ("PIP_CACHE_DIR", ".cache/pip", &[""]),
    ("UV_CACHE_DIR", ".cache/uv", &[""]),
    ("YARN_CACHE_FOLDER", ".cache/yarn", &[""]),
];

/// Caches of tools that are the slot's own, by the variable that moves them; what a set-up shares is so
/// for all but the set-up.
const OWN_CACHES: &[(&str, &str)] = &[
    ("GOCACHE", "go-build"),
    ("npm_config_cache", "npm"),
    ("PIP_CACHE_DIR", "pip"),
    ("UV_CACHE_DIR", "uv"),
    ("YARN_CACHE_FOLDER", "yarn"),
    ("CCACHE_DIR", "ccache"),
    ("NUGET_PACKAGES", "nuget"),
];

/// Where packages come from, as package managers are by default: the domains of registries, and not the hosts
/// they happen to have there now.
const REGISTRIES: &[&str] = &[
    "crates.io",
    "*.crates.io",
    "static.rust-lang.org",
    "pypi.org",
    "*.pythonhosted.org",
    "*.npmjs.org",
    "*.yarnpkg.com",
    "nodejs.org",
    "proxy.golang.org",
    "sum.golang.org",
    "rubygems.org",
    "*.rubygems.org",
    "*.maven.apache.org",
    "*.maven.org",
    "*.gradle.org",
    "*.nuget.org",
    "hex.pm",
    "*.hex.pm",
    "*.packagist.org",
];

/// Variables by which a machine names registries of its own.
const REGISTRY_VARIABLES: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "GOPROXY",
];

/// What nobody may read.
pub fn credentials(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = home(&variable);
    let own = CREDENTIALS.iter().filter_map(|name| Some(home.as_ref()?.join(name)));
    own.chain(MACHINE.iter().map(PathBuf::from)).collect()
}

/// Homes of tools by their variables, in the slot where the worker's user has none.
const OWN_HOMES: &[(&str, &str)] = &[("CARGO_HOME", ".cargo"), ("GOPATH", "go"), ("GRADLE_USER_HOME", ".gradle")];

/// What a set-up may write beside its slot. Folders are made where the tool's home is there.
pub fn shared_caches(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = home(&variable);
    let xdg = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let mut caches = Vec::new();
    for (name, below_home, parts) in SHARED_CACHES {
        let moved = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cached = below_home.strip_prefix(".cache/").and_then(|name| Some(xdg.as_ref()?.join(name)));
        let Some(root) = moved.or(cached).or_else(|| Some(home.as_ref()?.join(below_home))) else { continue };
        caches.extend(parts.iter().map(|part| if part.is_empty() { root.clone() } else { root.join(part) }));
    }
    for folder in caches.iter().filter(|path| !is_hidden(path)) {
        // Where it cannot be made it cannot be written either, and the tool says so.
        let _there = std::fs::create_dir(folder);
    }
    caches
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Variables that put tools' caches into the slot, where the worker's user has not moved them.
pub fn own_caches(
    cache: &Path,
    is_setup: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> BTreeMap<OsString, OsString> {
    let is_shared = |name: &str| is_setup && SHARED_CACHES.iter().any(|(shared, ..)| *shared == name);
    let home = home(&variable);
    let has = |folder: &str| home.as_ref().is_some_and(|home| home.join(folder).is_dir());
    let homes = OWN_HOMES.iter().filter(|(_, folder)| !has(folder));
    let caches = OWN_CACHES.iter().filter(|(name, _)| !is_shared(name));
    let moved = caches.chain(homes).filter(|(name, _)| variable(name).is_none());
    moved.map(|(name, folder)| ((*name).into(), cache.join(folder.trim_start_matches('.')).into())).collect()
}

/// Hosts that a set-up may reach: the usual ones, and those this machine is configured for.
pub fn registries(variable: impl Fn(&str) -> Option<String>) -> Vec<HostPattern> {
    let configured = REGISTRY_VARIABLES.iter().filter_map(|name| variable(name));
    let urls: Vec<String> =
        configured.flat_map(|value| value.split([',', '|', ' ']).map(str::to_owned).collect::<Vec<_>>()).collect();
    let named = REGISTRIES.iter().map(|&host| host.to_owned()).chain(urls.iter().filter_map(|url| authority(url)));
    named.filter_map(|host| host.parse().ok()).collect()
}

/// Host and port of a URL, without its user.
fn authority(url: &str) -> Option<String> {
    let rest = url.trim().split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next()?.to_owned())
}

fn home(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute() && home.parent().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_variables_that_move_them() {
        let variable = |name: &str| match name {
            "HOME" => Some(OsString::from("/home/ada")),
            "CARGO_HOME" => Some("/opt/cargo".into()),
            "GOPATH" => Some("relative".into()),
            _ => None,
        };
        let caches = shared_caches(variable);
        assert!(
            caches.contains(&"/opt/cargo/registry".into()) && caches.contains(&"/home/ada/go/pkg".into()),
            "{caches:?}"
        );
        assert!(!caches.iter().any(|path| path.ends_with("bin") || path.ends_with(".cargo")));
        assert!(credentials(variable).contains(&"/home/ada/.ssh".into()));
        assert!(credentials(|_| Some("/".into())).iter().all(|path| path.starts_with("/etc")));
    }

    #[test]
    fn tools_without_a_home_have_one_in_the_slot() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(home.path().join("go")).expect("made");
        let variable = |name: &str| match name {
            "HOME" => Some(home.path().into()),
            "PIP_CACHE_DIR" => Some("/pip".into()),
            _ => None,
        };
        let own = own_caches(Path::new("/slot/cache"), false, variable);
        let at = |name: &str| own.get(&OsString::from(name)).and_then(|path| path.to_str());
        assert_eq!(at("GOCACHE"), Some("/slot/cache/go-build"));
        assert_eq!(at("CARGO_HOME"), Some("/slot/cache/cargo"));
        assert_eq!((at("GOPATH"), at("PIP_CACHE_DIR")), (None, None));
        assert_eq!(at("npm_config_cache"), Some("/slot/cache/npm"));
        assert!(
            !own_caches(Path::new("/slot/cache"), true, variable).contains_key(&OsString::from("npm_config_cache"))
        );
        assert!(shared_caches(variable).contains(&home.path().join("go/pkg")));
        assert!(home.path().join("go/pkg").is_dir() && !home.path().join(".cargo").exists());
    }

    #[test]
    fn a_configured_mirror_is_a_registry() {
        let variable = |name: &str| match name {
            "PIP_INDEX_URL" => Some("https://user:pass@mirror.corp:8443/simple".to_owned()),
            "GOPROXY" => Some("https://goproxy.corp,direct".to_owned()),
            _ => None,
        };
        let hosts = registries(variable);
        let allows = |host: &str, port| hosts.iter().any(|pattern| pattern.allows(host, port));
        assert!(allows("mirror.corp", 8443) && allows("goproxy.corp", 443) && allows("pypi.org", 443));
        assert!(!allows("direct", 443) && !allows("github.com", 443));
        assert!(allows("a.crates.io", 443) && !allows("crates.io.example.com", 443) && !allows("xcrates.io", 443));
        let every = REGISTRIES.len() + 2;
        assert_eq!(hosts.len(), every);
    }
}
