//! What a command may use up: resource limits of the kernel, and a watch for what they cannot bound.
//!
//! Resource limits count for each process alone, and the number of processes not at all for root.
//! So the shim also looks at all of them together, twice a second: processes, resident memory, and
//! the space that is left on the disk. Between two looks a fast one gets further than its limit.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};

use super::rules::{Limits, Rules};
use crate::process::Usage;

/// Time between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How much sooner than the worker the kernel ends a command when memory runs out.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Limits this process and all it starts.
pub fn apply(rules: &Rules) -> Result<(), String> {
    let limits = &rules.limits;
    set(Resource::Fsize, limits.file_bytes)?;
    set(Resource::Nofile, limits.open_files)?;
    if limits.address_bytes > 0 {
        set(Resource::As, limits.address_bytes)?;
    }
    // Without a user namespace it would count every process of the worker's user.
    if rules.layers.user {
        set(Resource::Nproc, limits.processes)?;
    }
    // It is a wish only, where it cannot be written.
    let _kept = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    Ok(())
}

/// Lowers a limit; one that is lower already stays.
fn set(resource: Resource, most: u64) -> Result<(), String> {
    let now = rustix::process::getrlimit(resource);
    let maximum = now.maximum.map_or(most, |maximum| maximum.min(most));
    let current = now.current.map_or(maximum, |current| current.min(maximum));
    let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
    rustix::process::setrlimit(resource, limit).map_err(|error| format!("limits: {resource:?}: {error}"))
}

/// What of the limits is exceeded, in words for the command's failure.
pub fn exceeded(limits: &Limits, used: Usage, free_bytes: Option<u64>) -> Option<String> {
    let mib = |bytes: u64| bytes >> 20;
    if used.processes > limits.processes {
        return Some(format!("it had {} processes, at most {} are allowed", used.processes, limits.processes));
    }
    if limits.memory_bytes > 0 && used.resident_bytes > limits.memory_bytes {
        let (has, most) = (mib(used.resident_bytes), mib(limits.memory_bytes));
        return Some(format!("it had {has} MiB in memory, at most {most} MiB are allowed"));
    }
    let free = free_bytes.filter(|&free| free < limits.disk_free_bytes)?;
    Some(format!("it left {} MiB free on the disk, at least {} MiB must stay", mib(free), mib(limits.disk_free_bytes)))
}

/// Free bytes where a command works.
pub fn free_bytes(at: &Path) -> Option<u64> {
    rustix::fs::statvfs(at).ok().map(|found| found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_says_what_was_too_much() {
        let limits = Limits { processes: 10, memory_bytes: 2 << 20, disk_free_bytes: 1 << 20, ..Limits::default() };
        let used = |processes, resident_bytes| Usage { processes, resident_bytes };
        assert_eq!(exceeded(&limits, used(10, 2 << 20), Some(1 << 20)), None);
        assert_eq!(exceeded(&limits, used(1, 0), None), None);
        for (used, free, word) in
            [(used(11, 0), 9 << 20, "processes"), (used(1, 3 << 20), 9 << 20, "memory"), (used(1, 0), 0, "disk")]
        {
            let why = exceeded(&limits, used, Some(free)).expect("exceeded");
            assert!(why.contains(word), "{why}");
        }
        let none = Limits { memory_bytes: 0, disk_free_bytes: 0, ..limits };
        assert_eq!(exceeded(&none, used(1, u64::MAX), Some(0)), None);
    }
}
