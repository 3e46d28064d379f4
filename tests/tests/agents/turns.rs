//! The loop with the scripted model: what it sends turn by turn, and how it ends.

use longhaul_proto::Failure;
use longhaul_tests::model::{Recorded, ScriptedModel, common_prefix};
use longhaul_worker::model::{
    Api, Call, Conversation, Crew, Delta, Does, Ending, Facts, Hands, Limits, Note, Outcome, Part, Profile, Setup,
    Turns,
};
use longhaul_worker::stuck::Watch;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::model::model;
use super::wires::{APIS, PATIENCE, client, settings};

/// Answers every call with as much output as its `lines` say, and remembers what was asked.
#[derive(Default)]
struct Recorder {
    calls: Vec<String>,
    said: Vec<String>,
    noted: Vec<String>,
    reports: Vec<&'static str>,
    diff: u8,
    edits: bool,
}

impl Hands for Recorder {
    async fn call(&mut self, does: Does, call: &Call) -> Outcome {
        self.calls.push(format!("{does:?} {}", call.input.text()));
        self.diff += u8::from(self.edits);
        match call.input.object()["invalid_arguments"].as_str() {
            Some(_) => Outcome::error("the arguments are not JSON"),
            None => Outcome::said(format!("output of {}\n", call.input.text()).repeat(40)),
        }
    }

    async fn check(&mut self) -> Result<Option<String>, Box<Failure>> {
        Ok(self.reports.pop().map(str::to_owned))
    }

    async fn diff(&mut self) -> Result<[u8; 32], Box<Failure>> {
        Ok([self.diff; 32])
    }

    fn turn_ended(&mut self, _: &Conversation) {}

    fn note(&mut self, note: Note<'_>) {
        match note {
            Note::Said(text) => self.said.push(text.to_owned()),
            other => self.noted.push(format!("{other:?}")),
        }
    }

