//! Subtasks with tests of today's behaviour before them.

use longhaul_common::spec::TEST_PATHS;

use super::{World, job, map, task};

fn world() -> World {
    let world = World::new(&[("a.txt", "a"), ("b.txt", "b"), ("c.md", "c")]);
    world.write("r.yml", "id: x\n");
    world
}

fn text(characterise: &str) -> String {
    let tasks = [
        map("m-{stem}", "*.txt", &format!("instructions = 'do {{file}}'\npilot = 1\n{characterise}")),
        task(
            "next",
            &format!("after = ['m']\nwrite = ['c.md']\nland_with = 'x'\nconstraints = ['briefly']\n{characterise}"),
        ),
        task("last", "after = ['next']\nwrite = ['c.md']"),
    ];
    job(&tasks.concat())
}

#[test]
fn each_subtask_waits_for_its_own_tests() {
    let world = world();
    let plan = world.plan(&text("characterise = true"));
    let ids: Vec<&str> = plan.nodes.iter().map(|node| node.id.as_str()).collect();
    let made = ["characterise-m-a", "characterise-m-b", "characterise-next"];
    assert_eq!(ids, [&["m-a", "m-b", "next", "last"][..], &made].concat());
    let deps = |at: usize| plan.nodes[at].deps.iter().map(|&dep| ids[dep as usize]).collect::<Vec<_>>();
    assert_eq!((deps(0), deps(1)), (vec!["characterise-m-a"], vec!["characterise-m-b"]));
    assert_eq!((deps(2), deps(6)), (vec!["m-a", "m-b", "characterise-next"], vec!["m-a", "m-b"]));
    assert!(deps(4).is_empty());
    let (node, task) = (&plan.nodes[4], &plan.tasks[plan.nodes[4].task as usize]);
    assert_eq!((node.about.as_slice(), node.files.len(), node.claims.len()), (&["a.txt".to_owned()][..], 0, 0));
    assert!(task.write == TEST_PATHS);
    assert_eq!((task.map.as_str(), task.additive), ("m", true));
    assert!(task.instructions.ends_with("\n\ndo {file}") && task.constraints == ["change nothing but tests"]);
    let behind: Vec<bool> = plan.nodes.iter().map(|node| node.behind_pilot).collect();
    assert_eq!((behind[4], behind[5]), (behind[0], behind[1]), "no tests are written before the pilot's yes");
    let next = &plan.tasks[plan.nodes[6].task as usize];
    assert_eq!((next.land_with.as_str(), next.constraints.len()), ("", 2));
    assert_eq!(plan.nodes[6].about, ["c.md"]);
    let keys: std::collections::BTreeSet<_> = plan.nodes.iter().map(|node| &node.key).collect();
    assert_eq!(keys.len(), 7);
    let without = world.plan(&text("characterise = false"));
    assert_eq!((without.nodes.len(), without.tasks.len()), (4, 3));
    assert_eq!(without.nodes, world.plan(&text("")).nodes);
    let changed = |at: usize| plan.nodes[at].key != without.nodes[at].key;
    assert!((0..4).all(changed), "what stands on other tests may come out otherwise");
}

#[test]
fn what_can_write_no_tests_or_takes_a_name_is_refused() {
    let world = world();
    let agent = "[agent.rules]\nkind = 'codemod'\nrules = 'r.yml'\n";
    let alone = task("t", "write = ['c.md']\ncharacterise = true").replace("'go'", "'rules'");
    let problems = world.problems(&job(&format!("{agent}{alone}")));
    assert!(problems[0].contains("no agent in the ladder of `t` writes tests"), "{problems:?}");
    let both = [task("t", "write = ['c.md']\ncharacterise = true"), task("characterise-t", "write = ['c.md']")];
    let problems = world.problems(&job(&both.concat()));
    assert!(problems[0].contains("there is another subtask `characterise-t`"), "{problems:?}");
}
