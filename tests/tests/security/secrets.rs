//! Secrets are planted wherever a fleet keeps one; agents, checks and gates do what they can to
//! spread them; then everything is searched.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longhaul_coordinator::core::Event;
use longhaul_proto::FailureClass;
use longhaul_tests::World;
use longhaul_tests::fleet::{Extras, FleetSpec, Guard, Person};
use longhaul_tests::nats::NatsServer;
use prost::Message as _;

use crate::rig::{HEAD, JOB, Rig, git_in, greeting};

/// Variables of the worker that hold secrets: by the job's word, and by their names.
const VARIABLES: &[&str] = &["DATABASE", "DEPLOY_KEY", "CI_TOKEN"];

/// What was planted.
struct Planted {
    /// Name and value.
    values: Vec<(String, String)>,
    /// A file with those that the worker knows, one a line.
    loot: PathBuf,
}

/// 32 random digits.
fn random() -> String {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn job(loot: &Path, go: &Path) -> String {
    let (loot, go) = (loot.display(), go.display());
    format!(
        r#"
[repo.env]
secrets = ["DATABASE"]

[agent.talker]
kind = "command"
run = "cat {loot}; cat {loot} >&2; cat {loot} > $LONGHAUL_SESSION/notes; sed -i s/hello/goodbye/ src/f0.txt; echo 1 > $LONGHAUL_TURN; for i in $(seq 600); do [ -e {go} ] && break; cat {loot}; sleep 0.1; done"
[agent.thief]
kind = "command"
run = "cat {loot} >> src/f1.txt; echo 1 > $LONGHAUL_TURN; sleep 2"
[agent.namer]
kind = "command"
run = "while read line; do : > src/f2.txt.$line; done < {loot}; echo goodbye > src/f2.txt"
[agent.edit]
kind = "command"
run = "sed -i s/hello/goodbye/ src/f4.txt"

[[task]]
id = "talker"
write = ["src/f0.txt"]
instructions = "Say goodbye and a lot more"
ladder = ["talker"]
check = "cat {loot}; echo $DATABASE; ! grep -q hello src/f0.txt"
wip_every = "1s"
attempts = 1
[[task]]
id = "thief"
write = ["src/f1.txt"]
instructions = "Take them along"
ladder = ["thief"]
wip_every = "1s"
attempts = 1
[[task]]
id = "namer"
write = ["src/f2.txt*"]
instructions = "Take them along by name"
ladder = ["namer"]
attempts = 1
[[task]]
id = "outsider"
write = ["src/f3.txt"]
instructions = "Write where it may not"
ladder = ["namer"]
attempts = 1
[[task]]
id = "failing"
write = ["src/f4.txt"]
instructions = "Fail loudly"
ladder = ["edit"]
check = "cat {loot} >&2; env; exit 7"
attempts = 1

[gate]
run = "cat {loot}; echo $DATABASE; env; ! grep -rq BROKEN src"
"#
    )
}

/// Everything secret of the fleet, and the variables of its worker.
fn plant(world: &World, guard: &Guard, people: &[(&str, &Person)]) -> (Planted, Vec<(String, String)>) {
    let mut known: Vec<(String, String)> = VARIABLES.iter().map(|name| ((*name).to_owned(), random())).collect();
    let lines = [format!("{}{}", random(), random()), format!("{}{}", random(), random())];
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----", lines[0], lines[1]);
    let mut env = known.clone();
    env.push(("SIGNING_KEY".to_owned(), pem));
    known.extend(lines.into_iter().map(|line| ("a line of SIGNING_KEY".to_owned(), line)));
    known.push(("the seed of w1".to_owned(), guard.seed("w1").expect("a seed")));
    let own = people.iter().filter(|(name, _)| *name == "w1");
    known.extend(own.map(|(name, person)| (format!("the token of {name}"), person.token.clone())));
    let loot = world.folder().join("loot");
    let text: String = known.iter().map(|(_, value)| format!("{value}\n")).collect();
    longhaul_tests::certs::secret(&loot, &text).expect("written");
    let mut values = known;
    let others = people.iter().filter(|(name, _)| *name != "w1");
    values.extend(others.map(|(name, person)| (format!("the token of {name}"), person.token.clone())));
    values.push(("the seed of the server".to_owned(), guard.seed("serve").expect("a seed")));
    let key = std::fs::read_to_string(&guard.server().key).expect("a key");
    let secret = key.lines().filter(|line| !line.starts_with('-'));
    values.extend(secret.map(|line| ("the server's key".to_owned(), line.to_owned())));
    (Planted { values, loot }, env)
}

impl Planted {
    /// Which of them are in some bytes.
    fn in_bytes(&self, bytes: &[u8]) -> Vec<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.values.iter().filter(|(_, value)| text.contains(value.as_str())).map(|(name, _)| name.as_str()).collect()
    }

    #[track_caller]
    fn not_in(&self, place: &str, bytes: &[u8]) {
        let found = self.in_bytes(bytes);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }

    /// Every file below a folder, names included; gives how many were read.
    fn not_below(&self, folder: &Path, but: &dyn Fn(&Path) -> bool) -> usize {
        let (mut open, mut count) = (vec![folder.to_owned()], 0);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if but(&path) {
                    continue;
                }
                self.not_in("a path", path.as_os_str().as_encoded_bytes());
                let kind = entry.file_type().expect("known");
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    self.not_in(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
                    count += 1;
                }
            }
        }
        count
    }

    /// Every object of a repository, as git shows it.
    fn not_in_repository(&self, repo: &PathBuf) -> usize {
        let out = Command::new("git")
            .arg("-C")
            .arg(repo)
            .args(["cat-file", "--batch-all-objects", "--batch"])
            .output()
            .expect("git");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        self.not_in(&repo.display().to_string(), &out.stdout);
        git_in(repo, &["cat-file", "--batch-all-objects", "--batch-check"]).lines().count()
    }
}

