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
        "reject",
        "pause",
        "cancel",
        "retry",
        "revert",
        "report",
        "verify",
        "export",
        "attach",
        "answer",
        "steer",
        "workers",
        "drain",
        "release",
        "serve",
        "worker",
        "token",
        "config",
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
fn help_of_the_fleet_names_its_options_and_fits_sixty_columns() {
    for (verb, options) in [
        ("serve", &["--listen", "--nats", "--fleet", "--nats-creds", "--tls-cert", "--client-ca", "--access"][..]),
        (
            "worker",
            &["--name", "--nats", "--slots", "--gates", "--label", "--drain-timeout", "--memory", "--server"][..],
        ),
        ("run", &["--server", "--token-file", "--ca", "--cert", "--key"][..]),
        ("token", &["--role", "--out"][..]),
    ] {
        let help = said(&[verb, "--help"]);
        for option in options {
            assert!(help.contains(option), "{verb} {option}:\n{help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 60), "{verb}:\n{help}");
    }
}

fn ended(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let out = Command::new(env!("CARGO_BIN_EXE_longhaul"))
        .args(args)
        .envs(variables.iter().copied())
        .env("LONGHAUL_STATE_DIR", format!("{folder}/no-state"))
        .env("LONGHAUL_CONFIG", format!("{folder}/no-config.toml"))
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), text)
}

#[test]
fn a_server_that_is_not_there_is_infrastructure_and_a_wrong_address_is_usage() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    for verb in ["status", "list", "watch", "report", "verify", "workers"] {
        let (code, text) = ended(&[verb, "--server", &url], &[]);
        assert_eq!(code, Some(6), "{verb}: {text}");
        assert!(text.contains(&url) && text.contains("longhaul serve"), "{verb}: {text}");
    }
    let (code, text) = ended(&["status", "--server", "far.example:7117"], &[]);
    assert!(code == Some(2) && text.contains("http://host:port"), "{text}");
    let (code, text) = ended(&["status", "--server", "http://far.example:7117"], &[("LONGHAUL_TOKEN", "secret-word")]);
    assert!(code == Some(2) && text.contains("clear text") && !text.contains("secret-word"), "{text}");
    let (code, text) = ended(&["workers"], &[]);
    assert!(code == Some(2) && text.contains("--server"), "{text}");
}

#[test]
fn settings_say_where_they_come_from() {
    let variables = [("LONGHAUL_NATS__FLEET", "night"), ("LONGHAUL_TOKEN", "secret-word")];
    let (code, text) = ended(&["config", "show", "--origin", "--server", "http://127.0.0.1:1"], &variables);
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "server.url = \"http://127.0.0.1:1\"  # flag",
        "nats.fleet = \"night\"  # LONGHAUL_NATS__FLEET",
        "worker.gates = \"1\"  # default",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("secret-word"), "{text}");
    let (code, text) = ended(&["config", "show"], &[("LONGHAUL_NATS__FLEAT", "x")]);
    assert!(code == Some(2) && text.contains("LONGHAUL_NATS__FLEET"), "{text}");
}

#[test]
fn a_token_and_its_entry() {
    let (code, text) = ended(&["token", "w1", "--role", "work", "--role", "read", "--json"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let (token, entry) = (text.split("lh_").nth(1), text.contains("sha256"));
    assert!(token.is_some() && entry && text.contains("[\\\"read\\\", \\\"work\\\"]"), "{text}");
    let (code, text) = ended(&["token", "not a name", "--role", "work"], &[]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn version_is_the_crates() {
    assert_eq!(said(&["--version"]).trim(), format!("longhaul {}", env!("CARGO_PKG_VERSION")));
}
