//! What goes to a provider, and what does not: the policy about paths, requests that ask for more than they
//! hold, and what the agent of the next rung is told of the one before.

use serde_json::json;

use super::model::model;
use super::model_job::{HEAD, part, run_job, text, world};

const SECRET: &str = "the margin of the house is forty two\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_go_to_a_provider_is_not_sent_however_it_was_read() {
    let look = json!({"tool": "shell", "args": {"command": "git show HEAD:secret/margin.md | cat -n"}});
    let edit = json!({"tool": "edit", "args": {"path": "one.txt", "old": "hello", "new": "goodbye"}});
    let one = model(json!({"steps": [look, edit, {"text": "Done."}]})).await;
    let world = world(&["one"]);
    world.commit(&[("secret/margin.md", SECRET)], "secret");
    let rule = "[[policy.model]]\npaths = ['secret/**']\nregions = ['eu']\n";
    let home = "[provider.home]\napi = 'openai-chat'\nurl = 'http://127.0.0.1:1/v1'\nregion = 'eu'\n";
    let part = part("one", "openai-chat", &one, "some-model", "attempts = 1\n");
    world.job(&[HEAD, rule, home, &part].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_ne!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let shown = world.expect(0, &["show", "task-one"]).stdout;
    assert!(shown.contains("lines of secret/margin.md") && shown.contains("[[policy.model]]"), "{shown}");
    let requests = one.requests();
    assert_eq!(requests.len(), 1, "the call that held it was not sent");
    assert!(requests.iter().all(|request| !text(request).contains("forty two")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_rung_is_told_what_the_one_before_had_changed() {
    let edit = |old: &str, new: &str| json!({"tool": "edit", "args": {"path": "two.txt", "old": old, "new": new}});
    let first = model(json!({"steps": [edit("hello", "good-bye"), {"text": "Done."}]})).await;
    let second = model(json!({"steps": [edit("hello", "goodbye"), {"text": "Done."}]})).await;
    let world = world(&["one", "two"]);
    let other = part("one", "openai-chat", &first, "some-model", "").replace("goodbye one.txt", "hello one.txt");
    let two = part("two", "openai-chat", &second, "some-model", "attempts = 1\n").replace("['two']", "['one', 'two']");
    // The first task is there for its agent alone.
    let other = other.split("[[task]]").next().expect("its agent").to_owned() + "max_turns = 2\n";
    world.job(&[HEAD.to_owned(), other, two].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "two.txt"), "goodbye");
    let told = second.requests().first().map(text).expect("it is asked");
    for words in ["The agent before you failed", "was taken back", "-hello\\n+good-bye"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
