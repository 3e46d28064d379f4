//! What changes a node key, and what must not.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_proto::Plan;

use super::{HEAD, World, job, map, options, task};

const CODEMOD: &str = "[agent.rules]\nkind = 'codemod'\nrules = 'rules/r.yml'\n[agent.script]\nkind = 'command'\nrun = ['{job_dir}/run.sh', 'x']\n";

fn world() -> World {
    let world = World::new(&[("a.txt", "a"), ("b.txt", "b"), ("c.md", "c")]);
    world.write("rules/r.yml", "id: x\n");
    world.write("run.sh", "true\n");
    world
}

fn keys(plan: &Plan) -> BTreeMap<String, Vec<u8>> {
    plan.nodes.iter().map(|node| (node.id.clone(), node.key.clone())).collect()
}

/// Ids of subtasks whose keys differ.
fn changed(before: &Plan, after: &Plan) -> Vec<String> {
    let (before, after) = (keys(before), keys(after));
    assert_eq!(before.len(), after.len());
    before.into_iter().filter(|(id, key)| after.get(id) != Some(key)).map(|(id, _)| id).collect()
}

fn text() -> String {
    let tasks = [
        map("m-{stem}", "*.txt", "instructions = 'do'\ncheck = 'true'"),
        task("next", "after = ['m']\nwrite = ['c.md']"),
        task("whole", "after = ['m-a']"),
        task("ruled", "write = ['none']").replace("'go'", "'rules', 'script'"),
    ];
    job(&format!("{CODEMOD}{}", tasks.concat()))
}

#[test]
fn every_subtask_has_a_key_of_its_own() {
    let plan = world().plan(&text());
    let keys = keys(&plan);
    assert_eq!(keys.values().collect::<BTreeSet<_>>().len(), plan.nodes.len());
    assert!(keys.values().all(|key| key.len() == 32));
}

#[test]
fn limits_change_no_key() {
    let world = world();
    let plan = world.plan(&text());
    let limits = "attempts = 7\ntimeout = '2h'\npilot = 1\nland_with = 'x'\nlabels = ['rust']\nidle_timeout = '1m'\nwip_every = '5m'\n";
    let other = text()
        .replace("instructions = 'do'\n", &format!("instructions = 'do'\n{limits}"))
        .replace(
            "[gate]\nrun = \"true\"",
            "[gate]\nrun = 'false'\nbatch = 3\nlabels = ['gate']\n[budget]\nusd = 5\nparallel = 2\n[policy]\nmax_files = 3",
        )
        .replace("goal = \"g\"", "goal = \"another\"\ncarry = ['rules/*']");
    assert_eq!(changed(&plan, &world.plan(&other)), [""; 0]);
    // Nor do names of agents, or where the job file stands.
    let renamed = text().replace("'go'", "'do'").replace("agent.go", "agent.do");
    assert_eq!(changed(&plan, &world.plan(&renamed)), [""; 0]);
}