    fn learned(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn heard(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn conversation(model: &ScriptedModel, api: Api, profile: &str, own: &str) -> Conversation {
    let profile = Profile::of("m", Some(profile)).expect("a profile");
    let shared = Part::Text { text: "What all subtasks share. ".repeat(200), anchor: true };
    let setup = Setup {
        settings: settings(),
        system: profile.system.to_owned(),
        profile,
        task: vec![shared, Part::text(own)],
        facts: Facts::default(),
    };
    Conversation::new(client(model, api, PATIENCE), setup, None)
}

async fn run(conversation: &mut Conversation, hands: &mut Recorder, limits: Limits) -> Ending {
    run_with(conversation, hands, limits, &mut Crew::default()).await
}

async fn run_with(conversation: &mut Conversation, hands: &mut Recorder, limits: Limits, crew: &mut Crew) -> Ending {
    let cancel = CancellationToken::new();
    let turns = Turns { conversation, hands, limits, watch: Watch::default(), cancel: &cancel, crew, level: 0 };
    turns.run(&mut |_: Delta| {}).await
}

/// Sixteen turns, with reasoning, parallel calls and words before them.
fn looking() -> Value {
    let steps = (0..15).map(|step| {
        let call = |part: u32| json!({"tool": "shell", "args": {"command": format!("look {step} {part}")}});
        json!({"say": "I look.", "reasoning": format!("thought {step}"), "tools": [call(0), call(1)]})
    });
    json!({ "steps": steps.chain([json!({"text": "Done."})]).collect::<Vec<_>>() })
}

/// The body without the brackets that close the conversation and the whole.
fn open(request: &Recorded) -> &[u8] {
    request.body.strip_suffix(b"]}").expect("the conversation is last")
}

#[tokio::test]
async fn each_turn_begins_with_the_bytes_of_the_one_before_and_is_cached() {
    for api in APIS {
        let model = model(looking()).await;
        let mut conversation = conversation(&model, api, "general", "Yours is a.rs.");
        let mut hands = Recorder { edits: true, ..Recorder::default() };
        let ending = run(&mut conversation, &mut hands, Limits::default()).await;
        assert!(matches!(&ending, Ending::Done(words) if words == "Done."), "{api:?}: {ending:?}");
        assert_eq!((hands.calls.len(), hands.said.len()), (30, 16));
        let requests = model.requests();
        assert_eq!(requests.len(), 16, "{api:?}");
        for pair in requests.windows(2) {
            assert!(pair[1].body.starts_with(open(&pair[0])), "{api:?}: earlier bytes changed");
            assert!(pair[1].extends(&pair[0]), "{api:?}");
        }
        let tokens =
            |request: &Recorded| longhaul_common::tokens::count(&String::from_utf8_lossy(&request.prompt())) as u64;
        let (cached, all) = requests[2..]
            .iter()
            .fold((0, 0), |(cached, all), request| (cached + request.cached_tokens, all + tokens(request)));
        assert!(cached * 100 >= all * 85, "{api:?}: {cached} of {all} tokens from turn three on");
        let sealed = if api == Api::Chat { "thought 0" } else { "sealed-" };
        assert!(String::from_utf8_lossy(&requests[1].body).contains(sealed), "{api:?}: reasoning goes back");
        assert_eq!(conversation.summaries(), 0);
    }
}

#[tokio::test]
async fn siblings_share_all_bytes_up_to_what_is_their_own() {
    for api in APIS {
        let model = model(json!({"steps": [{"text": "Done."}]})).await;
        for own in ["First: a.rs.", "Second: b.rs."] {
            run(&mut conversation(&model, api, "gpt", own), &mut Recorder::default(), Limits::default()).await;
        }
        let requests = model.requests();
        let (one, two) = (&requests[0].body, &requests[1].body);
        let shared = common_prefix(one, two);
        assert!(one[shared..].starts_with(b"First") && two[shared..].starts_with(b"Second"), "{api:?}");
        assert!(requests[1].cached_tokens > 1_000, "{api:?}: {}", requests[1].cached_tokens);
    }
}

#[tokio::test]
async fn failing_checks_go_back_until_they_pass() {
    for api in APIS {
        let script = json!({"turns": [
            [{"tool": "shell", "args": {"command": "one"}}, {"text": "I think so."}],
            [{"tool": "shell", "args": {"command": "two"}}, {"text": "Now it is."}]]});
        let model = model(script).await;
        let mut hands = Recorder { reports: vec!["check exited with 1"], ..Recorder::default() };
        let ending = run(&mut conversation(&model, api, "general", "x"), &mut hands, Limits::default()).await;
        assert!(matches!(&ending, Ending::Done(words) if words == "Now it is."), "{api:?}: {ending:?}");
        assert_eq!(hands.calls, [r#"Shell {"command":"one"}"#, r#"Shell {"command":"two"}"#], "{api:?}");
        assert!(String::from_utf8_lossy(&model.requests()[2].body).contains("check exited with 1"));
    }
}

#[tokio::test]
async fn limits_and_circles_end_it_by_name() {
    let same =
        json!({"steps": (0..50).map(|_| json!({"tool": "shell", "args": {"command": "ls"}})).collect::<Vec<_>>()});
    let wrong = json!({"steps": (0..50).map(|n| json!({"tool": format!("tool{n}"), "args": {}})).collect::<Vec<_>>()});
    let broken = json!({"steps": (0..50).map(|n| json!({"tool": "shell", "arguments": format!("{{broken {n}")})).collect::<Vec<_>>()});
    let refusing = json!({"steps": [{"text": "Done."}]});
    for api in APIS {
        for (script, reports, limits, wanted) in [
            (&same, vec![], Limits::default(), "Stuck(SameCall("),
            (&wrong, vec![], Limits::default(), "Stuck(SameError("),
            (&broken, vec![], Limits::default(), "Stuck(SameError("),
            (&refusing, vec!["it fails"; 50], Limits::default(), "Stuck(Monologue("),
            (&same, vec![], Limits { turns: 2, ..Limits::default() }, "Turns(2)"),
            (&same, vec![], Limits { tokens: 1, ..Limits::default() }, "Tokens("),
        ] {
            let model = model(script.clone()).await;
            let mut hands = Recorder { reports, ..Recorder::default() };
            let ending = run(&mut conversation(&model, api, "general", "x"), &mut hands, limits).await;
            let ending = format!("{ending:?}");
            assert!(ending.starts_with(wanted), "{api:?}: {ending}");
            let warned = hands.noted.iter().any(|words| words.contains("You may be going in circles"));
            assert_eq!(warned, wanted.starts_with("Stuck"), "{api:?}: {:?}", hands.noted);
        }
    }
}

#[tokio::test]
async fn a_model_without_calls_answers_by_a_schema() {
    let say = |action: Value| json!({"text": json!({"thought": "t", "action": action}).to_string()});
    // Each answer is a prompt of its own: results are told as words.
    let script = json!({"turns": [
        [say(json!({"tool": "rg", "pattern": "fn"}))],
        [{"text": "I would rather talk."}],
        [say(json!({"tool": "edit", "path": "a", "old": "1", "new": "2"}))],
        [say(json!({"tool": "finish", "summary": "Did it."}))]]});
    let model = model(script).await;
    let mut hands = Recorder::default();
    let ending = run(&mut conversation(&model, Api::Chat, "schema", "x"), &mut hands, Limits::default()).await;
    assert!(matches!(&ending, Ending::Done(words) if words == "Did it."), "{ending:?}");
    assert_eq!((hands.calls.len(), hands.calls[0].as_str()), (2, r#"Search {"pattern":"fn"}"#));
    assert!(hands.noted[0].contains("is not one JSON object with an action"), "{:?}", hands.noted);
    assert!(hands.calls[1].starts_with("Edit {") && hands.calls[1].contains(r#""path":"a""#), "{:?}", hands.calls);
    let requests = model.requests();
    let first = requests[0].json();
    assert_eq!(first["response_format"]["json_schema"]["schema"]["required"], json!(["thought", "action"]));
    assert!(first.get("tools").is_none());
    assert!(String::from_utf8_lossy(&requests[2].body).contains("is not one JSON object with an action"));
    assert!(requests[3].extends(&requests[2]) && requests[1].extends(&requests[0]));
}

#[tokio::test]
async fn a_conversation_that_was_cut_between_call_and_result_goes_on_there() {
    let model = model(json!({"steps": [{"tool": "shell", "args": {"command": "ls"}}, {"text": "Done."}]})).await;
    let mut first = conversation(&model, Api::Messages, "general", "x");
    let asked = first.ask(&CancellationToken::new(), &mut |_: Delta| {}).await.expect("an answer");
    assert_eq!(asked.calls().len(), 1);
    let profile = Profile::of("m", Some("general")).expect("a profile");
    let setup = Setup {
        settings: settings(),
        system: profile.system.to_owned(),
        profile,
        task: Vec::new(),
        facts: Facts::default(),
    };
    let history = first.history().clone();
    let mut second = Conversation::new(client(&model, Api::Messages, PATIENCE), setup, Some(history));
    let mut hands = Recorder::default();
    let ending = run(&mut second, &mut hands, Limits::default()).await;
    assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
    assert_eq!(hands.calls, [r#"Shell {"command":"ls"}"#], "once, by the second");
    let requests = model.requests();
    assert!(requests.len() == 2 && requests[1].extends(&requests[0]));
}

fn handing(piece: &str) -> Value {
    json!({"tool": "delegate", "args": {"piece": piece, "files": ["a.rs"]}})
}

#[tokio::test]
async fn sub_agents_do_pieces_within_number_depth_and_cost() {
    for api in APIS {
        let steps = [
            handing("Count the lines."),
            handing("Count the words."),
            handing("One too many."),
            json!({"text": "Done."}),
        ];
        let apart = [
            handing("Do it for me."),
            json!({"tool": "shell", "args": {"command": "wc"}}),
            json!({"text": "There are 7."}),
        ];
        let model = model(json!({
            "turns": [steps, [{"text": "Done now."}]], "cases": [{"when": "You are a sub-agent: ", "steps": apart}]
        }))
        .await;
        let mut hands = Recorder { reports: vec!["a check fails"], ..Recorder::default() };
        let mut crew = Crew { left: 2, depth: 1, ..Crew::default() };
        let mut whole = conversation(&model, api, "general", "The parent's own words.");
        let ending = run_with(&mut whole, &mut hands, Limits::default(), &mut crew).await;
        assert!(matches!(&ending, Ending::Done(words) if words == "Done now."), "{api:?}: {ending:?}");
        assert_eq!((crew.made, crew.left), (2, 0));
        assert_eq!(hands.calls, [r#"Shell {"command":"wc"}"#; 2], "{api:?}: in the parent's workspace");
        assert!(hands.reports.is_empty(), "checks are the parent's, and were asked for once it was done");

        let requests = model.requests();
        let text = |request: &Recorded| String::from_utf8_lossy(&request.body).into_owned();
        let (apart, own): (Vec<_>, Vec<_>) =
            requests.iter().partition(|request| text(request).contains("You are a sub-agent: "));
        assert_eq!((own.len(), apart.len()), (5, 6), "{api:?}");
        assert!(
            apart.iter().all(|request| text(request).contains("a.rs") && !text(request).contains("The parent's own"))
        );
        assert!(apart[0].cached_tokens > 1_000, "{api:?}: what all share is in the provider's cache");
        assert!(text(apart[1]).contains("a sub-agent hands nothing on here"), "{api:?}");
        let last = text(own.last().expect("asked"));
        assert!(last.contains("There are 7.") && last.contains("as many as there may be"), "{api:?}");
        assert!(!last.contains("hands nothing on here"), "{api:?}: what a sub-agent heard is its own");
        let all: u64 = requests
            .iter()
            .map(|request| longhaul_common::tokens::count(&String::from_utf8_lossy(&request.prompt())) as u64)
            .sum();
        assert!(whole.used().total() >= all, "{api:?}: {} of {all} tokens are the parent's", whole.used().total());
    }
}

#[tokio::test]
async fn a_sub_agent_ends_with_its_share_and_may_hand_on_where_that_is_allowed() {
    let endless: Vec<Value> =
        (0..40).map(|n| json!({"tool": "shell", "args": {"command": format!("look {n}")}})).collect();
    let deep = json!({"steps": [handing("Deeper."), {"text": "All done."}]});
    let deepest = json!({"steps": [{"text": "The bottom."}], "when": "# Your piece\\n\\nDeeper."});
    let cases = [
        // The share of a quarter, of which one look takes most.
        (
            json!([{"when": "You are a sub-agent: ", "steps": endless}]),
            Limits { tokens: 40_000, ..Limits::default() },
            1,
            "not done after",
            1,
        ),
        (
            json!([deepest, {"when": "You are a sub-agent: ", "steps": deep["steps"]}]),
            Limits::default(),
            2,
            "All done.",
            2,
        ),
    ];
    for (cases, limits, depth, said, made) in cases {
        let model = model(json!({"steps": [handing("Go."), {"text": "Done."}], "cases": cases})).await;
        let mut crew = Crew { left: 5, depth, ..Crew::default() };
        let mut whole = conversation(&model, Api::Responses, "general", "x");
        let ending = run_with(&mut whole, &mut Recorder::default(), limits, &mut crew).await;
        assert!(matches!(&ending, Ending::Done(_)), "{ending:?}");
        assert_eq!(crew.made, made);
        let last = String::from_utf8_lossy(&model.requests().last().expect("asked").body).into_owned();
        assert!(last.contains(said), "{last}");
    }
}
