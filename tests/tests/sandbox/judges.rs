//! Which judge sees what an agent left: its check all of it, a gate what is in the commit.

use longhaul_tests::World;

/// The gate is green on the base, and asks of a change what the check asks.
const JOB: &str = "goal = 'Change'\nname = 'change'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
    [gate]\nrun = 'grep -q old file || test -e build/ok'\n\
    [agent.forger]\nkind = 'command'\nrun = 'mkdir build && touch build/ok && echo new > file'\n\
    [[task]]\nid = 'change'\nwrite = ['file']\nladder = ['forger']\ncheck = 'test -e build/ok'\nattempts = 1\n";

#[test]
fn what_git_ignores_satisfies_a_check_and_no_gate() {
    let world = World::new(&[("file", "old\n"), (".gitignore", "build/\n")]);
    world.job(JOB);
    let ran = world.longhaul(&["run"]);
    assert_ne!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let status = world.status();
    assert_eq!(status["counts"]["landed"], 0, "{status}");
    let shown = world.expect(0, &["show", "change"]).stdout;
    assert!(shown.contains("delivered"), "its check was satisfied: {shown}");
}