#[test]
fn a_model_counts_and_its_limits_prices_and_address_do_not() {
    let world = world();
    let provider = "[provider.p]\napi = 'openai-chat'\nurl = 'http://localhost/v1'\n[mcp.docs]\nrun = 'docs'\n";
    let agent = "[agent.m]\nkind = 'model'\nmodel = 'gpt-5.5'\nprovider = 'p'\n";
    let text = job(&format!("{provider}{agent}{}", task("t", "").replace("'go'", "'m'")));
    let plan = world.plan(&text);
    let Some(longhaul_proto::agent::Kind::Model(model)) = &plan.agents[1].kind else { panic!("a model") };
    assert_eq!(model.provider.as_ref().map(|provider| provider.url.as_str()), Some("http://localhost/v1"));
    assert_eq!((model.max_turns, model.timeout_ms), (200, 0));
    for (from, to, expected) in [
        ("'gpt-5.5'", "'gpt-5.6'", &["t"][..]),
        ("'gpt-5.5'", "'gpt-5.5'\neffort = 'high'", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\nprofile = 'general'", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\nverbosity = 'low'", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\npreambles = true", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\nskills = 'skills'", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\nmcp = 'docs'", &["t"]),
        ("'gpt-5.5'", "'gpt-5.5'\nmax_turns = 9\nmax_tokens = 9\ntimeout = '1m'\ncontext_tokens = 9000", &[]),
        ("//localhost", "//127.0.0.1", &[]),
    ] {
        let other = text.replace(from, to);
        assert_ne!(other, text, "{from}");
        assert_eq!(changed(&plan, &world.plan(&other)), expected, "{from} -> {to}");
    }
    // A server that it is given counts with all that it is; one that it is not given does not.
    let given = text.replace("'gpt-5.5'", "'gpt-5.5'\nmcp = 'docs'");
    for other in [
        given.replace("run = 'docs'", "run = 'doc'"),
        given.replace("run = 'docs'", "run = 'docs'\nenv = { A = '1' }"),
        given.replace("mcp.docs", "mcp.words").replace("mcp = 'docs'", "mcp = 'words'"),
    ] {
        assert_eq!(changed(&world.plan(&given), &world.plan(&other)), ["t"], "{other}");
    }
    assert_eq!(changed(&plan, &world.plan(&text.replace("run = 'docs'", "run = 'doc'"))), [""; 0]);
}

#[test]
fn what_determines_a_result_changes_its_key_and_those_after_it() {
    let world = world();
    let plan = world.plan(&text());
    let check = |from: &str, to: &str, expected: &[&str]| {
        let other = text().replace(from, to);
        assert_ne!(other, text(), "{from}");
        assert_eq!(changed(&plan, &world.plan(&other)), expected, "{from} -> {to}");
    };
    let mapped = ["m-a", "m-b", "next", "whole"];
    check("'do'", "'do it'", &mapped);
    check("check = 'true'", "check = ['true']", &mapped);
    check("check = 'true'", "check = 'true'\nleft = 'x'", &mapped);
    check("check = 'true'", "check = 'true'\nconstraints = ['x']", &mapped);
    check("write = ['c.md']", "write = ['c.m*']", &["next"]);
    check("after = ['m-a']", "after = ['m-b']", &["whole"]);
    check("'rules', 'script'", "'script', 'rules'", &["ruled"]);
    check("run.sh', 'x'", "run.sh', 'y'", &["ruled"]);
    let all = ["m-a", "m-b", "next", "ruled", "whole"];
    check("path = \".\"", "path = \".\"\nfix = 'fmt'", &all);
    check("path = \".\"", "path = \".\"\nenv = { setup = 'x' }", &all);
    check("name = \"r\"", "name = \"other\"", &all);
    check("path = \".\"", "path = \".\"\nenv = { cache = ['x'], pass = ['Y'], secrets = ['Z'] }", &[]);
}

#[test]
fn bytes_of_rules_scripts_and_files_count() {
    let world = world();
    let plan = world.plan(&text());
    world.write("rules/r.yml", "id: y\n");
    assert_eq!(changed(&plan, &world.plan(&text())), ["ruled"]);
    world.write("rules/r.yml", "id: x\n");
    world.write("run.sh", "false\n");
    assert_eq!(changed(&plan, &world.plan(&text())), ["ruled"]);
    world.write("run.sh", "true\n");
    world.commit(&[("b.txt", "bb")]);
    // `whole` takes in every file; `next` depends on the changed one.
    assert_eq!(changed(&plan, &world.plan(&text())), ["m-b", "next", "whole"]);
}

#[test]
fn remarks_count_for_their_subtask_and_those_after_it() {
    let world = world();
    let plan = world.plan(&text());
    let mut remarked = options();
    remarked.remarks.insert("m-b".to_owned(), vec!["smaller".to_owned()]);
    remarked.remarks.insert("gone".to_owned(), vec!["x".to_owned()]);
    let other = world.expand_with(&text(), &remarked).expect("a plan");
    assert_eq!(changed(&plan, &other), ["m-b", "next"]);
    assert_eq!(other.nodes[1].remarks, ["smaller"]);
}

#[test]
fn inputs_of_the_job_folder_are_listed() {
    let world = world();
    world.write("lib/a.py", "1");
    world.write("lib/sub/b.py", "2");
    let agent = "[agent.py]\nkind = 'command'\nrun = 'PYTHONPATH={job_dir}/lib python \"{job_dir}/run.sh\"'\n";
    let plan = world.plan(&format!("{HEAD}{agent}{}", task("t", "")));
    let Some(longhaul_proto::agent::Kind::Command(command)) = &plan.agents[1].kind else { panic!("a command") };
    let paths: Vec<&str> = command.inputs.iter().filter_map(|input| input.split(' ').next()).collect();
    assert_eq!(paths, ["lib/a.py", "lib/sub/b.py", "run.sh"]);
}
