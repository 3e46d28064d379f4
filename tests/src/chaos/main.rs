//! Any number of chaos rounds: `make chaos SEEDS=100`, or one again with `make chaos SEED=42`.

use std::process::ExitCode;
use std::time::Duration;

use longhaul_tests::chaos::{RoundSpec, round};

/// Rounds longer than this are shown whole: something waited.
const SLOW: Duration = Duration::from_secs(30);

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> Result<u64, String> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| format!("{name} is no number: {text:?}")),
        _ => Ok(otherwise),
    }
}

fn run() -> Result<u64, String> {
    let one = setting("SEED", u64::MAX)?;
    let seeds =
        if one == u64::MAX { setting("FROM", 0)?..setting("FROM", 0)? + setting("SEEDS", 10)? } else { one..one + 1 };
    let subtasks = usize::try_from(setting("SUBTASKS", 200)?).map_err(|error| error.to_string())?;
    let faults = usize::try_from(setting("FAULTS", 30)?).map_err(|error| error.to_string())?;
    let (mut failed, mut count) = (0, 0);
    for seed in seeds {
        count += 1;
        match round(RoundSpec { seed, subtasks, faults, workers: 4 }) {
            Ok(outcome) => {
                let proven = outcome.proven;
                println!(
                    "seed {seed}: {} faults, {} attempts, {} leases lost, {} spares, {} landings, {} records, {:.1} s",
                    outcome.log.len().saturating_sub(1),
                    proven.attempts,
                    proven.expired,
                    proven.spares,
                    proven.landings,
                    proven.records,
                    outcome.took.as_secs_f64()
                );
                if outcome.took > SLOW {
                    println!("  {}", outcome.log.join("\n  "));
                }
            }
            Err(error) => {
                failed += 1;
                println!("{error:#}");
            }
        }
    }
    println!("{count} rounds of {subtasks} subtasks, {failed} failed");
    Ok(failed)
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
