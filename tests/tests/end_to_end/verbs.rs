//! The command line as a new user meets it: wrong files, wrong names, every verb once.

use longhaul_tests::World;

use crate::job::{greeting, greeting_job};

#[test]
fn every_verb_that_shows_something_shows_it() {
    let world = greeting(3);
    world.expect(0, &["run"]);
    for (args, wanted) in [
        (&["status"][..], "3/3"),
        (&["list"][..], "word-f01"),
        (&["list", "--jobs"][..], "goodbye"),
        (&["show", "word-f01"][..], "word-f01"),
        (&["show", "word-f01", "--capsule"][..], "Replace hello in src/f01.txt"),
        (&["diff", "word-f01"][..], "+goodbye 1"),
        (&["diff", "--stat"][..], "src/f02.txt"),
        (&["explain", "word-f01"][..], "landed as"),
        (&["watch", "--after", "0"][..], "Landed"),
        (&["report", "--format", "md"][..], "word-f01"),
        (&["report", "--format", "html"][..], "</html>"),
        (&["report", "--format", "junit"][..], "</testsuites>"),
        (&["schema"][..], "\"goal\""),
        (&["completions", "bash"][..], "longhaul"),
        (&["plan", "--format", "dot"][..], "digraph"),
        (&["plan", "--format", "mermaid"][..], "flowchart"),
        (&["plan", "--format", "json"][..], "word-f01"),
        (&["export"][..], "longhaul/goodbye"),
    ] {
        let ran = world.expect(0, args);
        assert!(ran.stdout.contains(wanted), "{args:?} should show {wanted:?}:\n{}", ran.stdout);
    }
    let written = world.expect(0, &["report", "--out", "pages"]);
    assert_eq!(written.stdout.lines().count(), 3);
    for line in written.stdout.lines() {
        assert!(world.folder().join(line).is_file(), "{line}");
    }
}

#[test]
fn json_lines_end_with_the_result() {
    let world = greeting(2);
    let ran = world.expect(0, &["run", "--json"]);
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let last = lines.last().expect("something was printed");
    assert_eq!((last["event"].as_str(), last["exit"].as_str()), (Some("result"), Some("done")));
    assert_eq!(last["status"]["counts"]["landed"].as_u64(), Some(2));
    let seqs: Vec<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert!(seqs.is_sorted() && seqs.len() > 10, "{seqs:?}");
}

