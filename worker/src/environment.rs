//! `[repo.env]`: what makes a workspace able to build and test.

use std::fs;
use std::path::Path;
use std::time::Duration;

use longhaul_proto::RepoEnv;

use crate::process::is_empty;
use crate::workspace::SlotRecord;

/// Wall time limit of a set-up.
pub const SETUP_MAX: Duration = Duration::from_secs(30 * 60);

/// Lockfiles looked at when the job file names none.
const LOCKFILES: &[&str] = &[
    "Cargo.lock",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "poetry.lock",
    "uv.lock",
    "Pipfile.lock",
    "requirements.txt",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    "mix.lock",
    "gradle.lockfile",
    "flake.lock",
];

/// The digest of what determines a set-up: its command, its caches, and the lockfiles in the
/// workspace. Blocks.
pub fn setup_digest(env: &RepoEnv, workspace: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    if let Some(setup) = &env.setup {
        add(setup.shell.as_bytes());
        setup.argv.iter().for_each(|arg| add(arg.as_bytes()));
    }
    env.cache.iter().for_each(|cache| add(cache.as_bytes()));
    let default: Vec<String> = LOCKFILES.iter().map(|&name| name.to_owned()).collect();
    let lockfiles = if env.lockfiles.is_empty() { &default } else { &env.lockfiles };
    for lockfile in lockfiles {
        let path = workspace.join(lockfile);
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        add(lockfile.as_bytes());
        add(&if is_file { fs::read(&path).unwrap_or_default() } else { Vec::new() });
    }
    hasher.finalize().to_hex().to_string()
}

/// Whether the set-up has to run: never without one; always when it has nothing to keep its work
/// in; else when its digest changed or a cache folder it had filled is gone.
pub fn needs_setup(env: &RepoEnv, record: &SlotRecord, digest: &str, workspace: &Path) -> bool {
    if env.setup.as_ref().is_none_or(is_empty) {
        return false;
    }
    let missing = record.setup_caches.iter().any(|cache| !workspace.join(cache).is_dir());
    env.cache.is_empty() || record.setup_digest != digest || missing
}

/// The cache folders that exist.
pub fn present_caches(env: &RepoEnv, workspace: &Path) -> Vec<String> {
    env.cache.iter().filter(|cache| workspace.join(cache).is_dir()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_runs_when_something_it_depends_on_changed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ws = dir.path();
        let setup = longhaul_proto::CommandLine { shell: "make deps".into(), ..Default::default() };
        let mut env = RepoEnv { setup: Some(setup), cache: vec!["deps".into()], ..RepoEnv::default() };
        let digest = setup_digest(&env, ws);
        let mut record = SlotRecord::default();
        assert!(needs_setup(&env, &record, &digest, ws));

        fs::create_dir(ws.join("deps")).expect("made");
        record.setup_digest = digest.clone();
        record.setup_caches = present_caches(&env, ws);
        assert!(!needs_setup(&env, &record, &digest, ws));

        fs::write(ws.join("Cargo.lock"), "x").expect("written");
        assert_ne!(setup_digest(&env, ws), digest);
        fs::remove_dir(ws.join("deps")).expect("removed");
        assert!(needs_setup(&env, &record, &digest, ws));

        env.setup = None;
        assert!(!needs_setup(&env, &record, &digest, ws));
    }
}
