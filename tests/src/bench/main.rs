//! Measurements as same-run ratios to a floor or a peer: `make bench`, or `make bench ARGS=fanout`.
//!
//! Rounds of ours and theirs are interleaved and medians compared, because machines are shared and
//! noisy: read the ratios, not the times.

mod agents;
mod bare;
mod chain;
mod fanout;
mod fleet;
mod gateway;
mod kills;
mod landings;
mod noop;
mod noop_worker;
mod over_nats;
mod real;
mod resume;
mod sandbox;
mod slots;
mod starts;
mod submit;
mod table;
mod waiting;

use std::ffi::OsString;
use std::process::ExitCode;

use table::Row;

/// A measurement by its name.
type Bench = (&'static str, fn() -> anyhow::Result<Vec<Row>>);

const BENCHES: [Bench; 14] = [
    ("fanout", fanout::run),
    ("chain", chain::run),
    ("landings", landings::run),
    ("resume", resume::run),
    ("slots", slots::run),
    ("real", real::run),
    ("sandbox", sandbox::measure),
    ("gateway", gateway::run),
    ("agents", agents::run),
    ("nats-fanout", over_nats::fanout),
    ("nats-chain", over_nats::hops),
    ("fleet-1000", fleet::run),
    ("worker-kill", kills::worker),
    ("coordinator-kill", kills::coordinator),
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

/// What the product complains of, `RUST_LOG` what it says besides.
fn hear() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn measure() -> anyhow::Result<()> {
    hear();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("__resume") => return resume::child(arguments.get(1).cloned()),
        Some(noop_worker::ARGUMENT) => return noop_worker::child(&arguments[1..]),
        Some(bare::ARGUMENT) => return bare::child(&arguments[1..]),
        _ => {}
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