/// Looks at every process's arguments until it is told to end; gives how many it saw.
fn watch_arguments(planted: Arc<Planted>, end: Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut seen = 0;
        while !end.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").expect("linux").flatten() {
                if let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) {
                    planted.not_in("the arguments of a process", &arguments);
                    seen += 1;
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        seen
    })
}

#[test]
fn planted_secrets_are_nowhere_during_and_after_a_job() {
    if NatsServer::is_missing() {
        return;
    }
    let world = greeting(5);
    let mut guard = Guard::new(&world).expect("a guard");
    let w1 = guard.worker_by_token(&world, "w1").expect("w1");
    let alice = guard.person(&world, "alice", &["submit", "approve", "read"]).expect("alice");
    let (planted, env) = plant(&world, &guard, &[("w1", &w1), ("alice", &alice)]);
    let go = world.folder().join("go");
    world.job(&format!("{HEAD}{}", job(&planted.loot, &go)));
    let mut extras = Extras::guarded(guard).with("w1", &["-vv"]).with("serve", &["-vv"]);
    extras.env.insert("w1".to_owned(), env);
    let (planted, end) = (Arc::new(planted), Arc::new(AtomicBool::new(false)));
    let watching = watch_arguments(Arc::clone(&planted), Arc::clone(&end));
    let rig = Rig::start(world, &FleetSpec { workers: 1, slots: 3, ..FleetSpec::default() }, extras);

    rig.expect(0, Some(&alice), &["run", "--detach", "-vv"]);
    attach(&rig, &alice, &planted);
    // Nothing is found in the middle either.
    search(&rig, &planted);
    std::fs::write(&go, "").expect("written");
    let landed = |event: &Event| matches!(event, Event::Landed(_));
    rig.wait("the talker lands", || rig.events(JOB).iter().any(landed).then_some(()));
    let failed = |event: &&Event| matches!(event, Event::AttemptFailed(_));
    rig.wait("the others fail", || (rig.events(JOB).iter().filter(failed).count() == 4).then_some(()));
    // What failed is parked for a person, who gives it up.
    rig.expect(0, Some(&alice), &["cancel", "--whole-job", "--job", JOB]);
    let watched = rig.ask(Some(&alice), &["watch", JOB, "--after", "0", "-vv"]);
    planted.not_in("watch", format!("{}{}", watched.stdout, watched.stderr).as_bytes());
    shown(&rig, &alice, &planted);
    rig.expect(0, Some(&alice), &["export", JOB]);
    end.store(true, Ordering::Relaxed);
    let processes = watching.join().expect("no arguments held a secret");
    let (files, objects) = search(&rig, &planted);
    println!("{} values; {processes} argument lists, {files} files, {objects} objects", planted.values.len());
    assert!(processes > 100 && files > 20 && objects > 10, "{processes} {files} {objects}");
    outcomes(&rig);
}

