//! Plans as text, Graphviz, Mermaid and JSON, against golden files.

use std::collections::BTreeMap;

use longhaul_proto::{Agent, AgentProgram, CodexAgent, Node, Plan, Repo, Task, agent};

use crate::plan::PlanView;

fn table(id: &str, map: &str) -> Task {
    Task { id: id.to_owned(), map: map.to_owned(), ladder: vec![0], ..Default::default() }
}

fn node(id: &str, task: u32, deps: &[u32], weight: u64) -> Node {
    let files = if task == 1 { vec![format!("src/{id}.rs")] } else { Vec::new() };
    Node {
        id: id.to_owned(),
        task,
        deps: deps.to_vec(),
        weight,
        claims: files.clone(),
        files,
        key: vec![task as u8; 32],
        ..Default::default()
    }
}

/// A task, a map of `size`, and a task after the map.
fn plan(size: u32) -> Plan {
    let mut nodes = vec![node("say \"hi\" \\ <b> #1", 0, &[], 10)];
    nodes.extend((1..=size).map(|n| node(&format!("m-{n}"), 1, &[0], u64::from(n % 7) + 1)));
    let all: Vec<u32> = (1..=size).collect();
    nodes.push(node("end", 2, &all, 5));
    nodes[1].pilot = true;
    nodes[2].behind_pilot = true;
    let mut tasks = vec![table("first", ""), table("m-{n}", "m"), table("end", "")];
    tasks[0].whole_repository = true;
    Plan {
        format: 1,
        job: "job".to_owned(),
        goal: "Make it better\nand more".to_owned(),
        repo: Some(Repo {
            name: "api".to_owned(),
            base_name: "main".to_owned(),
            base: vec![0xab; 20],
            ..Default::default()
        }),
        agents: vec![Agent { name: "rules".to_owned(), kind: None }],
        tasks,
        nodes,
        ..Default::default()
    }
}

fn states() -> BTreeMap<String, String> {
    [("m-1", "landed"), ("m-3", "reuse")].map(|(id, state)| (id.to_owned(), state.to_owned())).into()
}

#[track_caller]
fn golden(name: &str, found: &str) {
    let path = format!("{}/src/plan/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "\n{path} says otherwise than\n{found}");
}

#[test]
fn small_plans_are_shown_whole() {
    let (plan, states) = (plan(3), states());
    let view = PlanView::new(&plan, &states);
    golden("small.txt", &view.text(100));
    golden("small.dot", &view.dot());
    golden("small.mmd", &view.mermaid());
    golden("small.json", &format!("{:#}\n", view.json()));
}

#[test]
fn large_maps_collapse() {
    let (plan, states) = (plan(40), states());
    let view = PlanView::new(&plan, &states);
    golden("large.txt", &view.text(60));
    golden("large.dot", &view.dot());
    golden("large.mmd", &view.mermaid());
    assert!(view.text(60).lines().all(|line| line.chars().count() <= 60));
}

#[test]
fn agents_without_a_provider_are_named() {
    let mut plan = plan(3);
    let program = AgentProgram { provider: None, ..AgentProgram::default() };
    let kind = agent::Kind::Codex(CodexAgent { program: Some(program), ..CodexAgent::default() });
    plan.agents[0].kind = Some(kind);
    let shown = PlanView::new(&plan, &BTreeMap::new()).text(100);
    let words = format!("budget: observed for {}: it has no provider", plan.agents[0].name);
    assert!(shown.contains(&words), "{shown}");
}

#[test]
fn waves_and_the_critical_path() {
    let (plan, states) = (plan(8), BTreeMap::new());
    let view = PlanView::new(&plan, &states);
    assert_eq!(view.waves(), [1, 8, 1]);
    assert_eq!(view.critical_path(), [plan.nodes[0].id.as_str(), "m-6", "end"]);
    let totals = view.totals();
    assert_eq!((totals.subtasks, totals.dependencies, totals.claimed_files, totals.whole_repository), (10, 16, 8, 1));
    assert_eq!(totals.states, [("run".to_owned(), 10)].into());
    let empty = Plan::default();
    let view = PlanView::new(&empty, &states);
    assert!(view.waves().is_empty() && view.critical_path().is_empty() && view.text(80).contains("0 subtasks"));
}

#[test]
fn equal_files_of_a_cycle_do_not_hang() {
    let mut plan = plan(3);
    plan.nodes[0].deps = vec![4];
    let states = BTreeMap::new();
    assert!(PlanView::new(&plan, &states).text(80).contains("end"));
}
