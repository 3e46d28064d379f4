//! Each way out as a row; each row as root and as nobody, with all layers and with the few that a
//! container leaves.

use serde_json::Value;

use crate::world::{As, World, can_be, machine};

/// What a row needs from the machine to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    /// Landlock and seccomp.
    Few,
    /// Mounts and process ids of its own.
    Namespaces,
}

use Needs::{Few, Namespaces};

/// What is tried, and which layers it takes to hold.
const ESCAPES: &[(Needs, &str)] = &[
    (Few, "write {outside}/new"),
    (Few, "write {outside}/kept"),
    (Few, "write {home}/new"),
    (Few, "write {other}/ws/new"),
    (Few, "write {other}/ws/code"),
    (Few, "write {state}/token"),
    (Few, "remove {outside}/kept"),
    (Few, "move-in {outside}/kept"),
    (Namespaces, "chmod {outside}/kept"),
    (Few, "read {home}/.ssh/id"),
    (Few, "read {home}/.netrc"),
    (Few, "read {state}/token"),
    (Few, "read {other}/ws/code"),
    (Few, "read /proc/self/root{home}/.ssh/id"),
    (Few, "read /proc/{victim}/environ"),
    (Few, "read /proc/{victim}/root{home}/.ssh/id"),
    (Few, "read /proc/{victim}/cwd/home/.ssh/id"),
    (Few, "environments {secret}"),
    (Few, "write /proc/{victim}/mem"),
    (Few, "read-any /proc/{victim}/maps /proc/{victim}/auxv /proc/{victim}/fd/0"),
    (Few, "write-by-link {outside}/kept"),
    (Few, "write-by-link {outside}/new"),
    (Few, "read-by-link {home}/.ssh/id"),
    (Few, "read-by-hard-link {home}/.ssh/id"),
    (Few, "read-by-hard-link {outside}/kept"),
    (Few, "read /etc/shadow"),
    (Few, "write /etc/longhaul-escape"),
    (Few, "write /usr/longhaul-escape"),
    (Few, "write /proc/sys/kernel/core_pattern"),
    (Few, "device"),
    (Namespaces, "write .git/hooks/pre-commit"),
    (Namespaces, "write .git/config"),
    (Namespaces, "write-by-link .git/config"),
    (Namespaces, "write .git/commondir"),
    (Namespaces, "write .git/info/attributes"),
    (Namespaces, "remove .git/commondir"),
    (Namespaces, "move-git"),
    (Namespaces, "answer-for-init"),
    (Few, "signal {victim}"),
    (Few, "unshare"),
    (Few, "mount"),
    (Few, "python ptrace {victim}"),
    (Few, "python process_vm_readv {victim}"),
    (Few, "python pidfd_getfd {victim}"),
    (Few, "python keyctl"),
    (Few, "python bpf"),
    (Few, "python io_uring"),
    (Few, "python userfaultfd"),
    (Few, "python perf"),
    (Few, "python clone"),
    (Few, "python x32"),
    (Few, "tcp {tcp}"),
    (Few, "udp {udp}"),
    (Few, "unix {state}/run/control.sock"),
    (Few, "unix {outside}/service.sock"),
    (Few, "unix {home}/by-link.sock"),
    (Few, "datagram {home}/log.sock"),
    (Few, "abstract {folder}"),
    // AF_ALG, AF_VSOCK, AF_PACKET
    (Few, "socket 38"),
    (Few, "socket 40"),
    (Few, "socket 17"),
    (Few, "fork"),
    (Few, "memory"),
    (Few, "fill"),
    (Few, "sleep"),
];

/// Rows that are not tried without a boundary: they would harm the machine, or its kernel, hardware or
/// user may refuse them by themselves.
const ONLY_INSIDE: &[&str] = &[
    "write /",
    "read /etc",
    "device",
    "answer-for-init",
    "unshare",
    "mount",
    "python ptrace",
    "python pidfd_getfd",
    "python keyctl",
    "python bpf",
    "python io_uring",
    "python userfaultfd",
    "python perf",
    "python clone",
    "python x32",
    "udp",
    "socket",
    "fork",
    "memory",
    "sleep",
];

/// The layers a row is tried with, if the machine has what it takes.
fn settings(needs: Needs, machine: &Value) -> Vec<&'static str> {
    let has = |name: &str| machine["layers"][name].as_bool() == Some(true);
    let few = needs == Few && has("seccomp");
    let all = has("pid") && has("net");
    [(all, "all"), (few, "few")].into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect()
}

/// How a try ended, and what it said.
fn tried(world: &World, setting: &str, row: &str) -> (String, String) {
    let words: Vec<String> = row.split(' ').map(|word| world.fill(word)).collect();
    let answer = world.host(setting, &words);
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("end"), text("said"))
}

