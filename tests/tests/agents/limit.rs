//! A provider at its limit: the job goes on without it, also after a kill, and asks it again in time.

use serde_json::json;

use super::model::model;
use super::model_job::{HEAD, part, world};
use super::questions::{beside, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_an_hour_is_kept_over_a_kill_while_the_rest_goes_on() {
    let limited = model(json!({"steps": [{"status": 429, "headers": {"retry-after": "3600"}}]})).await;
    let edit =
        |name: &str| json!({"tool": "edit", "args": {"path": format!("{name}.txt"), "old": "hello", "new": "goodbye"}});
    let done = json!({"text": "Done."});
    // The first run does not get further than this.
    let held = json!({"text": "Done.", "gate": "killed"});
    let fine = model(json!({"cases": [
        {"when": "goodbye in one.txt", "steps": [edit("one"), done]},
        {"when": "goodbye in two.txt", "steps": [edit("two"), held]},
    ], "steps": []}))
    .await;
    let world = world(&["limited", "other", "one", "two"]);
    let agent = |name: &str, of: &str, further: &str| {
        format!(
            "[[task]]\nid = 'task-{name}'\nwrite = ['{name}.txt']\nladder = ['{of}']\n\
            instructions = 'Say goodbye in {name}.txt'\n{further}"
        )
    };
    world.job(
        &[
            HEAD.to_owned(),
            "[budget]\nparallel = 2\n".to_owned(),
            part("limited", "openai-chat", &limited, "some-model", ""),
            agent("other", "limited", ""),
            part("one", "openai-chat", &fine, "some-model", "after = ['task-two']\n"),
            agent("two", "one", ""),
        ]
        .concat(),
    );
    let world = beside(move || {
        let mut first = run(&world);
        first.says("the limit of the provider limited is reached");
        first.kill();
        world
    })
    .await;
    fine.open("killed");
    let world = beside(move || {
        let mut second = run(&world);
        second.says("Landed batch 2");
        let status = world.expect(0, &["status"]).stdout;
        assert!(status.contains("the limit of the provider limited was reached: asked again in 3"), "{status}");
        let explained = world.expect(0, &["explain", "task-other"]).stdout;
        assert!(explained.contains("limited"), "{explained}");
        second.kill();
        world
    })
    .await;
    assert_eq!(limited.requests().len(), 1, "it is not asked before its time");
    let status = world.status();
    assert_eq!((&status["counts"]["landed"], &status["counts"]["parked"]), (&2.into(), &0.into()), "{status}");
}
