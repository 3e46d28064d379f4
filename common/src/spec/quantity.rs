//! Durations, sizes and groups: text with a form of its own, each with an error that says how to
//! write it. An error's first line is the cause, the second the next step.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::limits::PERIOD_MS_MAX;

/// A length of time in milliseconds, written as `"90s"`, `"30m"` or `"1h30m"`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub u64);

/// A length of time in milliseconds, or "off", which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub u64);

/// A number of bytes, written as `"500KB"`, `"5MB"` or `"1GiB"`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const PERIOD_HELP: &str = "write a number and a unit, e.g. \"90s\", \"30m\", \"2h\" or \"1h30m\"";
const INTERVAL_HELP: &str = "write a number and a unit, e.g. \"30s\" or \"5m\", or \"off\"";
const SIZE_HELP: &str = "write a number and a unit, e.g. \"500KB\", \"5MB\" or \"1GiB\"";

/// The amounts and units of a text like `1h30m`; `None` when it is not of that form.
fn quantities(text: &str) -> Option<Vec<(f64, &str)>> {
    let mut rest = text.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        let amount: f64 = rest[..digits].replace('_', "").parse().ok()?;
        rest = rest[digits..].trim_start();
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        found.push((amount, &rest[..unit]));
        rest = rest[unit..].trim_start();
    }
    if found.is_empty() { None } else { Some(found) }
}

fn parse_period(text: &str) -> Result<Period, String> {
    let bad = || format!("not a duration: {text:?}\n{PERIOD_HELP}");
    let mut total = 0.0;
    for (amount, unit) in quantities(text).ok_or_else(bad)? {
        total += amount
            * match unit {
                "ms" => 1.0,
                "s" | "sec" => 1_000.0,
                "m" | "min" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return Err(bad()),
            };
    }
    match total.round() as u64 {
        0 => Err(format!("a duration of zero: {text:?}\n{PERIOD_HELP}")),
        ms if ms > PERIOD_MS_MAX => {
            Err(format!("longer than {} days: {text:?}\n{PERIOD_HELP}", PERIOD_MS_MAX / 86_400_000))
        }
        ms => Ok(Period(ms)),
    }
}

fn parse_interval(text: &str) -> Result<Interval, String> {
    if text == "off" {
        return Ok(Interval(0));
    }
    parse_period(text).map(|period| Interval(period.0)).map_err(|error| error.replace(PERIOD_HELP, INTERVAL_HELP))
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_period(text)
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text)
    }
}

fn parse_size(text: &str) -> Result<Size, String> {
    let bad = || format!("not a size: {text:?}\n{SIZE_HELP}");
    let parts = quantities(text).ok_or_else(bad)?;
    let [(amount, unit)] = parts[..] else { return Err(bad()) };
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    match (amount * factor as f64).round() as u64 {
        0 => Err(format!("a size of zero: {text:?}\n{SIZE_HELP}")),
        bytes => Ok(Size(bytes)),
    }
}

/// Reads text of a form of its own.
pub(super) struct TextVisitor<T> {
    pub expected: &'static str,
    pub help: &'static str,
    pub parse: fn(&str) -> Result<T, String>,
}

impl<'de, T> Visitor<'de> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom(format_args!("the number {number} where {} belongs\n{}", self.expected, self.help)))
    }
}

macro_rules! text_value {
    ($name:ident, $expected:literal, $help:expr, $parse:ident, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor { expected: $expected, help: $help, parse: $parse })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub(super) use text_value;

text_value!(Period, "a duration such as \"30m\"", PERIOD_HELP, parse_period, r"^([0-9._]+ *(ms|s|sec|m|min|h|d) *)+$");
text_value!(
    Interval,
    "a duration such as \"1m\" or \"off\"",
    INTERVAL_HELP,
    parse_interval,
    r"^(off|([0-9._]+ *(ms|s|sec|m|min|h|d) *)+)$"
);
text_value!(Size, "a size such as \"5MB\"", SIZE_HELP, parse_size, r"^[0-9._]+ *([kKmMgG]([iI]?[bB])?|[bB])$");

/// How the files of a map are put into subtasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// One subtask a file.
    #[default]
    File,
    /// One subtask for the matching files of each directory.
    Directory,
    /// So many files in path order.
    Count(usize),
    /// Files in path order until the estimate reaches so many tokens; a larger file stands alone.
    Tokens(u64),
}

const GROUP_HELP: &str = "write \"file\", \"directory\", a number of files, or \"tokens:20000\"";

struct GroupVisitor;

impl<'de> Visitor<'de> for GroupVisitor {
    type Value = Group;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"file\", \"directory\", a number of files, or \"tokens:N\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Group, E> {
        match usize::try_from(number) {
            Ok(count) if count > 0 => Ok(Group::Count(count)),
            _ => Err(E::custom(format_args!("a group of {number} files\n{GROUP_HELP}"))),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Group, E> {
        let tokens = || text.strip_prefix("tokens:")?.trim().replace('_', "").parse::<u64>().ok().filter(|&n| n > 0);
        match text {
            "file" => Ok(Group::File),
            "directory" => Ok(Group::Directory),
            _ => match tokens() {
                Some(limit) => Ok(Group::Tokens(limit)),
                None => Err(E::custom(format_args!("not a group: {text:?}\n{GROUP_HELP}"))),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GroupVisitor)
    }
}

impl JsonSchema for Group {
    fn schema_name() -> Cow<'static, str> {
        "Group".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": r"^(file|directory|tokens:[0-9_]+)$" },
                { "type": "integer", "minimum": 1 }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_sizes() {
        let periods = [("30m", 1_800_000), ("90s", 90_000), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("250 ms", 250)];
        for (text, ms) in periods {
            assert_eq!(parse_period(text), Ok(Period(ms)), "{text}");
        }
        for text in ["", "5", "m", "5 weeks", "-5m", "0s", "1..2s", "32d", "99999999999999999999d"] {
            assert!(parse_period(text).is_err(), "{text}");
        }
        for (text, bytes) in [("5MB", 5_000_000), ("1KiB", 1_024), ("1_000 b", 1_000), ("2g", 2_000_000_000)] {
            assert_eq!(parse_size(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "5", "5MB5MB", "MB", "0B", "1TBB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
