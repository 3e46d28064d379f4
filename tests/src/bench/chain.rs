//! A chain of dependent no-op subtasks, per hop, against two raw append + fdatasync of the bytes
//! a hop writes.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::noop;
use super::table::{Row, median};

const COUNT: usize = 1_000;
const ROUNDS: usize = 3;

pub fn run() -> anyhow::Result<Vec<Row>> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, bytes) = noop::run(COUNT, true, 1)?;
        ours.push(took / u32::try_from(COUNT)?);
        floor.push(durable(COUNT * 2, usize::try_from(bytes)?.div_ceil(COUNT * 2))? * 2);
    }
    Ok(vec![Row::times("dependent chain, per hop", median(ours), "2 × (append + fdatasync)", median(floor), "≤ 3")])
}

/// One append of so many bytes and its fdatasync, on average.
pub fn durable(count: usize, bytes: usize) -> anyhow::Result<Duration> {
    let folder = noop::folder()?;
    let mut file = std::fs::File::create(folder.path().join("raw"))?;
    let block = vec![7; bytes];
    let begun = Instant::now();
    for _ in 0..count {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / u32::try_from(count)?)
}
