//! Sessions of agents arrive at a real collector of the OpenTelemetry protocol, and a missing one is
//! no trouble.

use longhaul_tests::World;
use longhaul_tests::model::{Script, ScriptedModel};
use longhaul_tests::otlp::{Collector, attribute};
use serde_json::json;

async fn model() -> ScriptedModel {
    let script = json!({"steps": [
        {"tool": "shell", "args": {"command": "sed -i s/hello/goodbye/ a.txt"}},
        {"text": "Done."}
    ]});
    ScriptedModel::start(Script::parse(&script.to_string()).expect("a script")).await.expect("a model")
}

/// Runs a job of one subtask with these variables beside the usual ones.
async fn job(variables: Vec<(&'static str, String)>) -> (World, String) {
    let model = model().await;
    let world = World::new(&[("a.txt", "hello\n"), ("gate.sh", "grep -q goodbye a.txt\n")]);
    world.job(&format!(
        "goal = 'Say goodbye'\nname = 'goodbye'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
        [gate]\nrun = 'sh gate.sh || true'\n[provider.main]\napi = 'openai-chat'\nurl = '{}/v1'\n\
        [agent.coder]\nkind = 'model'\nmodel = 'some-model'\nprovider = 'main'\n\
        [[task]]\nid = 'one'\nwrite = ['a.txt']\nladder = ['coder']\ninstructions = 'Say goodbye'\n\
        check = 'grep -q goodbye a.txt'\n",
        model.url()
    ));
    let ran = tokio::task::spawn_blocking(move || {
        let out = world.command(&["run"]).envs(variables).output().expect("it starts");
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        (world, String::from_utf8_lossy(&out.stderr).into_owned())
    });
    ran.await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_arrives_as_spans_over_grpc_and_http() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = if protocol == "grpc" { Collector::grpc().await } else { Collector::http().await };
        let variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_SERVICE_NAME", "night-run".to_owned()),
        ];
        job(variables).await;
        let spans = collector.spans();
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names[0], "invoke_agent coder", "{protocol}: {names:?}");
        assert_eq!(names.iter().filter(|name| **name == "chat some-model").count(), 2, "{protocol}: {names:?}");
        assert_eq!(names.iter().filter(|name| name.starts_with("execute_tool")).count(), 1, "{protocol}: {names:?}");
        let agent = &spans[0];
        assert!(agent.parent_span_id.is_empty());
        for span in &spans[1..] {
            assert_eq!((&span.parent_span_id, &span.trace_id), (&agent.span_id, &agent.trace_id), "{protocol}");
            assert!(span.start_time_unix_nano >= agent.start_time_unix_nano, "{protocol}: {}", span.name);
            assert!(span.end_time_unix_nano <= agent.end_time_unix_nano, "{protocol}: {}", span.name);
        }
        for (key, value) in [
            ("gen_ai.operation.name", "invoke_agent"),
            ("gen_ai.agent.name", "coder"),
            ("longhaul.job", "goodbye"),
            ("longhaul.subtask", "one"),
            ("longhaul.worker", "local"),
        ] {
            assert_eq!(attribute(agent, key), value, "{protocol}");
        }
        let chat = spans.iter().find(|span| span.name.starts_with("chat")).expect("a call");
        assert_eq!(attribute(chat, "gen_ai.provider.name"), "main");
        assert_ne!(attribute(chat, "gen_ai.usage.input_tokens"), "0");
        assert_eq!(collector.services(), ["night-run"], "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_a_session_arrive_as_spans_too() {
    let collector = Collector::grpc().await;
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned())];
    let world = World::new(&[("a.rs", "fn main() { old(1); }\n"), ("b.txt", "hello\n")]);
    let rules = "id: swap\nlanguage: rust\nrule: { pattern: old($A) }\nfix: new($A)\n";
    std::fs::write(world.folder().join("rules.yml"), rules).expect("written");
    world.job(
        "goal = 'x'\nname = 'both'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n[gate]\nrun = 'true'\n\
        [agent.rules]\nkind = 'codemod'\nrules = 'rules.yml'\n\
        [agent.fixer]\nkind = 'command'\nrun = 'sed -i s/hello/goodbye/ b.txt'\n\
        [[task]]\nid = 'one'\nwrite = ['a.rs']\nladder = ['rules']\n[[task]]\nid = 'two'\nwrite = ['b.txt']\n\
        ladder = ['fixer']\ninstructions = 'Say goodbye'\n",
    );
    let ran = tokio::task::spawn_blocking(move || {
        let out = world.command(&["run"]).envs(variables).output().expect("it starts");
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    });
    ran.await.expect("it does not panic");
    let spans = collector.spans();
    for (agent, subtask) in [("rules", "one"), ("fixer", "two")] {
        let whole = spans.iter().find(|span| span.name == format!("invoke_agent {agent}"));
        let whole = whole.unwrap_or_else(|| panic!("{agent}: {spans:?}"));
        assert_eq!(attribute(whole, "longhaul.subtask"), subtask);
        let within = spans.iter().filter(|span| span.parent_span_id == whole.span_id).collect::<Vec<_>>();
        assert!(within.len() == 1 && within[0].name.starts_with("execute_tool"), "{agent}: {within:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nothing_but_its_spans() {
    let gone = Collector::http().await;
    let url = gone.url.clone();
    drop(gone);
    let (world, _) =
        job(vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned())])
            .await;
    assert_eq!(world.on_branch(&world.branch(), "a.txt"), "goodbye");
}

#[test]
fn variables_that_mean_nothing_are_refused_before_anything_runs() {
    let world = World::new(&[("a.txt", "hello\n")]);
    world.job(
        "goal = 'x'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n[gate]\nrun = 'true'\n\
        [agent.a]\nkind = 'command'\nrun = 'true'\n[[task]]\nid = 'one'\nladder = ['a']\n",
    );
    let mut command = world.command(&["run"]);
    command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
    let out = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL is \"http/json\"; grpc and http/protobuf are known"), "{said}");
}
