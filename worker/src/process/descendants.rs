//! Finding and ending every descendant of a process.
//!
//! The shim is a child subreaper, so whatever it started, directly or through any number of
//! forgotten parents, is its descendant or becomes its child. `/proc` is read as a whole: one pass
//! costs about a millisecond for some hundred processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};

/// A process as `/proc/<pid>/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    parent: i32,
    session: i32,
    threads: u64,
    resident_pages: u64,
}

/// What all descendants of a process use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processes and threads.
    pub processes: u64,
    /// Resident memory; what several share counts for each.
    pub resident_bytes: u64,
}

/// What every descendant of this process uses.
pub fn usage() -> Usage {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let all = processes();
    let page = rustix::param::page_size() as u64;
    let below = below(&all, own);
    let found = below.iter().filter_map(|pid| all.get(pid));
    found.fold(Usage { processes: 0, resident_bytes: 0 }, |sum, seen| Usage {
        processes: sum.processes + seen.threads,
        resident_bytes: sum.resident_bytes + seen.resident_pages * page,
    })
}

/// Sends a signal to every descendant of this process; gives their number.
pub fn signal_descendants(signal: Signal) -> usize {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let found = below(&processes(), own);
    found.iter().for_each(|&pid| send(pid, signal));
    found.len()
}

/// Reaps children that have ended. True while there are any left, ended or not.
pub fn reap() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Sweeps in a row that must find nothing before orphans count as gone: a process shows no
/// environment while it is being executed, and one scan misses what forks during it.
const CLEAN_SWEEPS: u32 = 5;

/// Sweeps at most: half a second of orphans that cannot be killed is enough.
const SWEEPS_MAX: u32 = 50;

/// Pause between two sweeps.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// Kills what a shim left behind that was itself killed: the processes of its session, and those
/// that carry its mark in their environment. Blocks.
pub fn kill_orphans(session: i32, mark: &[u8]) {
    let mut clean = 0;
    for _sweep in 0..SWEEPS_MAX {
        let found = kill_orphans_once(session, mark);
        clean = if found == 0 { clean + 1 } else { 0 };
        if clean == CLEAN_SWEEPS {
            return;
        }
        std::thread::sleep(SWEEP_PAUSE);
    }
}

fn kill_orphans_once(session: i32, mark: &[u8]) -> usize {
    let seen = processes();
    let orphans = seen.iter().filter(|(pid, found)| found.session == session || has_mark(**pid, mark));
    orphans.map(|(pid, _)| send(*pid, Signal::KILL)).count()
}

fn has_mark(pid: i32, mark: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|&b| b == 0).any(|entry| entry == mark))
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // A process that ended in between is what was wanted.
        let _gone = rustix::process::kill_process(pid, signal);
    }
}

fn processes() -> BTreeMap<i32, Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// Fields between the session and the number of threads, and from there to the resident pages.
const THREADS_AFTER_SESSION: usize = 13;
const RESIDENT_AFTER_THREADS: usize = 3;

/// The parent and session of a stat line: `pid (any name) state ppid pgrp session …`. One that has
/// ended and waits to be reaped is no process any more: nothing can be done about it, and it has no
/// children.
fn parse_stat(stat: &[u8]) -> Option<Seen> {
    let after_name = stat.iter().rposition(|&b| b == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // What a test or an old kernel leaves out counts as one thread without memory.
    let threads = fields.nth(THREADS_AFTER_SESSION).and_then(|field| field.parse().ok()).unwrap_or(1);
    let resident_pages = fields.nth(RESIDENT_AFTER_THREADS).and_then(|field| field.parse().ok()).unwrap_or(0);
    Some(Seen { parent, session, threads, resident_pages })
}

fn below(seen: &BTreeMap<i32, Seen>, root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (&pid, found) in seen {
        children.entry(found.parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut visited = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            if visited.insert(child) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_process_names_do_not_confuse_the_parser() {
        let seen = parse_stat(b"42 (a) R 1 2 3 (x) S 7 8 9 0 -1").expect("parses");
        assert_eq!(seen, Seen { parent: 7, session: 9, threads: 1, resident_pages: 0 });
        let whole = b"1 (sh) S 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30";
        let seen = parse_stat(whole).expect("parses");
        assert_eq!(seen, Seen { parent: 10, session: 12, threads: 26, resident_pages: 30 });
        assert_eq!(parse_stat(b"42 (a) Z 7 8 9 0 -1"), None);
        assert_eq!(parse_stat(b"42 no name"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let at = |parent| Seen { parent, session: 0, threads: 1, resident_pages: 0 };
        let seen = BTreeMap::from([(2, at(1)), (3, at(2)), (4, at(3)), (5, at(1)), (6, at(6))]);
        let mut found = below(&seen, 2);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }
}
