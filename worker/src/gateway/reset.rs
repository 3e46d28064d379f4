//! When a provider's limit is over, from whatever it says: headers first, then the text.

use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

/// When a provider says nothing about it.
const UNSAID: Duration = Duration::from_secs(10);

/// What its texts say before the time.
const WORDS: [&str; 3] = ["try again in ", "retry in ", "retry after "];

/// Whether a status is a limit of the provider rather than an answer.
pub(super) fn is_limit(status: u16, headers: &HeaderMap) -> bool {
    status == 429 || status == 529 || (status == 503 && headers.contains_key("retry-after"))
}

/// How long until the limit is over.
pub(super) fn wait(headers: &HeaderMap, body: &str, now: Timestamp) -> Duration {
    retry_after(headers, now)
        .or_else(|| in_json(body, now))
        .or_else(|| in_words(body))
        .or_else(|| windows(headers, now))
        .unwrap_or(UNSAID)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if let Some(ms) = text(headers, "retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return seconds(ms / 1_000.0);
    }
    let value = text(headers, "retry-after")?;
    if let Ok(value) = value.parse::<f64>() {
        return seconds(value);
    }
    let date = DateTimeParser::new().parse_timestamp(value.replace("GMT", "+0000")).ok()?;
    Some(until(date, now))
}

/// The windows that are used up, or else the one that ends last.
fn windows(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let mut all = Vec::new();
    for (name, value) in headers {
        let (name, Ok(value)) = (name.as_str(), value.to_str()) else { continue };
        let (window, wait) = if let Some(window) = name.strip_prefix("x-ratelimit-reset-") {
            (format!("x-ratelimit-remaining-{window}"), span(value))
        } else if let Some(window) =
            name.strip_prefix("anthropic-ratelimit-").and_then(|name| name.strip_suffix("-reset"))
        {
            (format!("anthropic-ratelimit-{window}-remaining"), value.parse().ok().map(|at| until(at, now)))
        } else {
            continue;
        };
        let used_up = text(headers, &window) == Some("0");
        all.extend(wait.map(|wait| (used_up, wait)));
    }
    all.into_iter().max().map(|(_, wait)| wait)
}

fn in_json(body: &str, now: Timestamp) -> Option<Duration> {
    let error = &serde_json::from_str::<Value>(body).ok()?["error"];
    if let Some(value) = error["resets_in_seconds"].as_f64() {
        return seconds(value);
    }
    if let Some(at) = error["resets_at"].as_i64().and_then(|at| Timestamp::from_second(at).ok()) {
        return Some(until(at, now));
    }
    let details = error["details"].as_array().into_iter().flatten();
    details.filter_map(|detail| detail["retryDelay"].as_str()).find_map(span)
}

fn in_words(body: &str) -> Option<Duration> {
    let body = body.to_ascii_lowercase();
    WORDS.iter().find_map(|word| {
        let rest = &body[body.find(word)? + word.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        span(rest[..end].trim_end_matches('.')).or_else(|| {
            // "in 20 seconds" has its unit behind a space.
            rest[end..].trim_start().starts_with("second").then(|| seconds(rest[..end].parse().ok()?)).flatten()
        })
    })
}

/// A span as providers write it: `20ms`, `1.5s`, `6m0s`, `1h2m3s`.
fn span(text: &str) -> Option<Duration> {
    let (mut sum, mut rest) = (0.0, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += match &rest[..unit] {
            "ms" => number / 1_000.0,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3_600.0,
            "d" => number * 86_400.0,
            _ => return None,
        };
        rest = &rest[unit..];
    }
    seconds(sum)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn found(headers: &[(&'static str, &'static str)], body: &str) -> f64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let now = "2026-11-21T12:00:00Z".parse().expect("a time");
        wait(&map, body, now).as_secs_f64()
    }

    #[test]
    fn every_way_to_say_when_is_understood() {
        for (headers, body, seconds) in [
            (&[("retry-after", "7")][..], "", 7.0),
            (&[("retry-after-ms", "1500"), ("retry-after", "9")], "", 1.5),
            (&[("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT")], "", 90.0),
            (&[("retry-after", "Sat, 21 Nov 2026 11:00:00 GMT")], "", 0.0),
            (&[("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")], "", 360.0),
            (
                &[
                    ("x-ratelimit-reset-requests", "20ms"),
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                "",
                0.02,
            ),
            (&[("anthropic-ratelimit-input-tokens-reset", "2026-11-21T12:00:45Z")], "", 45.0),
            (&[], r#"{"error":{"message":"Rate limit reached. Please try again in 1.5s. Visit"}}"#, 1.5),
            (&[], "Please try again in 6m0s.", 360.0),
            (&[], "Please try again in 20 seconds", 20.0),
            (&[], r#"{"error":{"type":"usage_limit_reached","resets_in_seconds":3600}}"#, 3600.0),
            (&[], r#"{"error":{"resets_at":1795262500}}"#, 100.0),
            (&[], r#"{"error":{"details":[{"a":1},{"retryDelay":"30s"}]}}"#, 30.0),
            (&[("retry-after", "soon")], "nonsense", 10.0),
            (&[("retry-after", "-5")], "", 10.0),
        ] {
            assert_eq!(found(headers, body), seconds, "{headers:?} {body}");
        }
    }
}