fn held(world: &mut World, setting: &str, row: &str) -> Result<(), String> {
    let (end, said) = tried(world, setting, row);
    let mut wrong = world.damage();
    wrong.extend(world.leftovers().into_iter().map(|pid| format!("process {pid} is left")));
    if said.contains("ESCAPED") || said.contains(world.secret) {
        wrong.push("it got out".to_owned());
    }
    // Ended by a limit, by the kernel, or refused: all else says nothing about the boundary.
    let proven = said.contains("held:") || end.starts_with("OverLimit") || end.starts_with("Signalled");
    if !proven {
        wrong.push("it says nothing".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{row} ({setting}, {:?}): {wrong:?}; {end}; {said}", world.who)) }
}

/// Whether a row can be tried; some need a Python to say what safe Rust cannot.
fn can_try(row: &str) -> bool {
    let can = !row.starts_with("python") || std::path::Path::new("/usr/bin/python3").exists();
    if !can {
        eprintln!("skipped, for there is no /usr/bin/python3: {row}");
    }
    can
}

fn every_way(who: As) {
    if !can_be(who) {
        return;
    }
    let machine = machine(who);
    assert!(machine["landlock"].as_u64() > Some(0), "landlock is what the suite stands on: {machine}");
    let mut world = World::new(who);
    let mut failed = Vec::new();
    for &(needs, row) in ESCAPES.iter().filter(|(_, row)| can_try(row)) {
        let settings = settings(needs, machine);
        if settings.is_empty() {
            eprintln!("skipped, for the machine has no namespaces: {row}");
        }
        for setting in settings {
            if let Err(why) = held(&mut world, setting, row) {
                failed.push(why);
                world = World::new(who);
            }
            clear(&world);
        }
    }
    assert!(failed.is_empty(), "{} of the ways out:\n{}", failed.len(), failed.join("\n"));
}

/// What one try left in its own workspace is not there for the next.
fn clear(world: &World) {
    let ws = world.at("worker/slots/own/ws");
    for entry in std::fs::read_dir(ws).expect("listed").flatten().filter(|entry| entry.file_name() != ".git") {
        let path = entry.path();
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        removed.expect("removed");
    }
}

#[test]
fn every_way_out_is_closed_for_this_user() {
    every_way(As::Itself);
}

#[test]
fn every_way_out_is_closed_for_a_user_without_rights() {
    every_way(As::Nobody);
}

#[test]
fn every_way_leads_out_where_there_is_no_boundary() {
    let mut failed = Vec::new();
    let rows = ESCAPES.iter().map(|(_, row)| *row).filter(|row| can_try(row));
    for row in rows.filter(|row| !ONLY_INSIDE.iter().any(|inside| row.starts_with(inside))) {
        let world = World::new(As::Itself);
        let (end, said) = tried(&world, "none", row);
        if !said.contains("ESCAPED") {
            failed.push(format!("{row}: {end}; {said}"));
        }
    }
    assert!(failed.is_empty(), "{} tries prove nothing:\n{}", failed.len(), failed.join("\n"));
}

/// Runs a try that is to succeed, in every setting there is; a success speaks in the words of an escape.
fn goes_on(row: &str, says: &str) {
    for who in [As::Itself, As::Nobody].into_iter().filter(|&who| can_be(who)) {
        for setting in settings(Few, machine(who)) {
            let (end, said) = tried(&World::new(who), setting, row);
            assert!(said.contains(says), "{who:?} {setting}: {end}; {said}");
        }
    }
}

#[test]
fn ordinary_work_goes_on_inside() {
    goes_on("work", "all of it works");
}

#[test]
fn a_job_file_in_the_home_is_read_and_what_is_hidden_there_is_not() {
    // The rows above have their home open in the same way.
    goes_on("read {home}/longhaul.toml", "ESCAPED: a job");
}

#[test]
fn programs_talk_to_each_other_by_sockets_of_their_own() {
    for who in [As::Itself, As::Nobody].into_iter().filter(|&who| can_be(who)) {
        for setting in settings(Namespaces, machine(who)) {
            let (end, said) = tried(&World::new(who), setting, "own-socket");
            assert!(said.contains("ESCAPED: from inside"), "{who:?}: {end}; {said}");
        }
    }
}

#[test]
fn a_listed_host_is_reached_through_the_proxy_alone() {
    goes_on("fetch", "ESCAPED: through the proxy alone");
}

#[test]
fn the_gateway_is_reached_from_inside() {
    goes_on("gateway", "ESCAPED: the gateway");
}

#[test]
fn a_daemon_ends_with_the_program_that_left_it() {
    for layers in settings(Few, machine(As::Itself)) {
        let world = World::new(As::Itself);
        let line = "(setsid sh -c 'trap \"\" TERM HUP; exec sleep 500' >/dev/null 2>&1 &); (setsid setsid sleep 500 >/dev/null 2>&1 &); exit 7";
        let answer = world.host(layers, &["sh".to_owned(), "-c".to_owned(), line.to_owned()]);
        assert_eq!(answer["end"], "Exited(7)", "{answer}");
        assert_eq!(world.leftovers(), Vec::<String>::new(), "{layers}");
    }
}

#[test]
fn a_reader_writes_nothing_but_its_temporary_folder() {
    let world = World::new(As::Itself);
    let line = "touch $PWD/file && echo wrote; touch ../tmp/file && echo kept; cat .git/HEAD";
    let answer = world.host("read-only", &["sh".to_owned(), "-c".to_owned(), line.to_owned()]);
    let said = answer["said"].as_str().expect("text");
    assert!(!said.contains("wrote") && said.contains("kept") && said.contains("refs/heads"), "{said}");
}
