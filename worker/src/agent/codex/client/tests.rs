//! Servers that do not keep to their word.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::trace::Trace;

/// Plays a server whose turns end when they are steered; `compacts` says whether it ends a compaction, too. Gives
/// what it was asked.
fn serve(talk: &Talk, compacts: bool) -> Receiver<String> {
    let (heard, asked) = channel();
    let open = |path: &PathBuf| std::fs::File::options().read(true).write(true).open(path).expect("opens");
    let (stdin, mut stdout) = (std::fs::File::open(&talk.stdin).expect("opens"), open(&talk.stdout));
    std::thread::spawn(move || {
        let mut say = |message: Value| {
            // Whoever gave up does not read.
            let _unread = stdout.write_all(format!("{message}\n").as_bytes());
        };
        let mut began = false;
        for line in BufReader::new(stdin).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { return };
            let method = message["method"].as_str().unwrap_or_default();
            // A test that looks at nothing does not listen.
            let _unheard = heard.send(method.to_owned());
            if method == "turn/steer" {
                let usage = json!({"total": {}, "last": {"totalTokens": 90}, "modelContextWindow": 100});
                say(json!({"method": "thread/tokenUsage/updated", "params": {"tokenUsage": usage}}));
                say(ended());
            }
            if !message["id"].is_null() {
                say(json!({"id": message["id"], "result": {"thread": {"id": "th"}, "turn": {"id": "t"}}}));
            }
            if method == "thread/compact/start" && compacts {
                say(json!({"method": "item/completed", "params": {"item": {"type": "contextCompaction", "id": "c"}}}));
                say(ended());
            }
            if method == "turn/start" && std::mem::replace(&mut began, true) {
                say(ended());
            }
        }
    });
    asked
}

fn ended() -> Value {
    let turn = json!({"id": "t", "status": "completed", "error": null});
    json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}})
}

/// A session that is told words in its first turn and words after it.
async fn talked(compacts: bool, idle: Duration) -> (Result<TurnEnd, TalkError>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let talk = Talk::new(dir.path()).expect("made");
    let asked = serve(&talk, compacts);
    let (tell, words) = tokio::sync::mpsc::channel(2);
    for text in ["one that steers", "one that comes too late for the turn"] {
        tell.try_send(text.to_owned()).expect("there is room");
    }
    let setting = Setting {
        cwd: PathBuf::from("/"),
        prompt: "Do it".to_owned(),
        model: String::new(),
        resume: None,
        words,
        cancel: Default::default(),
        idle: Some(idle),
        policy: Policy::new(Default::default(), &[], &[]),
        asks: Asks::none(),
        agent: String::new(),
        mcp: Vec::new(),
    };
    let trace = Trace::create(&dir.path().join("trace"), Default::default()).expect("made");
    let mut witness = Witness::new(trace, Arc::new(|_| {}), Box::new(|_, _, _| {}));
    let talked = converse(talk, setting, Codex::default(), &mut witness);
    let end = tokio::time::timeout(ANSWER_MAX, talked).await.expect("it does not wait for ever");
    (end, asked.try_iter().collect())
}

#[tokio::test]
async fn a_compaction_without_an_end_is_silence() {
    let idle = Duration::from_millis(300);
    let (end, _) = talked(false, idle).await;
    assert!(matches!(end, Err(TalkError::Silent(limit)) if limit == idle), "{end:?}");
}

#[tokio::test]
async fn a_full_history_is_compacted_before_the_next_turn() {
    let (end, asked) = talked(true, ANSWER_MAX).await;
    assert!(matches!(end, Ok(TurnEnd::Done)), "{end:?}");
    let turns = ["turn/start", "turn/steer", "thread/compact/start", "turn/start"];
    assert_eq!(asked, [&["initialize", "initialized", "thread/start"][..], &turns].concat());
}
