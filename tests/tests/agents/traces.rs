//! Every attempt has a trace, whatever its agent is and however it ended.

use longhaul_tests::World;

const HEAD: &str = "goal = 'Say goodbye'\nname = 'goodbye'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
    [gate]\nrun = 'true'\n";

const RULES: &str = "id: bye\nlanguage: python\nrule: { pattern: hello() }\nfix: goodbye()\n";

/// The traces among the logs of a subtask, whose other lines are what programs wrote.
fn trace(world: &World, subtask: &str) -> Vec<serde_json::Value> {
    let logs = world.expect(0, &["logs", subtask]).stdout;
    logs.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn an_agent_without_a_session_has_a_trace_too() {
    let world =
        World::new(&[("a.py", "hello()\n"), ("b.py", "hello()\n"), ("c.py", "hello()\n"), ("d.py", "hello()\n")]);
    std::fs::write(world.folder().join("bye.yml"), RULES).expect("written");
    let task =
        |id: &str, file: &str| format!("[[task]]\nid = '{id}'\nwrite = ['{file}']\nladder = ['{id}']\nattempts = 1\n");
    world.job(
        &[
            HEAD,
            "[agent.rules]\nkind = 'codemod'\nrules = 'bye.yml'\n",
            "[agent.works]\nkind = 'command'\nrun = ['sed', '-i', 's/hello/good bye/', 'b.py']\n",
            "[agent.fails]\nkind = 'command'\nrun = ['sh', '-c', 'echo no; exit 3']\n",
            "[agent.barred]\nkind = 'acp'\nrun = ['sh']\n",
            "[provider.known]\napi = 'openai-chat'\nurl = 'http://127.0.0.1:9/v1'\n",
            "[[policy.model]]\npaths = ['d.py']\nproviders = ['known']\n",
            &task("rules", "a.py"),
            &task("works", "b.py"),
            &task("fails", "c.py"),
            &task("barred", "d.py"),
        ]
        .concat(),
    );
    let ran = world.longhaul(&["run"]);
    assert_eq!(ran.code, 3, "{}\n{}", ran.stdout, ran.stderr);
    for (subtask, title, output, end) in [
        ("rules", "bye.yml", "changed 1:\na.py", "done"),
        ("works", "sed -i s/hello/good bye/ b.py", "it exited with 0 (", "done"),
        ("fails", "sh -c echo no; exit 3", "it exited with 3 (", "failed"),
    ] {
        let trace = trace(&world, subtask);
        let events: Vec<&str> = trace.iter().filter_map(|line| line["event"].as_str()).collect();
        assert_eq!(events, ["tool_started", "tool_ended", "turn_ended"], "{subtask}: {trace:?}");
        assert!(trace[0]["title"].as_str().is_some_and(|said| said.ends_with(title)), "{subtask}: {}", trace[0]);
        assert!(trace[1]["output"].as_str().is_some_and(|said| said.contains(output)), "{subtask}: {}", trace[1]);
        assert_eq!(trace[2]["end"]["end"], end, "{subtask}: {}", trace[2]);
    }
    assert_eq!(trace(&world, "works")[0]["input"]["argv"][2], "s/hello/good bye/", "each word by itself");
    let barred = trace(&world, "barred");
    let why = barred.last().map(|line| line["end"]["message"].to_string()).unwrap_or_default();
    assert!(why.contains("the policy does not let this subtask's files go to a provider"), "{barred:?}");
}
