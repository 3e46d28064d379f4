//! Providers, prices, and the policy about them.

use super::Check;
use super::settings::between;
use crate::spec::suggest::next_step;
use crate::spec::{
    AgentTable, At, CONTEXT_TOKENS_MAX, CONTEXT_TOKENS_MIN, JobFile, PriceTable, ProviderApi, ProviderTable,
    SUBAGENT_DEPTH_MAX, SUBAGENTS_MAX,
};

/// The largest limit that is still one.
const RATE_MAX: u64 = 1_000_000_000;

pub(super) fn check(file: &JobFile, check: &mut Check<'_>) {
    for provider in file.provider.values() {
        check_provider(file, provider, check);
    }
    for price in file.price.values() {
        check_price(price, check);
    }
    for agent in file.agent.values() {
        check_agent(agent, check);
        check_verbosity(file, agent, check);
    }
    check_caps(file, check);
    for rule in &file.policy.model {
        check.globs(&rule.paths);
        for name in rule.providers.iter().filter(|name| !file.provider.contains_key(&name.value)) {
            let known = file.provider.keys().map(String::as_str);
            let help = next_step(name, known, "declare it as [provider.NAME]");
            check.report(name.span(), format!("unknown provider `{}` in [[policy.model]]", name.value), help);
        }
        let regions: Vec<&str> = file
            .provider
            .values()
            .filter_map(|provider| provider.region.as_ref())
            .map(|region| region.value.as_str())
            .collect();
        for name in rule.regions.iter().filter(|name| !regions.contains(&name.value.as_str())) {
            let help = next_step(name, regions.iter().copied(), "say `region` in a [provider.NAME]");
            check.report(name.span(), format!("no provider is in the region `{}`", name.value), help);
        }
    }
}

/// What an agent says of a model, in numbers, and its skills.
fn check_agent(agent: &AgentTable, check: &mut Check<'_>) {
    check.globs(&agent.skills);
    if let Some(turns) = &agent.max_turns {
        between("max_turns", turns, u64::from(turns.value), 1, u64::from(u32::MAX), check);
    }
    if let Some(tokens) = &agent.max_tokens {
        between("max_tokens", tokens, tokens.value, 1, u64::MAX, check);
    }
    if let Some(count) = &agent.subagents {
        between("subagents", count, u64::from(count.value), 0, SUBAGENTS_MAX, check);
    }
    if let Some(depth) = &agent.subagent_depth {
        between("subagent_depth", depth, u64::from(depth.value), 1, SUBAGENT_DEPTH_MAX, check);
    }
    if let Some(tokens) = &agent.subagent_tokens {
        between("subagent_tokens", tokens, tokens.value, 1, u64::MAX, check);
    }
    if let Some(tokens) = &agent.context_tokens {
        between("context_tokens", tokens, tokens.value, CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX, check);
    }
    if let Some(tokens) = &agent.answer_tokens {
        between("answer_tokens", tokens, tokens.value, CONTEXT_TOKENS_MIN / 8, CONTEXT_TOKENS_MAX / 2, check);
    }
}

/// Anthropic's format has no such setting: it would be dropped in silence.
fn check_verbosity(file: &JobFile, agent: &AgentTable, check: &mut Check<'_>) {
    let provider = agent.provider.as_ref().and_then(|name| file.provider.get(&name.value));
    let is_there = provider.is_none_or(|provider| provider.api.value != ProviderApi::AnthropicMessages);
    if let Some(verbosity) = agent.verbosity.as_ref().filter(|_| !is_there) {
        let message = "`verbosity` means nothing over anthropic-messages";
        check.report(verbosity.span(), message, "remove it; say in `instructions` how much it is to say");
    }
}

