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
fn what_is_wrong_about_an_agent_around_a_model() {
    let providers = "[provider.a]\napi = 'openai-chat'\nurl = 'http://localhost/v1'\n\
        [provider.g]\napi = 'gemini'\nurl = 'http://localhost/v1beta'\n";
    let agents = "[agent.one]\nkind = 'model'\nmodel = ' '\nprovider = 'b'\nrun = 'x'\neffort = 'hihg'\nprofile = 'gtp'\n\
        [agent.two]\nkind = 'model'\nmodel = 'm'\nprovider = 'g'\nmax_turns = 0\ncontext_tokens = 10\nverbosity = 'x'\nsubagents = 101\nsubagent_depth = 0\n\
        [agent.three]\nkind = 'command'\nrun = 'x'\nmodel = 'm'\n[agent.four]\nkind = 'model'\nmodel = 'm'\n";
    check(
        &format!("{HEAD}{providers}{agents}{TASK}"),
        &[
            "17:9: missing key `model` in the model `one` (help: add `model`: its name at its provider)",
            "18:12: unknown provider `b` of the agent `one` (help: did you mean `a`?)",
            "19:7: `run` means nothing for a model (agent `one`) (help: remove it, or use kind = \"command\", \"acp\" or \"codex\")",
            "20:10: unknown `effort` \"hihg\" (agent `one`) (help: did you mean `high`?)",
            "21:11: unknown `profile` \"gtp\" (agent `one`) (help: did you mean `gpt`?)",
            "25:12: the loop around a model cannot talk to the provider `g` (agent `two`) (help: name a provider with api = \"openai-responses\", \"openai-chat\" or \"anthropic-messages\")",
            "26:13: `max_turns` must be at least 1, not 0 (help: raise it, or leave it out)",
            "27:18: `context_tokens` must be at least 4000, not 10 (help: raise it, or leave it out)",
            "28:13: unknown `verbosity` \"x\" (agent `two`) (help: known here: low, medium, high)",
            "29:13: `subagents` must be at most 100, not 101 (help: lower it, or leave it out)",
            "30:18: `subagent_depth` must be at least 1, not 0 (help: raise it, or leave it out)",
            "34:9: `model` means nothing for a command (agent `three`) (help: remove it, or use kind = \"model\", \"acp\" or \"codex\")",
            "36:8: missing key `provider` in the model `four` (help: add `provider`: the name of a [provider.NAME])",
        ],
    );
}

#[test]
fn what_a_format_has_no_word_for_is_refused() {
    let tables = "[provider.a]\napi = 'anthropic-messages'\nurl = 'http://localhost/v1'\n\
        [agent.m]\nkind = 'model'\nmodel = 'claude'\nprovider = 'a'\nverbosity = 'low'\n";
    check(
        &format!("{HEAD}{tables}{TASK}"),
        &[
            "16:13: `verbosity` means nothing over anthropic-messages (help: remove it; say in `instructions` how much it is to say)",
        ],
    );
}

#[test]
fn an_agent_around_a_model_needs_little() {
    let tables = "[provider.a]\napi = 'openai-chat'\nurl = 'http://localhost/v1'\n\
        [agent.m]\nkind = 'model'\nmodel = 'gpt-5.5'\nprovider = 'a'\neffort = 'high'\ntimeout = '5m'\n";
    let file = parsed(&format!("{HEAD}{tables}{TASK}")).expect("right");
    assert_eq!(file.agent["m"].model.as_ref().map(|model| model.value.as_str()), Some("gpt-5.5"));
}