/// Follows the talker live until it is seen to say what it must not, redacted.
fn attach(rig: &Rig, alice: &Person, planted: &Planted) {
    let works = || rig.events(JOB).iter().any(|event| matches!(event, Event::WipSaved(_)));
    rig.wait("work in progress is saved", || works().then_some(()));
    let path = rig.world.folder().join("attached");
    let out = std::fs::File::create(&path).expect("a file");
    let mut child = rig.command(Some(alice), &["attach", "talker", "--job", JOB]);
    let mut child = child.stdout(out).stderr(Stdio::null()).spawn().expect("it starts");
    let shown = || std::fs::read(&path).unwrap_or_default();
    rig.wait("the live trace shows it redacted", || longhaul_tests::fleet::holds(&path, "[redacted]").then_some(()));
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    planted.not_in("the live trace", &shown());
}

/// What people are shown of it.
fn shown(rig: &Rig, alice: &Person, planted: &Planted) {
    for args in [
        &["status", JOB, "--json"][..],
        &["report", JOB, "--format", "html"],
        &["report", JOB, "--format", "junit"],
        &["diff", "--job", JOB],
        &["logs", "talker", "--job", JOB],
        &["logs", "--job", JOB],
        &["show", "failing", "--job", JOB, "--capsule"],
        &["show", "thief", "--job", JOB, "--json"],
        &["show", "outsider", "--job", JOB],
        &["workers", "--json"],
    ] {
        let ran = rig.expect(0, Some(alice), args);
        planted.not_in(&format!("longhaul {args:?}"), format!("{}{}", ran.stdout, ran.stderr).as_bytes());
    }
    assert!(rig.expect(0, Some(alice), &["logs", "talker", "--job", JOB]).stdout.contains("[redacted]"));
}

/// Searches what processes left so far: logs, the server's state, the worker's, every repository.
fn search(rig: &Rig, planted: &Planted) -> (usize, usize) {
    let member = |name: &str| rig.world.folder().join(name);
    for name in ["serve", "w1"] {
        planted.not_in(&format!("the log of {name}"), &std::fs::read(member(&format!("{name}.log"))).expect("a log"));
    }
    for record in rig.records(JOB) {
        planted.not_in("a record of the journal", &record.encode_to_vec());
    }
    // A workspace is the agent's own: what it writes there stays there until the slot is moved.
    let workspace = |path: &Path| path == member("w1").join("slots");
    let mut files = planted.not_below(&rig.fleet.server.root, &|_| false);
    files += planted.not_below(&rig.world.state(), &|_| false);
    files += planted.not_below(&member("w1"), &workspace);
    let mut objects = planted.not_in_repository(&rig.world.repo());
    objects += rig.stores().iter().map(|store| planted.not_in_repository(store)).sum::<usize>();
    (files, objects)
}

/// Each subtask ended as it had to.
fn outcomes(rig: &Rig) {
    let failures: Vec<(FailureClass, String, Vec<String>)> = rig
        .events(JOB)
        .into_iter()
        .filter_map(|event| match event {
            Event::AttemptFailed(failed) => failed.failure,
            _ => None,
        })
        .map(|failure| (failure.class(), failure.message.clone(), failure.paths.clone()))
        .collect();
    let of = |class, words: &str| failures.iter().filter(|(is, text, _)| *is == class && text.contains(words)).count();
    assert_eq!(of(FailureClass::Result, "a secret value is in the patch"), 2, "{failures:?}");
    assert_eq!(of(FailureClass::Footprint, "outside"), 1, "{failures:?}");
    assert_eq!(of(FailureClass::Check, "exited with 7"), 1, "{failures:?}");
    let redacted = failures.iter().flat_map(|(_, _, paths)| paths).filter(|path| path.contains("[redacted]")).count();
    assert!(redacted > 0, "{failures:?}");
    let branch = rig.world.branch();
    assert_eq!(rig.world.on_branch(&branch, "src/f0.txt"), "goodbye 0\nkeep this line");
    assert_eq!(rig.world.on_branch(&branch, "src/f1.txt"), "hello 1\nkeep this line");
}