fn check_provider(file: &JobFile, provider: &At<ProviderTable>, check: &mut Check<'_>) {
    let url = &provider.url;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let host = authority.strip_prefix("[::1]").map_or(authority.split(':').next().unwrap_or_default(), |_| "localhost");
    if rest.is_none() || host.is_empty() || url.contains(['?', '#']) {
        let help = "write it with its version, e.g. \"https://models.example.com/v1\"";
        check.report(url.span(), "`url` is not the address of a provider", help);
    } else if authority.contains('@') {
        check.report(url.span(), "`url` holds a password", "name the variable with the key in `key_env`");
    } else if url.starts_with("http://") && provider.key_env.is_some() && !matches!(host, "localhost" | "127.0.0.1") {
        let message = "the key would travel in clear text";
        check.report(url.span(), message, "use https://, or a server on 127.0.0.1");
    }
    for (key, rate) in
        [("requests_per_minute", &provider.requests_per_minute), ("tokens_per_minute", &provider.tokens_per_minute)]
    {
        if let Some(rate) = rate {
            between(key, rate, rate.value, 1, RATE_MAX, check);
        }
    }
    if let Some(key) = &provider.key_env {
        check_key(file, key, check);
    }
}

/// A key is for the gateway; an agent that got it could go around it.
fn check_key(file: &JobFile, key: &At<String>, check: &mut Check<'_>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) || !key.chars().all(fits) {
        let help = "write its name alone, e.g. \"MODEL_API_KEY\"; the value stays in the worker's environment";
        check.report(key.span(), "`key_env` is not the name of an environment variable", help);
    }
    for name in file.repo.iter().flat_map(|repo| repo.env.pass.iter()).filter(|name| name.value == key.value) {
        let message = format!("`{}` is a provider's key, and `pass` gives it to agents", key.value);
        check.report(name.span(), message, "remove it from `pass`");
    }
}

/// A cap in dollars holds only for models whose price is known.
fn check_caps(file: &JobFile, check: &mut Check<'_>) {
    let of_tables = || file.tables().into_iter().filter_map(|table| table.work().budget).any(|own| own.usd.is_some());
    if file.budget.usd.is_none() && !of_tables() {
        return;
    }
    let known = |model: &str| {
        let globs = file.price.keys().filter_map(|pattern| globset::Glob::new(pattern).ok());
        file.price.contains_key(model) || globs.map(|glob| glob.compile_matcher()).any(|glob| glob.is_match(model))
    };
    for agent in file.agent.values().filter(|agent| agent.provider.is_some()) {
        if let Some(model) = agent.model.as_ref().filter(|model| !model.trim().is_empty() && !known(model)) {
            let message = format!("the budget is in dollars and the model `{}` has no price", model.value);
            let help = format!(
                "add [price.\"{}\"] with `input` and `output` in dollars per million tokens, and `as_of`, the day they were read",
                model.value
            );
            check.report(model.span(), message, help);
        }
    }
}

fn check_price(price: &At<PriceTable>, check: &mut Check<'_>) {
    let numbers = [
        ("input", Some(&price.input)),
        ("cached_input", price.cached_input.as_ref()),
        ("cache_write", price.cache_write.as_ref()),
        ("output", Some(&price.output)),
    ];
    for (key, number) in numbers {
        if let Some(number) = number.filter(|number| !(0.0..=1e6).contains(&number.value)) {
            let message = format!("`{key}` must be from 0 to 1000000, not {}", number.value);
            check.report(number.span(), message, "write US dollars per million tokens");
        }
    }
    if !is_day(&price.as_of) {
        check.report(price.as_of.span(), "`as_of` is not a day", "write it as \"2026-11-21\"");
    }
}

/// Whether a text is a day of the calendar, as `YYYY-MM-DD`.
fn is_day(text: &str) -> bool {
    let number = |part: &str, digits: usize| {
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| plain)
    };
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leaps),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::is_day;

    #[test]
    fn a_day_is_one_of_the_calendar() {
        for day in ["2026-11-21", "2024-02-29", "2000-02-29", "2026-12-31"] {
            assert!(is_day(day), "{day}");
        }
        for other in [
            "9999-99-99",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-00-10",
            "2026-1-01",
            "+026-01-01",
            "today",
            "",
        ] {
            assert!(!is_day(other), "{other}");
        }
    }
}
