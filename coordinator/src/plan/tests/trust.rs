//! Settings of agent programs: trusted by their content at the base, and by nothing else.

use longhaul_common::git::Store;

use super::{HEAD, World, job, task};

fn with_trust(trust: &str) -> String {
    job(&task("t", "")).replace("path = \".\"\n", &format!("path = \".\"\ntrust = {{ {trust} }}\n"))
}

#[test]
fn what_is_as_the_job_says_is_trusted() {
    let world = World::new(&[(".mcp.json", "{}"), (".claude/settings.json", "{}"), ("src/a.rs", "x")]);
    let store = Store::open(&world.root()).expect("a repository");
    let tree = store.resolve("HEAD").and_then(|commit| store.tree_of(commit)).expect("a tree");
    let oid = |path: &str| store.object_at(tree, path).expect("read").expect("there").to_string();
    let trust = format!("'.mcp.json' = '{}', '.claude' = '{}'", oid(".mcp.json"), oid(".claude"));
    let plan = world.plan(&with_trust(&trust));
    assert_eq!(plan.repo.expect("a repository").trusted, [".claude", ".mcp.json"]);
    assert!(world.plan(&job(&task("t", ""))).repo.expect("a repository").trusted.is_empty());
}

#[test]
fn another_content_is_a_problem_with_its_place() {
    let world = World::new(&[(".mcp.json", "{}"), ("src/a.rs", "x")]);
    assert_eq!(HEAD.lines().nth(3), Some("path = \".\""));
    let trust = format!("'.mcp.json' = '{}', '.codex' = 'x', 'src' = 'x'", "0".repeat(40));
    assert_eq!(
        world.problems(&with_trust(&trust)),
        [
            "5:25: .mcp.json is not what the job trusts: it is 9e26dfeeb6e641a33dae4961196235bdb965b21b (help: read it (`git show HEAD:.mcp.json`), and name what it is now)",
            "5:80: there is no .codex in HEAD (help: remove it)",
            "5:93: `src` needs no trust: agents see it (help: remove it; what is hidden unless trusted is .mcp.json, .claude, .codex, .gemini, .opencode, opencode.json, opencode.jsonc, .cursor, .agents)",
        ]
    );
}
