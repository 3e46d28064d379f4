//! Agents that ask people: a whole job that stops for the questions, is answered while nobody runs it,
//! and goes on where it stopped.

use longhaul_tests::model::Recorded;
use serde_json::{Value, json};

use super::model::model;
use super::model_job::{HEAD, part, run_job, text, world};

fn edit(name: &str) -> Value {
    json!({"tool": "edit", "args": {"path": format!("{name}.txt"), "old": "hello", "new": "goodbye"}})
}

/// The park of a subtask, by what `status` says.
fn parked<'a>(status: &'a Value, subtask: &str) -> &'a Value {
    let rows = status["parked"].as_array().expect("parks");
    rows.iter().find(|row| row["subtask"] == subtask).unwrap_or_else(|| panic!("{subtask} waits: {rows:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_stops_for_questions_and_goes_on_with_the_answers() {
    let push = || json!({"tool": "shell", "args": {"command": "git push origin HEAD"}});
    let question = json!({"tool": "ask", "args": {"question": "Which greeting goes?"}});
    let words = model(json!({"turns": [[edit("words"), question], [{"text": "Done."}]]})).await;
    let first = model(json!({"turns": [[push()], [push(), edit("first"), {"text": "Done."}]]})).await;
    let second = model(json!({"turns": [[push()], [edit("second"), {"text": "Done."}]]})).await;
    let world = world(&["words", "first", "second"]);
    let rule = "[[policy.command]]\nprefix = ['git', 'push']\ndecide = 'ask'\n";
    world.job(
        &[
            HEAD.to_owned(),
            rule.to_owned(),
            part("words", "openai-chat", &words, "some-model", "attempts = 1\n"),
            part("first", "openai-chat", &first, "some-model", "attempts = 1\n"),
            part("second", "openai-chat", &second, "some-model", "attempts = 1\n"),
        ]
        .concat(),
    );
    let (world, ran) = run_job(world, &["run"]).await;
    assert_ne!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let status = world.status();
    let (asks, wants) = (parked(&status, "task-words"), parked(&status, "task-first"));
    assert_eq!((&asks["reason"], &asks["asks"], &asks["agent"]), (&"ask".into(), &"question".into(), &"words".into()));
    assert_eq!(asks["text"], "words asks: Which greeting goes?");
    assert_eq!(
        (&wants["asks"], &wants["prefix"], &wants["same"]),
        (&"command".into(), &json!(["git", "push"]), &2.into())
    );
    assert_eq!(status["failures"], json!({}), "a question is no failure");
    let said = world.expect(0, &["status"]).stdout;
    assert!(said.contains("--scope job`") && said.contains("wants to run `git push origin HEAD`"), "{said}");
    let listed = world.expect(0, &["list", "--state", "parked"]).stdout;
    assert!(listed.contains("words asks: Which greeting goes?"), "{listed}");
    let shown = world.expect(0, &["show", "task-words", "--json"]).stdout;
    assert!(shown.contains("\"outcome\":\"asked\""), "{shown}");

    let park = |row: &Value| row["park"].to_string();
    let refused = world.longhaul(&["approve", &park(asks)]);
    assert!(refused.code != 0 && refused.stderr.contains("longhaul answer"), "{}", refused.stderr);
    world.expect(0, &["answer", &park(asks), "the", "first"]);
    world.expect(0, &["reject", &park(wants), "not", "from", "here", "--scope", "job"]);
    assert_eq!(world.status()["counts"]["parked"], 0);
    let (world, ran) = run_job(world, &["resume"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let branch = world.branch();
    for name in ["words", "first", "second"] {
        assert_eq!(world.on_branch(&branch, &format!("{name}.txt")), "goodbye", "{name}");
    }

    let asked = words.requests();
    assert_eq!(asked.len(), 3, "it goes on where it stopped");
    assert!(asked[2].extends(&asked[1]), "in the same conversation");
    assert!(text(&asked[2]).contains("answers: the first"), "{}", text(&asked[2]));
    let has = |requests: &[Recorded], number: usize, words: &str| {
        let found = requests.get(number).map(text).unwrap_or_default();
        assert!(found.contains(words), "request {number} should hold {words:?}: {found}");
    };
    let asked = first.requests();
    has(&asked, 1, "does not allow commands that begin with `git push` (not from here)");
    has(&asked, 2, "not run: the job's rules deny it (a person refused `git push`)");
    has(&second.requests(), 1, "does not allow commands that begin with `git push`");
    let attempts = world.status()["attempts"].as_u64();
    assert_eq!(attempts, Some(6), "two for each, though each has one");
}
