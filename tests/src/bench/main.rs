//! Measurements as same-run ratios to a floor or a peer: `make bench`, or `make bench ARGS=fanout`.
//!
//! Rounds of ours and theirs are interleaved and medians compared, because machines are shared and
//! noisy: read the ratios, not the times.

mod chain;
mod fanout;
mod landings;
mod noop;
mod real;
mod resume;
mod slots;
mod table;

use std::process::ExitCode;

use table::Row;

/// A measurement by its name.
type Bench = (&'static str, fn() -> anyhow::Result<Vec<Row>>);

const BENCHES: [Bench; 6] = [
    ("fanout", fanout::run),
    ("chain", chain::run),
    ("landings", landings::run),
    ("resume", resume::run),
    ("slots", slots::run),
    ("real", real::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "__shim") {
        return longhaul_worker::shim_main(arguments);
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "__resume") {
        return resume::child(arguments.next());
    }
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut rows = Vec::new();
    for (name, bench) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            eprintln!("measuring {name} …");
            let found = bench()?;
            found.iter().for_each(|row| eprintln!("  {}", row.line()));
            rows.extend(found);
        }
    }
    println!("{}", table::markdown(&rows));
    Ok(())
}