#[track_caller]
fn refused(job: &str, wanted: &[&str]) {
    let world = greeting(2);
    world.job(job);
    for verb in ["plan", "run"] {
        let ran = world.expect(2, &[verb]);
        for text in wanted {
            assert!(ran.stderr.contains(text), "longhaul {verb} should say {text:?}:\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    assert!(!world.state().join("jobs").exists(), "a faulty job file leaves no trace");
}

#[test]
fn faulty_job_files_are_refused_with_place_cause_and_next_step() {
    let good = greeting_job("s/hello/goodbye/");
    refused("goal = ", &["longhaul.toml:1"]);
    refused(&good.replace("containing", "containin"), &["longhaul.toml:", "containing"]);
    refused(&good.replace("ladder = [\"edit\"]", "ladder = [\"edti\"]"), &["edti", "edit"]);
    refused(&good.replace("base = \"main\"", "base = \"mian\""), &["mian", "longhaul.toml:"]);
    refused(&good.replace("path = \"repo\"", "path = \"nowhere\""), &["nowhere"]);
    refused(&good.replace("src/*.txt", "src/*.none"), &["longhaul.toml:"]);
    refused(&good.replace("group = \"file\"", "group = 3.5"), &["longhaul.toml:"]);
    let circle = "\n[[task]]\nid = \"x\"\nafter = [\"y\"]\nwrite=[\"x\"]\nladder=[\"edit\"]\n[[task]]\nid = \"y\"\nafter = [\"x\"]\nwrite=[\"y\"]\nladder=[\"edit\"]\n";
    refused(&(good.clone() + circle), &["x -> y"]);
    let outside = "\n[[task]]\nid = \"x\"\nwrite=[\"../x\"]\nladder=[\"edit\"]\n";
    refused(&(good + outside), &["../x"]);
}

#[test]
fn wrong_use_ends_with_two_and_a_next_step() {
    let world = World::new(&[("a", "a")]);
    for (args, wanted) in [
        (&["run"][..], "longhaul.toml"),
        (&["status"][..], "longhaul init"),
        (&["status", "nonsense"][..], "nonsense"),
        (&["frobnicate"][..], "unrecognized"),
        (&["list", "--state", "odd", "x"][..], "odd"),
        (&["retry"][..], "required"),
    ] {
        let ran = world.expect(2, args);
        assert!(ran.stderr.contains(wanted), "{args:?} should say {wanted:?}:\n{}", ran.stderr);
    }
}

#[test]
fn init_writes_a_job_file_that_plans() {
    let world = World::new(&[
        ("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\n"),
        ("src/lib.rs", "pub fn old_name() {}\n"),
    ]);
    let run = |args: &[&str]| {
        let out = world.command(args).current_dir(world.repo()).output().expect("starts");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
    };
    let (code, said) = run(&["init"]);
    assert_eq!(code, Some(0), "{said}");
    let text = std::fs::read_to_string(world.repo().join("longhaul.toml")).expect("written");
    assert!(text.contains("cargo") && text.contains('#'), "{text}");
    let (code, said) = run(&["plan"]);
    assert_eq!(code, Some(0), "{said}\n{text}");
    let (code, said) = run(&["init"]);
    assert_eq!(code, Some(2), "an existing file is not replaced: {said}");
}

#[test]
fn doctor_looks_at_what_a_run_needs() {
    let world = World::new(&[("a", "a")]);
    let ran = world.longhaul(&["doctor"]);
    assert!(ran.stdout.contains("git") && ran.stdout.contains("free space"), "{}", ran.stdout);
}

#[test]
fn an_old_git_is_refused_before_anything_begins() {
    let world = World::new(&[("a", "a")]);
    world.job("goal = \"x\"\n");
    let folder = world.folder().join("old");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("git"), "#!/bin/sh\necho git version 2.30.2\n").expect("written");
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.join("git"), runs).expect("may run");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("set"));
    let server = ["--server", "http://127.0.0.1:9"];
    for args in [&["run"][..], &["resume"], &["serve"], &["worker", server[0], server[1]], &["doctor"]] {
        let out = world.command(args).env("PATH", &path).output().expect("starts");
        let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
        let code = if args == ["doctor"] { 1 } else { 6 };
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains("git 2.30 is too old: install 2.40 or newer"), "{args:?}: {said}");
    }
}

#[test]
fn interrupted_it_says_how_to_go_on_and_leaves_nothing_behind() {
    let world = World::new(&[("a.txt", "a\n"), ("gate.sh", "true\n")]);
    let fifo = world.folder().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    world.job(&format!(
        "goal = \"wait\"\nname = \"waits\"\n[[repo]]\nname = \"app\"\npath = \"repo\"\nbase = \"main\"\n\
         [agent.wait]\nkind = \"command\"\nrun = \"cat {} > a.txt\"\n\
         [[task]]\nid = \"waiting\"\nwrite = [\"a.txt\"]\nladder = [\"wait\"]\n[gate]\nrun = \"sh gate.sh\"\n",
        fifo.display()
    ));
    let run = world.start(&["run"]);
    let go = std::fs::OpenOptions::new().write(true).open(&fifo).expect("the agent opens it");
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
    let out = run.wait_with_output().expect("ended");
    drop(go);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("longhaul resume"), "{said}");
    assert_eq!(longhaul_tests::leftovers::wait_for_none(&world), Vec::<String>::new());
}

#[test]
fn detached_it_goes_on_without_its_terminal() {
    let world = greeting(4);
    let ran = world.expect(0, &["run", "--detach"]);
    assert!(ran.stderr.contains("longhaul watch"), "{}", ran.stderr);
    // Ends with the coordinator, or at once where that was quicker.
    world.expect(0, &["watch", "--after", "0", "--exit-status"]);
    assert_eq!(longhaul_tests::leftovers::wait_for_none(&world), Vec::<String>::new());
    assert_eq!(world.status()["phase"].as_str(), Some("done"));
    assert_eq!(world.on_branch("longhaul/goodbye", "src/f03.txt"), "goodbye 3\nkeep this line");
}
