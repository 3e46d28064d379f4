//! The process shim as a binary of its own, for the tests of this crate only. As `host LOG PROGRAM…`
//! it runs a program through the shim, as a worker would, so that a test can kill that worker; as
//! `agent PROTOCOL SCENARIO` it is an agent that talks.

mod agent;

use std::ffi::OsString;
use std::process::ExitCode;

use longhaul_worker::process::{ProcessSpec, run, shim_main};

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "__shim") {
        return shim_main(args.drain(1..));
    }
    if let [agent, protocol, scenario] = &args[..]
        && agent == "agent"
    {
        agent::agent(&protocol.to_string_lossy(), &scenario.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    host(&args)
}

fn host(args: &[OsString]) -> ExitCode {
    let [_host, log, argv @ ..] = args else { return ExitCode::from(64) };
    let own = std::env::current_exe().expect("a running program has a path");
    let spec = ProcessSpec {
        argv: argv.to_vec(),
        cwd: std::env::current_dir().expect("a working directory"),
        env: std::env::vars_os().collect(),
        stdin: None,
        stdout: None,
        timeout: None,
        idle_timeout: None,
        secrets: longhaul_worker::process::Secrets::default(),
        log: log.into(),
        output_bytes_max: 0,
        on_line: None,
        sandbox: None,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let shim = [own.into_os_string(), "__shim".into()];
    let outcome = runtime.block_on(run(&shim, spec, &tokio_util::sync::CancellationToken::new()));
    if outcome.is_ok_and(|outcome| outcome.succeeded()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
