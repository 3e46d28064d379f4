//! Work in progress: a long attempt whose worker dies is gone on with, not begun again.

use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_proto::Wip;
use longhaul_tests::fleet::FleetSpec;
use longhaul_tests::goodbye::JOB;
use longhaul_tests::nats::NatsServer;

use crate::job;
use crate::rig::Rig;

/// Three turns, told to a file outside; the last but one is followed by a wait for the door.
fn agent(world: &longhaul_tests::World) -> String {
    let (door, turns) = (world.folder().join("door"), world.folder().join("turns"));
    format!(
        r#"from=$(cat "$LONGHAUL_SESSION/turn" 2>/dev/null || echo 0)
for turn in 1 2 3; do
  test $turn -gt $from || continue
  echo $turn >> {turns}
  echo "turn $turn" >> src/f00.txt
  test $turn = 3 && sed -i s/hello/goodbye/ src/f00.txt
  echo $turn > "$LONGHAUL_SESSION/turn"
  touch -d @$turn "$LONGHAUL_TURN"
  if test $turn = 2; then for n in $(seq 600); do test -e {door} && break; sleep 0.1; done; fi
done
true"#,
        turns = turns.display(),
        door = door.display()
    )
}

#[test]
fn another_worker_goes_on_where_a_killed_one_was() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(1);
    // The turns are written down outside the workspace.
    job::write(&world, &agent(&world), "[policy]\nsandbox = \"danger-full-access\"\n");
    let spec = FleetSpec { workers: 2, slots: 1, lease: "6s".to_owned(), ..FleetSpec::default() };
    let mut rig = Rig::of(world, &spec);
    let mut run = rig.begin(&["run", "--json"], "run");
    rig.says("run", "\"event\":\"wip_saved\"");
    // Turns in quick succession are one; the second has been saved when its session has.
    let shown: serde_json::Value =
        serde_json::from_str(&rig.expect(0, &["show", "word-f00", "--json"]).stdout).expect("an object");
    let first = shown["attempts"][0]["worker"].as_str().expect("it has one").to_owned();
    let member = rig.fleet.workers.iter_mut().find(|worker| worker.name == first).expect("one of ours");
    member.process.as_mut().expect("it runs").kill().expect("killed");
    job::open(&rig.world);
    rig.ends(&mut run, 0, "run");
    let text = rig.world.on_branch("longhaul/goodbye", "src/f00.txt");
    assert_eq!(text, "goodbye 0\nkeep this line\nturn 1\nturn 2\nturn 3");
    let turns = std::fs::read_to_string(rig.world.folder().join("turns")).expect("told");
    assert_eq!(turns, "1\n2\n3\n", "no turn was made twice");
    let shown: serde_json::Value =
        serde_json::from_str(&rig.expect(0, &["show", "word-f00", "--json"]).stdout).expect("an object");
    let workers: Vec<&str> =
        shown["attempts"].as_array().expect("a list").iter().filter_map(|row| row["worker"].as_str()).collect();
    assert_ne!(workers.first(), workers.last(), "{shown}");
    // The journal names the session, a file has it: the second worker was given it all the same.
    let layout = Layout::new(&rig.fleet.server.root).job(&JOB.parse().expect("a name"));
    let records = read_records(&layout, 0).expect("readable");
    let saved: Vec<Wip> = records
        .into_iter()
        .filter_map(|record| match record.event {
            Some(Event::WipSaved(saved)) => saved.wip,
            _ => None,
        })
        .collect();
    assert!(!saved.is_empty() && saved.iter().all(|wip| wip.session.is_empty()), "{saved:?}");
    assert!(saved.iter().any(|wip| wip.session_hash.len() == 32), "{saved:?}");
    rig.leave();
}
