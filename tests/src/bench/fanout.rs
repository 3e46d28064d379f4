//! Independent no-op subtasks through the whole durable path, against spawning a process each.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::noop;
use super::table::{Row, median};

const COUNT: usize = 10_000;
const ROUNDS: usize = 3;

pub fn run() -> anyhow::Result<Vec<Row>> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(xargs()? / u32::try_from(COUNT)?);
        ours.push(noop::run(COUNT, false, 256)?.0 / u32::try_from(COUNT)?);
    }
    let row =
        Row::times("no-op subtask, fan-out of 10,000", median(ours), "xargs -P2 /bin/true", median(floor), "≤ 0.7");
    Ok(vec![row])
}

fn xargs() -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut child = Command::new("xargs").args(["-P2", "-n1", "/bin/true"]).stdin(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let lines = "x\n".repeat(COUNT);
    stdin.write_all(lines.as_bytes())?;
    drop(stdin);
    child.wait()?;
    Ok(begun.elapsed())
}
