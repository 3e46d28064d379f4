//! A program that tries to get out of the sandbox, and the worker's side that puts it in.
//!
//! `escape host FOLDER LAYERS TRY…` runs `escape try TRY…` inside a boundary, as a worker would, and
//! prints how that ended. It is its own process shim. Neither is part of the product.

mod host;
mod tries;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["__shim", ..] => longhaul_worker::shim_main(std::env::args_os().skip(2)),
        ["host", folder, layers, tried @ ..] => match host::host(folder.as_ref(), layers, tried) {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(70)
            }
        },
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
