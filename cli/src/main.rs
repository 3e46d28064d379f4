//! The `longhaul` binary.

mod args;
mod client;
mod context;
mod exit;
mod fleet;
mod init;
mod logging;
mod remote;
mod report;
mod rg;
mod run;
mod sandbox;
mod settings;
mod verb;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything else: the shim must have one thread and no runtime.
    let mut arguments = std::env::args_os();
    if rg::is_meant(arguments.next().as_deref()) {
        return rg::main(std::env::args_os());
    }
    if arguments.next().is_some_and(|first| first == "__shim") {
        return longhaul_worker::shim_main(arguments);
    }
    // TLS has one implementation, chosen before anything may connect.
    longhaul_common::tls::install();
    let cli = args::Cli::parse();
    logging::start(cli.global.verbose);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return exit::Exit::Infrastructure.into();
        }
    };
    let result = runtime.block_on(verb::run(cli));
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            let text = exit::in_words(&error);
            // Problems of a job file are rendered whole; everything else is a sentence.
            if text.contains('\n') {
                eprintln!("{text}")
            } else {
                eprintln!("error: {text}")
            }
            exit::code_of(&error).into()
        }
    }
}
