//! Providers, prices and the policy about them.

use super::{HEAD, TASK, check, parsed};

#[test]
fn what_is_wrong_about_models() {
    let tables = "[provider.a]\napi = 'gemini'\nurl = 'models'\nkey_env = 'A KEY'\n\
        [provider.b]\napi = 'openai-chat'\nurl = 'http://models.example.com/v1'\nkey_env = 'KEY'\nrequests_per_minute = 0\n\
        [price.'m-*']\ninput = -1\noutput = 2\nas_of = 'today'\n\
        [[policy.model]]\npaths = ['src/**']\nproviders = ['bb']\n";
    check(
        &format!("{HEAD}{tables}{TASK}"),
        &[
            "11:7: `url` is not the address of a provider (help: write it with its version, e.g. \"https://models.example.com/v1\")",
            "12:11: `key_env` is not the name of an environment variable (help: write its name alone, e.g. \"MODEL_API_KEY\"; the value stays in the worker's environment)",
            "15:7: the key would travel in clear text (help: use https://, or a server on 127.0.0.1)",
            "17:23: `requests_per_minute` must be at least 1, not 0 (help: raise it, or leave it out)",
            "19:9: `input` must be from 0 to 1000000, not -1 (help: write US dollars per million tokens)",
            "21:9: `as_of` is not a day (help: write it as \"2026-11-21\")",
            "24:14: unknown provider `bb` in [[policy.model]] (help: did you mean `b`?)",
        ],
    );
}

#[test]
fn a_server_of_this_machine_may_speak_in_clear_text() {
    for url in
        ["http://127.0.0.1:8080/v1", "http://[::1]:8080/v1", "http://localhost/v1", "https://models.example.com/v1"]
    {
        let table = format!("[provider.a]\napi = 'openai-responses'\nurl = '{url}'\nkey_env = 'KEY'\nregion = 'eu'\n");
        let file = parsed(&format!("{HEAD}{table}{TASK}")).expect("right");
        assert_eq!(file.provider["a"].url.value, url);
    }
}

#[test]
fn agents_that_talk() {
    let tables = "[provider.chat]\napi = 'openai-chat'\nurl = 'http://127.0.0.1:1/v1'\n\
        [agent.a]\nkind = 'acp'\neffort = 'high'\n\
        [agent.b]\nkind = 'codex'\nmode = 'workspace'\nprovider = 'chat'\n\
        [agent.d]\nkind = 'acp'\nprogram = 'gemini'\nprovider = 'chad'\n\
        [agent.e]\nkind = 'command'\nrun = 'x'\nmodel = 'm'\n";
    check(
        &format!("{HEAD}{tables}{TASK}"),
        &[
            "13:8: missing key `program` or `run` in the acp `a` (help: add `program`: a known one such as \"opencode\", or `run`: any command that speaks it on stdin and stdout)",
            "14:10: `effort` means nothing for an acp (agent `a`) (help: remove it, or use kind = \"codex\")",
            "17:8: unknown mode \"workspace\" of the codex `b` (help: did you mean `workspace-write`?)",
            "18:12: Codex cannot talk to the provider `chat` (agent `b`) (help: name a provider with api = \"openai-responses\")",
            "22:12: unknown provider `chad` of the agent `d` (help: did you mean `chat`?)",
            "26:9: `model` means nothing for a command (agent `e`) (help: remove it, or use kind = \"acp\" or kind = \"codex\")",
        ],
    );
    let table = "[agent.a]\nkind = 'acp'\nprogram = 'claude-agent-acp'\n[agent.a.permissions]\nexecute = 'reject'\n";
    let file = parsed(&format!("{HEAD}{table}{TASK}")).expect("right");
    assert!(file.agent["a"].permissions.is_some());
}
