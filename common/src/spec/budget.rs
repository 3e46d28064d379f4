//! Two values of `[budget]` with a form of their own: the time of day work winds down by, and the
//! failure rate the job pauses at.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use super::quantity::{TextVisitor, text_value};

/// Most attempts a breaker looks back on: as many as the coordinator remembers.
pub const BREAKER_OF_MAX: u32 = 256;

/// Unless `breaker` says otherwise.
pub const BREAKER_DEFAULT: BreakerRule = BreakerRule { failed: 18, of: 20 };

const TIME_HELP: &str = "write hours and minutes, e.g. \"07:00\" or \"18:30\"";
const BREAKER_HELP: &str = "write e.g. \"18 of 20\", with at most 256 attempts, or \"off\"";

/// A time of day on this machine's clock, written as `"07:00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl TimeOfDay {
    /// 0 to 23.
    pub fn hour(self) -> i8 {
        self.hour
    }

    /// 0 to 59.
    pub fn minute(self) -> i8 {
        self.minute
    }
}

/// So many failed of the last so many attempts, written as `"18 of 20"`; twice 0 is "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// At least this many failed…
    pub failed: u32,
    /// …of this many.
    pub of: u32,
}

fn parse_time(text: &str) -> Result<TimeOfDay, String> {
    let number = |text: &str, below: i8| {
        let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number| fits && (0..below).contains(&number))
    };
    let parts = text.split_once(':').filter(|(_, minute)| minute.len() == 2);
    let time =
        parts.and_then(|(hour, minute)| Some(TimeOfDay { hour: number(hour, 24)?, minute: number(minute, 60)? }));
    time.ok_or_else(|| format!("not a time of day: {text:?}\n{TIME_HELP}"))
}

fn parse_breaker(text: &str) -> Result<BreakerRule, String> {
    if text == "off" {
        return Ok(BreakerRule { failed: 0, of: 0 });
    }
    let rule = text.split_once(" of ").and_then(|(failed, of)| {
        Some(BreakerRule { failed: failed.trim().parse().ok()?, of: of.trim().parse().ok()? })
    });
    rule.filter(|rule| (1..=rule.of).contains(&rule.failed) && rule.of <= BREAKER_OF_MAX)
        .ok_or_else(|| format!("not a failure rate: {text:?}\n{BREAKER_HELP}"))
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_time(text)
    }
}

text_value!(TimeOfDay, "a time of day such as \"07:00\"", TIME_HELP, parse_time, r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$");
text_value!(
    BreakerRule,
    "a failure rate such as \"18 of 20\"",
    BREAKER_HELP,
    parse_breaker,
    r"^(off|[0-9]+ of [0-9]+)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(parse_time("07:00"), Ok(TimeOfDay { hour: 7, minute: 0 }));
        assert_eq!(parse_time("7:05"), Ok(TimeOfDay { hour: 7, minute: 5 }));
        for text in ["", "7", "24:00", "07:60", "07:0", "-7:00", "+7:00", "07:00:00", "007:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn failure_rates() {
        assert_eq!(parse_breaker("9 of 10"), Ok(BreakerRule { failed: 9, of: 10 }));
        assert_eq!(parse_breaker("off"), Ok(BreakerRule { failed: 0, of: 0 }));
        for text in ["", "9", "0 of 10", "11 of 10", "9 of 257", "9/10", "-1 of 10"] {
            assert!(parse_breaker(text).is_err(), "{text}");
        }
    }
}
