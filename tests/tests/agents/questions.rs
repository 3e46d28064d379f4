//! Agents that ask people: a whole job that stops for the questions, is answered while nobody runs it,
//! and goes on where it stopped.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use longhaul_tests::World;
use longhaul_tests::model::Recorded;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::model::model;
use super::model_job::{HEAD, KEY, part, run_job, text, world};

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
    let rule = "[policy]\nask_wait = 'off'\n[[policy.command]]\nprefix = ['git', 'push']\ndecide = 'ask'\n";
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

/// A job that runs, whose questions are read as they come.
pub struct Running {
    run: Child,
    lines: Box<dyn Iterator<Item = String> + Send>,
    said: String,
}

impl Running {
    pub fn new(mut command: Command) -> Self {
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(run.stderr.take().expect("piped")).lines().map_while(Result::ok);
        Self { run, lines: Box::new(lines), said: String::new() }
    }

    /// The park of the next question that is answered by this verb; `None` at the end.
    pub fn next(&mut self, verb: &str) -> Option<String> {
        let begin = format!("(`longhaul {verb} ");
        for line in &mut self.lines {
            self.said.push_str(&format!("{line}\n"));
            if let Some((_, rest)) = line.split_once(&begin) {
                return Some(rest.trim_end_matches("`)").to_owned());
            }
        }
        None
    }

    /// Waits until it says these words.
    pub fn says(&mut self, words: &str) {
        for line in &mut self.lines {
            self.said.push_str(&format!("{line}\n"));
            if line.contains(words) {
                return;
            }
        }
        panic!("it ended without {words:?}:\n{}", self.said);
    }

    /// Ends it without a warning.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Ends it; gives its exit code.
    pub fn signal(mut self, signal: Signal) -> Option<i32> {
        rustix::process::kill_process(Pid::from_child(&self.run), signal).expect("it runs");
        self.run.wait().expect("it ends").code()
    }

    fn asks(&mut self, verb: &str) -> String {
        self.next(verb).unwrap_or_else(|| panic!("nothing is asked:\n{}", self.said))
    }

    /// Its exit code, and what it said.
    pub fn ends(mut self) -> (Option<i32>, String) {
        self.said.extend(self.lines.map(|line| format!("{line}\n")));
        (self.run.wait().expect("it ends").code(), self.said)
    }
}

pub fn run(world: &World) -> Running {
    let mut command = world.command(&["run"]);
    command.env("SCRIPTED_KEY", KEY);
    Running::new(command)
}

/// What a test does beside a job that runs, on a thread of its own: the models have to answer meanwhile.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

const ECHO: &str = "[[policy.command]]\nprefix = ['echo']\ndecide = 'ask'\n";

#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_in_time_goes_on_in_the_same_session() {
    let question = json!({"tool": "ask", "args": {"question": "Which greeting goes?"}});
    let echo = || json!({"tool": "shell", "args": {"command": "echo allowed"}});
    let words = model(json!({"steps": [question, edit("words"), {"text": "Done."}]})).await;
    let yes = model(json!({"steps": [echo(), echo(), edit("yes"), {"text": "Done."}]})).await;
    let no = model(json!({"steps": [
        {"tool": "shell", "args": {"command": "touch no.txt"}}, edit("no"), {"text": "Done."}
    ]}))
    .await;
    let world = world(&["words", "yes", "no"]);
    let touch = "[[policy.command]]\nprefix = ['touch']\ndecide = 'ask'\n";
    world.job(
        &[
            HEAD.to_owned(),
            format!("[policy]\nask_wait = '30m'\n{ECHO}{touch}"),
            part("words", "openai-chat", &words, "some-model", "attempts = 1\n"),
            part("yes", "openai-chat", &yes, "some-model", "after = ['task-words']\nattempts = 1\n"),
            part("no", "openai-chat", &no, "some-model", "after = ['task-yes']\nattempts = 1\n"),
        ]
        .concat(),
    );
    let world = beside(move || {
        let mut running = run(&world);
        let asks = running.asks("answer");
        let status = world.status();
        let row = parked(&status, "task-words");
        assert_eq!(
            (row["park"].to_string(), &row["waiting"], &row["reason"]),
            (asks.clone(), &true.into(), &"ask".into())
        );
        assert_eq!((&status["counts"]["running"], &status["counts"]["parked"]), (&1.into(), &0.into()));
        for args in [&["status"][..], &["list"], &["explain", "task-words"], &["show", "task-words"]] {
            let said = world.expect(0, args).stdout;
            assert!(said.contains("words asks: Which greeting goes?"), "{args:?}: {said}");
        }
        world.expect(0, &["answer", &asks, "the", "first"]);
        let wants = running.asks("approve");
        world.expect(0, &["approve", &wants]);
        let wants = running.asks("approve");
        world.expect(0, &["reject", &wants, "it", "is", "there"]);
        let (code, said) = running.ends();
        assert_eq!(code, Some(0), "{said}");
        world
    })
    .await;
    let branch = world.branch();
    for name in ["words", "yes", "no"] {
        assert_eq!(world.on_branch(&branch, &format!("{name}.txt")), "goodbye", "{name}");
    }
    let status = world.status();
    assert_eq!((&status["attempts"], &status["failures"]), (&3.into(), &json!({})), "each has one, and needs no more");
    let told = |model: &longhaul_tests::model::ScriptedModel, number: usize, words: &str| {
        let requests = model.requests();
        let found = requests.get(number).map(text).unwrap_or_default();
        assert!(found.contains(words), "request {number} should hold {words:?}: {found}");
        assert!(requests.windows(2).all(|two| two[1].extends(&two[0])), "one conversation");
    };
    told(&words, 1, "answers: the first");
    told(&yes, 1, "Output:\\nallowed");
    told(&yes, 2, "Output:\\nallowed");
    told(&no, 1, "does not allow commands that begin with `touch` (it is there): go on without");
    let logs = world.expect(0, &["logs", "task-words"]).stdout;
    assert!(logs.contains("\"person_asked\"") && logs.contains("answers: the first"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_answered_in_time_is_parked_under_the_number_that_was_shown() {
    let question = json!({"tool": "ask", "args": {"question": "Which greeting goes?"}});
    let words = model(json!({"turns": [[edit("words"), question], [{"text": "Done."}]]})).await;
    let world = world(&["words"]);
    let part = part("words", "openai-chat", &words, "some-model", "attempts = 1\n");
    world.job(&[HEAD.to_owned(), "[policy]\nask_wait = '1s'\n".to_owned(), part].concat());
    let (world, park) = beside(move || {
        let mut running = run(&world);
        let park = running.asks("answer");
        let (code, said) = running.ends();
        assert_ne!(code, Some(0), "{said}");
        (world, park)
    })
    .await;
    let status = world.status();
    let row = parked(&status, "task-words");
    assert_eq!((row["park"].to_string(), &row["waiting"]), (park.clone(), &false.into()));
    world.expect(0, &["answer", &park, "the", "first"]);
    let (world, ran) = run_job(world, &["resume"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let asked = words.requests();
    assert!(asked.len() == 3 && asked[2].extends(&asked[1]), "it goes on where it stopped");
    assert!(text(&asked[2]).contains("answers: the first"), "{}", text(&asked[2]));
    assert_eq!(world.status()["attempts"].as_u64(), Some(2));
}
