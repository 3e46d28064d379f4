//! Servers that do not keep to their word.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;

use super::*;
use crate::trace::Trace;

/// Plays a server that never ends the compaction it began.
fn serve(talk: &Talk) {
    let open = |path: &PathBuf| std::fs::File::options().read(true).write(true).open(path).expect("opens");
    let (stdin, mut stdout) = (std::fs::File::open(&talk.stdin).expect("opens"), open(&talk.stdout));
    std::thread::spawn(move || {
        let mut say = |message: Value| {
            // Whoever gave up does not read.
            let _unread = stdout.write_all(format!("{message}\n").as_bytes());
        };
        for line in BufReader::new(stdin).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { return };
            let method = message["method"].as_str().unwrap_or_default();
            if method == "turn/steer" {
                let usage = json!({"total": {}, "last": {"totalTokens": 90}, "modelContextWindow": 100});
                say(json!({"method": "thread/tokenUsage/updated", "params": {"tokenUsage": usage}}));
                let turn = json!({"id": "t", "status": "completed", "error": null});
                say(json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}}));
            }
            if !message["id"].is_null() {
                say(json!({"id": message["id"], "result": {"thread": {"id": "th"}, "turn": {"id": "t"}}}));
            }
        }
    });
}

#[tokio::test]
async fn a_compaction_without_an_end_is_silence() {
    let dir = tempfile::tempdir().expect("a folder");
    let talk = Talk::new(dir.path()).expect("made");
    serve(&talk);
    let (tell, words) = tokio::sync::mpsc::channel(2);
    for text in ["one that steers", "one that comes too late for the turn"] {
        tell.try_send(text.to_owned()).expect("there is room");
    }
    let idle = Duration::from_millis(300);
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
    assert!(matches!(end, Err(TalkError::Silent(limit)) if limit == idle), "{end:?}");
}
