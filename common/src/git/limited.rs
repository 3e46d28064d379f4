//! Running git on input of strangers.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::command::{Git, GitError, failed};

/// Seconds of processor time between the signal that tells a limit and the one that kills.
const KILL_AFTER_S: u64 = 5;

/// What one run of git may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processor time in seconds; over it the process ends by SIGXCPU.
    pub cpu_s: u64,
    /// Private memory in bytes; mapped packs do not count.
    pub data_bytes: u64,
    /// Bytes of any file it writes; over it the process ends by SIGXFSZ.
    pub file_bytes: Option<u64>,
}

impl Git {
    /// As [`Git::run`], with a file on stdin and under limits; what it prints is not kept.
    pub fn run_limited<I, S>(&self, args: I, input: File, limits: &Limits) -> Result<(), GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
        // Never `None`, which would mean this process itself.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a positive number");
        let set = |resource, most: u64| {
            // The higher limit kills outright: the lower one is met first, and told apart.
            let limit = Rlimit { current: Some(most), maximum: Some(most.saturating_add(KILL_AFTER_S)) };
            prlimit(Some(pid), resource, limit)
        };
        // Nothing of the input is read before the limits hold: it comes through a pipe after them.
        let limited = set(Resource::Cpu, limits.cpu_s)
            .and_then(|_| set(Resource::Data, limits.data_bytes))
            .and_then(|_| set(Resource::Core, 0))
            .and_then(|_| limits.file_bytes.map_or(Ok(None), |bytes| set(Resource::Fsize, bytes).map(Some)));
        let stdin = child.stdin.take();
        if let Err(error) = limited {
            drop(stdin);
            let _it_may_have_ended = child.kill();
            let _reaped = child.wait();
            return Err(GitError::Start { source: error.into() });
        }
        let output = std::thread::scope(|scope| {
            if let Some(mut stdin) = stdin {
                scope.spawn(move || {
                    // A child that stops reading says why by its exit status.
                    let _ended_early = std::io::copy(&mut &input, &mut stdin);
                });
            }
            child.wait_with_output()
        })
        .map_err(|source| GitError::Start { source })?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(&command, output)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn run(args: &[&str], input: &[u8], limits: Limits) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let git = Git::at(folder.path());
        git.run(["init", "--quiet", "--bare", "--template="]).expect("init");
        let path = folder.path().join("input");
        File::create(&path).and_then(|mut file| file.write_all(input)).expect("written");
        match git.run_limited(args, File::open(&path).expect("there"), &limits) {
            Err(GitError::Failed { status, stderr, .. }) => (status.signal(), stderr),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_over_a_limit_ends_and_says_by_which() {
        let limits = Limits { cpu_s: 60, data_bytes: 1 << 30, file_bytes: None };
        let endless = b"blob\ndata 0\n".repeat(8 << 20);
        let (signal, _) = run(&["fast-import", "--quiet"], &endless, Limits { cpu_s: 1, ..limits });
        assert_eq!(signal, Some(rustix::process::Signal::XCPU.as_raw()));
        let large = vec![0; 96 << 20];
        let (_, said) = run(&["hash-object", "--stdin"], &large, Limits { data_bytes: 64 << 20, ..limits });
        assert!(said.contains("ut of memory"), "{said}");
        // Bytes that do not compress.
        let mut random = vec![0; 4 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        let (signal, _) =
            run(&["hash-object", "-w", "--stdin"], &random, Limits { file_bytes: Some(1 << 20), ..limits });
        assert_eq!(signal, Some(rustix::process::Signal::XFSZ.as_raw()));
    }
}