#[test]
fn agents_that_talk() {
    let tables = "[provider.chat]\napi = 'openai-chat'\nurl = 'http://127.0.0.1:1/v1'\n\
        [agent.a]\nkind = 'acp'\neffort = 'high'\n\
        [agent.b]\nkind = 'codex'\nmode = 'workspace'\nprovider = 'chat'\n\
        [agent.d]\nkind = 'acp'\nprogram = 'gemini'\nprovider = 'chad'\n\
        [agent.e]\nkind = 'command'\nrun = 'x'\nmodel = 'm'\n\
        [agent.f]\nkind = 'codex'\nmcp = ['docs', 'dogs']\n[mcp.docs]\nrun = ['docs-mcp']\n";
    check(
        &format!("{HEAD}{tables}{TASK}"),
        &[
            "13:8: missing key `program` or `run` in the acp `a` (help: add `program`: a known one such as \"opencode\", or `run`: any command that speaks it on stdin and stdout)",
            "14:10: `effort` means nothing for an acp (agent `a`) (help: remove it, or use kind = \"model\" or \"codex\")",
            "17:8: unknown `mode` \"workspace\" (agent `b`) (help: did you mean `workspace-write`?)",
            "18:12: Codex cannot talk to the provider `chat` (agent `b`) (help: name a provider with api = \"openai-responses\")",
            "22:12: unknown provider `chad` of the agent `d` (help: did you mean `chat`?)",
            "26:9: `model` means nothing for a command (agent `e`) (help: remove it, or use kind = \"model\", \"acp\" or \"codex\")",
            "29:16: unknown mcp server `dogs` of the agent `f` (help: did you mean `docs`?)",
        ],
    );
    let table = "[agent.a]\nkind = 'acp'\nprogram = 'claude-agent-acp'\n[agent.a.permissions]\nexecute = 'reject'\n";
    let file = parsed(&format!("{HEAD}{table}{TASK}")).expect("right");
    assert!(file.agent["a"].permissions.is_some());
}

#[test]
fn what_no_agent_would_keep_to_is_refused() {
    let agent = |further: &str| format!("{HEAD}[agent.a]\nkind = 'acp'\nprogram = 'codex-acp'\n{further}{TASK}");
    parsed(&agent("permissions = { read = 'allow', execute = 'allow', fetch = 'reject' }\n"))
        .expect("it asks for nothing");
    let problem = "11:11: codex-acp does not ask before it acts within its sandbox (agent `a`) (help: use kind = \"codex\", \
        or allow `read`, `edit` and `execute` and leave [[policy.command]] out)";
    for further in [
        "permissions = { execute = 'reject' }\n",
        "permissions = { edit = 'ask' }\n",
        "[[policy.command]]\nprefix = ['rm']\ndecide = 'deny'\n",
    ] {
        check(&agent(further), &[problem]);
    }
}

#[test]
fn skills_that_agents_do_not_see_are_refused() {
    let file = format!("{HEAD}[agent.a]\nkind = 'codex'\nskills = ['skills', '.agents/skills']\n{TASK}");
    check(
        &file,
        &[
            "11:21: agents do not see `.agents`, and so not these skills (agent `a`) (help: name another folder, or what it holds in the repository's `trust`)",
        ],
    );
    let trust = "path = \".\"\ntrust = { '.agents' = '9e26dfeeb6e641a33dae4961196235bdb965b21b' }\n";
    parsed(&file.replacen("path = \".\"\n", trust, 1)).expect("they are seen");
}

#[test]
fn a_cap_in_dollars_needs_prices() {
    let tables = "[provider.a]\napi = 'openai-chat'\nurl = 'http://localhost/v1'\n\
        [agent.m]\nkind = 'model'\nmodel = 'gpt-5.5'\nprovider = 'a'\n";
    let budget = "[budget]\nusd = 5\n";
    parsed(&format!("{HEAD}{tables}{TASK}")).expect("without a cap no price is needed");
    check(
        &format!("{HEAD}{tables}{TASK}{budget}"),
        &[
            "14:9: the budget is in dollars and the model `gpt-5.5` has no price (help: add [price.\"gpt-5.5\"] with `input` and `output` in dollars per million tokens, and `as_of`, the day they were read)",
        ],
    );
    for name in ["gpt-5.5", "gpt-*", "*"] {
        let price = format!("[price.'{name}']\ninput = 1.0\noutput = 2.0\nas_of = '2026-11-21'\n");
        parsed(&format!("{HEAD}{tables}{price}{TASK}{budget}")).expect("a price is there");
    }
    parsed(&format!("{HEAD}{tables}{TASK}budget = {{ usd = 1.0 }}\n"))
        .expect_err("the cap of one subtask needs it, too");
}
