//! The help of the built binary. (An integration test here also makes cargo build the binary for
//! the end-to-end tests of the `tests` package.)

use std::process::Command;

fn said(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_longhaul")).args(args).env("COLUMNS", "60").output().expect("starts");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let help = said(&["--help"]);
    for verb in [
        "init",
        "plan",
        "run",
        "resume",
        "list",
        "status",
        "watch",
        "show",
        "diff",
        "logs",
        "explain",
        "approve",
        "pause",
        "cancel",
        "retry",
        "revert",
        "report",
        "verify",
        "export",
        "schema",
        "doctor",
        "completions",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} is missing:\n{help}");
        assert!(said(&[verb, "--help"]).contains("Usage:"), "{verb}");
    }
    assert!(help.contains("Exit codes") && !help.contains("__shim"), "{help}");
}

#[test]
fn version_is_the_crates() {
    assert_eq!(said(&["--version"]).trim(), format!("longhaul {}", env!("CARGO_PKG_VERSION")));
}
