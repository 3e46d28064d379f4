//! How amounts, times and names are written for people, the same in the report and on a terminal.
//!
//! Every function is total: nonsense in (a negative time, a huge number) gives readable text out,
//! never a panic, because these run at the end of a long job.

use jiff::{Timestamp, tz::TimeZone};

/// Characters of an object id or log hash shown to a person.
pub const HASH_CHARS: usize = 10;

/// A span of `ms` milliseconds with its two leading units: `0.4s`, `42s`, `3m 04s`, `2h 05m`, `3d 04h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 if ms == 0 => "0s".to_owned(),
        0..10 => format!("{}.{}s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// The span between two Unix times in milliseconds; 0 when they are out of order or unset.
pub fn between_ms(from_ms: i64, to_ms: i64) -> u64 {
    if from_ms <= 0 {
        return 0;
    }
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)
}

/// Millionths of a dollar: `$0`, `$0.0042`, `$3.42`, `$1,204.50`.
pub fn usd(micros: u64) -> String {
    match micros {
        0 => "$0".to_owned(),
        1..100 => "<$0.0001".to_owned(),
        100..10_000 => format!("$0.{:04}", micros / 100),
        _ => {
            let cents = micros / 10_000 + u64::from(micros % 10_000 >= 5_000);
            format!("${}.{:02}", count(cents / 100), cents % 100)
        }
    }
}

/// A number of tokens: `950`, `12.4k`, `1.2M`, `3.0G`.
pub fn tokens(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}.{}G", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
    }
}

/// What work cost: dollars where known, tokens otherwise, a dash for neither.
pub fn cost(usd_micros: u64, used_tokens: u64) -> String {
    match (usd_micros, used_tokens) {
        (0, 0) => "–".to_owned(),
        (0, used) => format!("{} tokens", tokens(used)),
        (micros, _) => usd(micros),
    }
}

/// A whole number with thousands separators.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 subtask`, `2 subtasks`: for nouns whose plural takes an s.
pub fn plural(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(n))
}

/// A Unix time in milliseconds as `2026-03-01 04:05:06Z`; a dash when unset.
pub fn utc(ms: i64) -> String {
    written(ms, &TimeZone::UTC, "%Y-%m-%d %H:%M:%SZ")
}

/// A Unix time in milliseconds in `zone`, as `2026-03-01 05:05:06 CET`; a dash when unset.
pub fn local(ms: i64, zone: &TimeZone) -> String {
    written(ms, zone, "%Y-%m-%d %H:%M:%S %Z")
}

fn written(ms: i64, zone: &TimeZone, pattern: &str) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) if ms > 0 => at.to_zoned(zone.clone()).strftime(pattern).to_string(),
        _ => "–".to_owned(),
    }
}

/// The leading [`HASH_CHARS`] of an object id or hash.
pub fn short(hash: &str) -> String {
    hash.chars().take(HASH_CHARS).collect()
}

/// `text` cut to `max` characters, the last one an ellipsis where something was cut.
pub fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) if max == 0 => String::new(),
        Some(_) => {
            let mut kept: String = text.chars().take(max - 1).collect();
            kept.push('…');
            kept
        }
    }
}

/// The end of `text`: at most `lines` lines and `chars` characters, whole lines where possible.
pub fn tail(text: &str, lines: usize, chars: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let kept = all[all.len().saturating_sub(lines)..].join("\n");
    let excess = kept.chars().count().saturating_sub(chars);
    match kept.char_indices().nth(excess) {
        Some((at, _)) if excess > 0 => format!("…{}", &kept[at..]),
        _ => kept,
    }
}

/// The first few of `items`, quoted by `quote`, then how many more there are.
pub fn some_of<'a>(
    items: impl ExactSizeIterator<Item = &'a str>,
    max: usize,
    quote: impl Fn(&str) -> String,
) -> String {
    let more = items.len().saturating_sub(max);
    let mut out: Vec<String> = items.take(max).map(quote).collect();
    if more > 0 {
        out.push(format!("and {} more", count(more as u64)));
    }
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units() {
        let cases = [
            (0, "0s"),
            (999, "0.9s"),
            (9_999, "9.9s"),
            (42_000, "42s"),
            (184_000, "3m 04s"),
            (7_500_000, "2h 05m"),
            (273_600_000, "3d 04h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(duration(ms), expected);
        }
        assert!(!duration(u64::MAX).is_empty());
    }

    #[test]
    fn money_rounds_to_cents_and_shows_the_smallest() {
        assert_eq!(usd(0), "$0");
        assert_eq!(usd(50), "<$0.0001");
        assert_eq!(usd(4_200), "$0.0042");
        assert_eq!(usd(3_419_999), "$3.42");
        assert_eq!(usd(1_204_500_000), "$1,204.50");
        assert_eq!(usd(u64::MAX), "$18,446,744,073,709.55");
    }

    #[test]
    fn numbers_and_tokens() {
        assert_eq!(count(100_000), "100,000");
        assert_eq!(tokens(12_449), "12.4k");
        assert_eq!(cost(0, 1_250_000), "1.2M tokens");
        assert_eq!(plural(1, "subtask"), "1 subtask");
    }

    #[test]
    fn times_are_total() {
        assert_eq!(utc(1_772_337_906_000), "2026-03-01 04:05:06Z");
        assert_eq!(utc(0), "–");
        assert_eq!(utc(i64::MAX), "–");
        assert_eq!(between_ms(5, 3), 0);
        assert_eq!(between_ms(i64::MAX, i64::MIN), 0);
        assert_eq!(between_ms(0, 3), 0);
        let oslo = TimeZone::fixed(jiff::tz::offset(1));
        assert!(local(1_772_337_906_000, &oslo).starts_with("2026-03-01 05:05:06"));
    }

    #[test]
    fn cuts_on_characters_not_bytes() {
        assert_eq!(clip("äöüß", 4), "äöüß");
        assert_eq!(clip("äöüßx", 4), "äöü…");
        assert_eq!(clip("x", 0), "");
        assert_eq!(tail("a\nb\nc\n", 2, 100), "b\nc");
        assert_eq!(tail("ääääb", 1, 2), "…äb");
    }

    #[test]
    fn lists_say_how_many_are_left() {
        let ids = ["a", "b", "c"];
        assert_eq!(some_of(ids.into_iter(), 2, str::to_owned), "a, b, and 1 more");
    }
}
