//! Settings of agent programs in a repository are seen by agents when the job trusts them, and not
//! otherwise.

use longhaul_tests::World;

use crate::world::{As, machine};

const LOOK: &str = "cat .mcp.json .claude/settings.json > seen.txt 2>/dev/null; echo looked >> seen.txt";

fn job(trust: &str) -> String {
    format!(
        "goal = 'Look'\nname = 'look'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n{trust}\n\
        [gate]\nrun = 'grep -q hook .claude/settings.json && grep -q server .mcp.json'\n\
        [agent.looker]\nkind = 'command'\nrun = '{LOOK}'\n\
        [[task]]\nid = 'look'\nwrite = ['seen.txt']\nladder = ['looker']\n"
    )
}

fn seen(trust: impl Fn(&World) -> String) -> String {
    let world = World::new(&[(".mcp.json", "a server\n"), (".claude/settings.json", "a hook\n"), ("seen.txt", "\n")]);
    world.job(&job(&trust(&world)));
    world.expect(0, &["run"]);
    let branch = world.branch();
    assert_eq!(world.git(&["diff", "--name-only", "main", &branch]), "seen.txt", "what is hidden is still there");
    world.on_branch(&branch, "seen.txt")
}

#[test]
fn settings_of_programs_are_hidden_unless_the_job_names_their_content() {
    if machine(As::Itself)["layers"]["pid"].as_bool() != Some(true) {
        eprintln!("skipped: this machine grants no namespaces, without which nothing in a workspace is hidden");
        return;
    }
    assert_eq!(seen(|_| String::new()), "looked");
    let trusted = seen(|world| {
        let oid = |path: &str| world.git(&["rev-parse", &format!("main:{path}")]);
        format!("trust = {{ '.mcp.json' = '{}', '.claude' = '{}' }}", oid(".mcp.json"), oid(".claude"))
    });
    assert_eq!(trusted, "a server\na hook\nlooked");
}
