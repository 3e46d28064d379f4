//! A guarded fleet under a job, and eyes on what must not change.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_proto::Record;
use longhaul_tests::fleet::{Extras, Fleet, FleetSpec, Person};
use longhaul_tests::nats::NatsServer;
use longhaul_tests::{Ran, World};

/// How long another process may take for what a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A repository of `count` files that say hello.
pub fn greeting(count: usize) -> World {
    let files: Vec<(String, String)> =
        (0..count).map(|n| (format!("src/f{n}.txt"), format!("hello {n}\nkeep this line\n"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    World::new(&files)
}

/// The head of every job file here.
pub const HEAD: &str =
    "goal = \"Say goodbye\"\nname = \"guarded\"\n\n[[repo]]\nname = \"app\"\npath = \"repo\"\nbase = \"main\"\n";

/// The job's name.
pub const JOB: &str = "guarded";

/// A fleet in a world, which ends before it.
pub struct Rig {
    /// The processes.
    pub fleet: Fleet,
    /// The user.
    pub world: World,
}

impl Rig {
    /// Starts a fleet.
    pub fn start(world: World, spec: &FleetSpec, extras: Extras) -> Self {
        let fleet = Fleet::start_with(&world, spec, extras).expect("the fleet starts");
        Self { fleet, world }
    }

    /// NATS of the fleet, for clients of the test's own.
    pub fn nats(&self) -> &NatsServer {
        &self.fleet.nats
    }

    /// The command line as somebody, or as nobody.
    pub fn command(&self, who: Option<&Person>, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.args(["--server", &self.fleet.url(), "--ca"]).arg(self.ca());
        if let Some(person) = who {
            command.arg("--token-file").arg(&person.file);
        }
        command
    }

    /// What everyone trusts.
    pub fn ca(&self) -> PathBuf {
        self.world.folder().join("guard/ca.pem")
    }

    /// Runs the command line to its end.
    pub fn ask(&self, who: Option<&Person>, args: &[&str]) -> Ran {
        let output = self.command(who, args).output().expect("the binary starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and expects an exit code.
    #[track_caller]
    pub fn expect(&self, code: i32, who: Option<&Person>, args: &[&str]) -> Ran {
        let ran = self.ask(who, args);
        assert_eq!(ran.code, code, "longhaul {args:?}\n{}\n{}\n{}", ran.stdout, ran.stderr, self.tails());
        ran
    }

    /// Runs it and expects that it is refused, with these words.
    #[track_caller]
    pub fn refused(&self, who: Option<&Person>, args: &[&str], words: &str) {
        let ran = self.expect(4, who, args);
        assert!(ran.stderr.contains(words), "longhaul {args:?} says {:?}, not {words:?}", ran.stderr);
    }

    /// The last lines of every log, for a test that fails.
    pub fn tails(&self) -> String {
        let members = std::iter::once(&self.fleet.server).chain(&self.fleet.workers);
        let tail = |text: String| text.lines().rev().take(15).map(|line| format!("  {line}\n")).collect::<String>();
        members.map(|member| format!("{}:\n{}", member.name, tail(member.log(&self.world)))).collect()
    }

    /// Everything a job's journal has.
    pub fn records(&self, job: &str) -> Vec<Record> {
        let layout = Layout::new(&self.fleet.server.root).job(&job.parse().expect("a name"));
        read_records(&layout, 0).unwrap_or_default()
    }

    /// The events of a job's journal.
    pub fn events(&self, job: &str) -> Vec<Event> {
        self.records(job).into_iter().filter_map(|record| record.event).collect()
    }

    /// The bare stores of the coordinator.
    pub fn stores(&self) -> Vec<PathBuf> {
        let repos = std::fs::read_dir(self.fleet.server.root.join("repos")).into_iter().flatten().flatten();
        let mut stores: Vec<PathBuf> = repos.map(|entry| entry.path().join("store.git")).collect();
        stores.retain(|store| store.is_dir());
        stores.sort();
        stores
    }

    /// What must be the same before and after something that is refused: how long the journals of
    /// the jobs are, and every ref of every store.
    pub fn mark(&self, jobs: &[&str]) -> (Vec<usize>, Vec<String>) {
        let refs = |store: &PathBuf| git_in(store, &["for-each-ref", "--format=%(refname) %(objectname)"]);
        (jobs.iter().map(|job| self.records(job).len()).collect(), self.stores().iter().map(refs).collect())
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < WAIT_MAX, "it never came to this: {what}\n{}", self.tails());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Runs git in a folder; gives its output.
pub fn git_in(folder: &PathBuf, args: &[&str]) -> String {
    let out = Command::new("git").arg("-C").arg(folder).args(args).output().expect("git");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
