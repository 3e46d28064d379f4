//! A fleet for a test, and waiting for what other processes do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use longhaul_tests::fleet::{Fleet, FleetSpec, Process};
use longhaul_tests::{Ran, World, leftovers};
use rustix::process::Signal;

/// How long anything may take on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A fleet and its user.
pub struct Rig {
    pub fleet: Fleet,
    pub world: World,
}

impl Rig {
    /// With so many workers; leases are short.
    pub fn new(world: World, workers: usize) -> Self {
        Self::of(world, &FleetSpec { workers, lease: "6s".to_owned(), ..FleetSpec::default() })
    }

    pub fn of(world: World, spec: &FleetSpec) -> Self {
        let fleet = Fleet::start(&world, spec).expect("a fleet");
        Self { fleet, world }
    }

    /// Runs a verb with the server and expects an exit code.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let url = self.fleet.url();
        self.world.expect(code, &[args, &["--server", &url]].concat())
    }

    /// Starts a verb with the server; what it says goes to [`Rig::said`].
    pub fn begin(&self, args: &[&str], name: &str) -> Process {
        let url = self.fleet.url();
        let command = self.world.command(&[args, &["--server", &url]].concat());
        Process::spawn(command, &self.log(name)).expect("the binary starts")
    }

    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// Waits until a verb that was begun has said something.
    #[track_caller]
    pub fn says(&self, name: &str, text: &str) {
        until(&format!("{name} says {text:?}"), || self.said(name).contains(text), || self.said(name));
    }

    /// Waits until a member of the fleet has said something.
    #[track_caller]
    pub fn member_says(&mut self, at: usize, text: &str) {
        let world = &self.world;
        let member = self.fleet.members().nth(at).expect("a member");
        until(&format!("{} says {text:?}", member.name), || member.log(world).contains(text), || member.log(world));
    }

    /// Waits until a verb's output holds a text; gives the output.
    #[track_caller]
    pub fn shows(&self, args: &[&str], text: &str) -> String {
        let url = self.fleet.url();
        let args = [args, &["--server", &url]].concat();
        let mut last = String::new();
        until(
            &format!("{args:?} shows {text:?}"),
            || {
                let ran = self.world.longhaul(&args);
                last = format!("{}{}", ran.stdout, ran.stderr);
                last.contains(text)
            },
            String::new,
        );
        last
    }

    /// Waits for the end of a verb and expects its exit code.
    #[track_caller]
    pub fn ends(&self, process: &mut Process, code: i32, name: &str) {
        let status = process.wait(WAIT_MAX).expect("waited for").expect("it ends in time");
        assert_eq!(status.code(), Some(code), "{}", self.said(name));
    }

    /// Asks every member to leave, which each does cleanly, and leaves no process behind.
    pub fn leave(mut self) {
        let members: Vec<_> = self.fleet.members().collect();
        for member in members.into_iter().rev() {
            let Some(process) = &mut member.process else { continue };
            if process.ended().expect("looked at").is_none() {
                process.signal(Signal::TERM).expect("asked to leave");
                let status = process.wait(WAIT_MAX).expect("waited for").expect("it leaves in time");
                assert_eq!(status.code(), Some(0), "{}", member.log(&self.world));
            }
        }
        drop(self.fleet);
        assert_eq!(leftovers::wait_for_none(&self.world), Vec::<String>::new());
    }

    fn log(&self, name: &str) -> PathBuf {
        self.world.folder().join(format!("{name}.said"))
    }
}

/// Looks again and again; panics with what there is instead.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool, instead: impl Fn() -> String) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT_MAX, "not in {WAIT_MAX:?}: {what}\n{}", instead());
        std::thread::sleep(LOOK_EVERY);
    }
}
