//! What was spent and how sure that is, and what people should know of it.

use longhaul_proto as pb;

use crate::core::{Breach, Millis, State};

/// What was spent, by how sure it is.
pub(super) fn books(state: &State) -> pb::Books {
    let spend = &state.spend;
    let (breaches, breaches_total) = spend.breaches();
    let row = |breach: &Breach| pb::BreachRow {
        attempt: breach.attempt.0,
        subtask: breach.subtask.clone(),
        reserved: Some(breach.reserved.into()),
        used: Some(breach.used.into()),
    };
    pb::Books {
        settled: Some(spend.settled().into()),
        reserved: Some(spend.held().into()),
        in_doubt: Some(spend.doubted().into()),
        breaches: breaches.iter().map(row).collect(),
        breaches_total,
        observed: spend.is_observed(),
    }
}

/// Tokens and dollars in words.
pub(super) fn in_words(tokens: u64, usd_micros: u64) -> String {
    match (tokens, usd_micros) {
        (tokens, 0) => format!("{tokens} tokens"),
        (0, usd) => format!("${:.2}", usd as f64 / 1e6),
        (tokens, usd) => format!("${:.2} and {tokens} tokens", usd as f64 / 1e6),
    }
}

/// Breaches, doubts and unmetered use, a line each.
pub(super) fn warnings(state: &State) -> Vec<String> {
    let spend = &state.spend;
    let mut lines = Vec::new();
    let (breaches, total) = spend.breaches();
    if let Some(first) = breaches.first() {
        let used = in_words(first.used.tokens, first.used.usd_micros);
        let reserved = in_words(first.reserved.tokens, first.reserved.usd_micros);
        let more = if total > 1 { format!(", and {} more", total - 1) } else { String::new() };
        lines.push(format!(
            "budget breach: attempt {} of {} used {used} where {reserved} were reserved{more}",
            first.attempt, first.subtask
        ));
    }
    let doubted = spend.doubted();
    if !doubted.is_zero() {
        let amount = in_words(doubted.tokens, doubted.usd_micros);
        lines.push(format!(
            "{amount} are in doubt: {} attempts ended without a report; `longhaul resume --write-off` gives them back",
            spend.in_doubt().len()
        ));
    }
    let limits = state.limits();
    if spend.is_observed() && (limits.tokens > 0 || limits.usd_micros > 0) {
        lines.push("budget: observed, not enforced: an agent reaches its models past the gateway".to_owned());
    }
    lines
}

/// Providers that are waited for.
pub(super) fn providers(state: &State, now: Millis) -> Vec<String> {
    let line = |(name, until_ms): (&str, Millis)| {
        format!("the limit of the provider {name} was reached: asked again in {} s", (until_ms - now + 999) / 1000)
    };
    state.providers.parked(now).map(|(name, provider)| line((name, provider.until_ms))).collect()
}
