//! A thread of Codex on a fleet: its worker is killed in the middle of a command, and another one, with
//! another folder, goes on with it.

use std::path::Path;

use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_tests::World;
use longhaul_tests::agents::Agents;
use longhaul_tests::fleet::FleetSpec;
use longhaul_tests::model::{Script, ScriptedModel};
use longhaul_tests::namespace::Namespace;
use longhaul_tests::nats::NatsServer;
use serde_json::{Value, json};

use crate::rig::{Rig, until};

/// Two turns: one that ends in a wait, and what comes after it.
fn script() -> Value {
    let run = |cmd: &str| json!({"tool": "exec_command", "args": {"cmd": cmd, "yield_time_ms": 600_000}});
    json!({"turns": [
        [run("echo one > one.txt; pwd > first.txt"), run("sleep 600")],
        [run("cat one.txt > two.txt; pwd > second.txt"), {"text": "done"}]
    ]})
}

fn job(world: &World, program: &Path, url: &str) {
    let run = [program.display().to_string(), "app-server".to_owned()];
    world.job(&format!(
        "goal = 'Two files'\nname = 'two'\n[[repo]]\nname = 'app'\npath = 'repo'\n\
         [provider.scripted]\napi = 'openai-responses'\nurl = '{url}/v1'\n\
         [agent.coder]\nkind = 'codex'\nmodel = 'gpt-5.5'\nprovider = 'scripted'\nrun = {run:?}\n\
         [[task]]\nid = 'edit'\nladder = ['coder']\ninstructions = 'Make the files.'\nattempts = 1\n\
         idle_timeout = '60s'\nwip_every = '1s'\ncheck = 'test -s two.txt'\n[gate]\nrun = 'test -s main.rs'\n"
    ));
}

/// Whether the server's journal knows of work in progress with a session.
fn saved(root: &Path) -> bool {
    let layout = Layout::new(root).job(&"two".parse().expect("a name"));
    read_records(&layout, 0).unwrap_or_default().into_iter().any(|record| match record.event {
        Some(Event::WipSaved(saved)) => saved.wip.is_some_and(|wip| !wip.session_hash.is_empty()),
        _ => false,
    })
}

#[test]
fn a_thread_goes_on_where_a_killed_worker_left_it() {
    // Without namespaces nothing keeps Codex from calling home.
    if let Some(reason) = Namespace::missing() {
        return eprintln!("skipped: {reason}");
    }
    let Some(program) = Agents::for_test("codex").filter(|_| !NatsServer::is_missing()) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("made");
    let script = Script::parse(&script().to_string()).expect("a script");
    let model = runtime.block_on(ScriptedModel::start(script)).expect("a model");
    let world = World::new(&[("main.rs", "fn main() {}\n")]);
    job(&world, &program, &model.url());
    let spec = FleetSpec { workers: 2, slots: 1, lease: "6s".to_owned(), ..FleetSpec::default() };
    let mut rig = Rig::of(world, &spec);
    let mut run = rig.begin(&["run", "--json"], "run");
    until("a session is saved", || saved(&rig.fleet.server.root), || rig.said("run"));
    let attempts = |rig: &Rig| -> Vec<Value> {
        let shown: Value = serde_json::from_str(&rig.expect(0, &["show", "edit", "--json"]).stdout).expect("an object");
        shown["attempts"].as_array().cloned().unwrap_or_default()
    };
    let first = attempts(&rig)[0]["worker"].as_str().expect("it has one").to_owned();
    let member = rig.fleet.workers.iter_mut().find(|worker| worker.name == first).expect("one of ours");
    member.process.as_mut().expect("it runs").kill().expect("killed");
    rig.ends(&mut run, 0, "run");

    let landed = |path: &str| rig.world.on_branch("longhaul/two", path);
    assert_eq!((landed("one.txt"), landed("two.txt")), ("one".to_owned(), "one".to_owned()));
    let (before, after) = (landed("first.txt"), landed("second.txt"));
    assert!(before.contains(&format!("/{first}/")) && !after.contains(&format!("/{first}/")), "{before} {after}");
    let logs = rig.expect(0, &["logs", "edit"]).stdout;
    let events: Vec<Value> = logs.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sessions: Vec<&Value> = events.iter().filter(|event| event["event"] == "session").collect();
    assert!(sessions.iter().any(|session| session["resumed"] == true), "{sessions:?}");
    // The thread is the same: what the second worker's model is told holds what the first one's said.
    let requests = model.requests();
    let last = requests.last().expect("asked");
    assert!(String::from_utf8_lossy(&last.body).contains("echo one > one.txt; pwd > first.txt"));
    let rows = attempts(&rig);
    assert!(rows.iter().any(|row| row["worker"] != first.as_str()), "{rows:?}");
    rig.leave();
}
