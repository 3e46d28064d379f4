//! A program that tries to get out of the sandbox, and the worker's side that puts it in.
//!
//! `escape machine` prints what the machine grants; `escape host FOLDER MACHINE SETTING TRY…` runs
//! `escape try TRY…` inside a boundary of that, as a worker would, and prints how it ended. It is its own
//! process shim. None of it is part of the product.

mod host;
mod tries;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["__shim", ..] => longhaul_worker::shim_main(std::env::args_os().skip(2)),
        ["machine"] => say(host::machine()),
        ["host", folder, machine, setting, tried @ ..] => say(host::host(folder.as_ref(), machine, setting, tried)),
        ["try", what, rest @ ..] => match tries::attempt(what, rest) {
            Ok(found) => {
                println!("ESCAPED: {found}");
                ExitCode::FAILURE
            }
            Err(error) => {
                println!("held: {error:#}");
                ExitCode::SUCCESS
            }
        },
        _ => ExitCode::from(64),
    }
}

fn say(answer: anyhow::Result<String>) -> ExitCode {
    match answer {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(70)
        }
    }
}
