//! What a job will cost and when it will end, from the subtasks that are done: a bootstrap with a
//! fixed seed, so that the same state always says the same.
//!
//! It says what would come if the rest were like what is done, which a pilot is chosen to be. Waiting
//! for gates is not in it.

use longhaul_proto as pb;

use super::books::in_words;
use crate::core::{Millis, Phase, State, Subtask};

/// Subtasks that have to be done before anything is said.
const SAMPLES_MIN: usize = 3;

/// The newest ones are looked at.
const SAMPLES_MAX: usize = 512;

/// Futures that are drawn.
const ROUNDS: usize = 200;

/// Subtasks drawn one by one in each; the sum over more is scaled.
const DRAWS_MAX: u64 = 400;

/// What one subtask took, retries included.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    usd_micros: u64,
    tokens: u64,
    ms: u64,
}

/// Draws from the samples as often as there are subtasks left, and sums.
struct Bootstrap<'a> {
    samples: &'a [Sample],
    left: u64,
    seed: u64,
}

impl Bootstrap<'_> {
    /// splitmix64.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn round(&mut self) -> Sample {
        let draws = self.left.min(DRAWS_MAX);
        let mut sum = Sample::default();
        for _ in 0..draws {
            let at = (self.random() % self.samples.len() as u64) as usize;
            let drawn = self.samples[at];
            sum.usd_micros += drawn.usd_micros;
            sum.tokens += drawn.tokens;
            sum.ms += drawn.ms;
        }
        let scaled = |sum: u64| (u128::from(sum) * u128::from(self.left) / u128::from(draws.max(1))) as u64;
        Sample { usd_micros: scaled(sum.usd_micros), tokens: scaled(sum.tokens), ms: scaled(sum.ms) }
    }
}

/// The values below which a half and nine tenths lie.
fn percentiles(rounds: &[Sample], of: impl Fn(&Sample) -> u64) -> (u64, u64) {
    let mut values: Vec<u64> = rounds.iter().map(of).collect();
    values.sort_unstable();
    (values[values.len() / 2], values[values.len() * 9 / 10])
}

/// What is done and says what the rest will take.
fn samples(state: &State) -> Vec<Sample> {
    let is_done = |subtask: &&Subtask| {
        let done = matches!(
            subtask.phase(),
            Phase::Landed(_) | Phase::Unchanged | Phase::Delivered { .. } | Phase::Landing { .. }
        );
        done && subtask.attempts > 0
    };
    let mut done: Vec<&Subtask> = state.nodes().map(|node| state.subtask(node)).filter(is_done).collect();
    done.sort_by_key(|subtask| std::cmp::Reverse(subtask.finished_ms));
    done.truncate(SAMPLES_MAX);
    let sample =
        |subtask: &&Subtask| Sample { usd_micros: subtask.usd_micros, tokens: subtask.tokens, ms: subtask.spent_ms };
    done.iter().map(sample).collect()
}

/// The forecast, once enough is done and while something is left to do.
pub(super) fn forecast(state: &State, now: Millis) -> Option<pb::Forecast> {
    let counts = state.counts();
    let left = counts.waiting + counts.ready + counts.backoff + counts.running + counts.parked;
    if left == 0 || state.closed_ms() > 0 || now < state.started_ms() {
        return None;
    }
    let samples = samples(state);
    if samples.len() < SAMPLES_MIN {
        return None;
    }
    let mut bootstrap = Bootstrap { samples: &samples, left: left.into(), seed: u64::from(left) };
    let rounds: Vec<Sample> = (0..ROUNDS).map(|_| bootstrap.round()).collect();
    let sure = state.spend.settled().plus(state.spend.doubted());
    let at_once = u64::from(state.limits().parallel.max(1).min(left));
    let (usd, tokens, ms) = (
        percentiles(&rounds, |sample| sample.usd_micros),
        percentiles(&rounds, |sample| sample.tokens),
        percentiles(&rounds, |sample| sample.ms),
    );
    Some(pb::Forecast {
        samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        usd_micros_p50: sure.usd_micros.saturating_add(usd.0),
        usd_micros_p90: sure.usd_micros.saturating_add(usd.1),
        tokens_p50: sure.tokens.saturating_add(tokens.0),
        tokens_p90: sure.tokens.saturating_add(tokens.1),
        left_ms_p50: ms.0 / at_once,
        left_ms_p90: ms.1 / at_once,
    })
}

/// Where the budget falls short of the forecast.
pub(super) fn warning(state: &State, now: Millis) -> Vec<String> {
    let Some(forecast) = forecast(state, now) else { return Vec::new() };
    let limits = state.limits();
    let sure = |p50: u64, p90: u64, cap: u64| match cap {
        0 => None,
        cap if p50 > cap => Some("will probably"),
        cap if p90 > cap => Some("may"),
        _ => None,
    };
    let mut lines = Vec::new();
    let mut say = |how: Option<&str>, what: String, expected: String| {
        lines.extend(
            how.map(|how| format!("{what} {how} fall short: by the {} subtasks done, {expected}", forecast.samples)),
        );
    };
    let (p50, p90) = (forecast.usd_micros_p50, forecast.usd_micros_p90);
    let expected = format!("{} (at most {} in nine of ten cases)", in_words(0, p50), in_words(0, p90));
    say(sure(p50, p90, limits.usd_micros), format!("the budget of {}", in_words(0, limits.usd_micros)), expected);
    let (p50, p90) = (forecast.tokens_p50, forecast.tokens_p90);
    let expected = format!("{p50} tokens (at most {p90} in nine of ten cases)");
    say(sure(p50, p90, limits.tokens), format!("the budget of {} tokens", limits.tokens), expected);
    let hours = |ms: u64| ms as f64 / 3_600_000.0;
    let (p50, p90) = (forecast.left_ms_p50, forecast.left_ms_p90);
    let expected = format!("{:.1} hours of work are left (at most {:.1} in nine of ten cases)", hours(p50), hours(p90));
    let wall = limits.wall_ms.saturating_sub(state.active_ms(now)).max(u64::from(limits.wall_ms > 0));
    say(sure(p50, p90, wall), format!("the budget of {:.1} hours", hours(limits.wall_ms)), expected.clone());
    let time = u64::try_from(limits.deadline_ms - now).unwrap_or_default();
    say(sure(p50, p90, time), "the time until the deadline".to_owned(), expected);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(samples: &[Sample], left: u64) -> (u64, u64) {
        let mut bootstrap = Bootstrap { samples, left, seed: left };
        let rounds: Vec<Sample> = (0..ROUNDS).map(|_| bootstrap.round()).collect();
        percentiles(&rounds, |sample| sample.usd_micros)
    }

    #[test]
    fn the_same_samples_always_say_the_same_and_the_sum_is_about_right() {
        let samples: Vec<Sample> = (1..=9).map(|n| Sample { usd_micros: n * 100, ..Sample::default() }).collect();
        for left in [1, 90, 400, 40_000] {
            let (p50, p90) = sums(&samples, left);
            assert_eq!((p50, p90), sums(&samples, left));
            assert!(p50 <= p90);
            if left > 50 {
                let mean = left * 500;
                assert!(p50.abs_diff(mean) < mean / 8 && p90 < mean * 5 / 4, "{left}: {p50} {p90}");
            }
        }
    }

    #[test]
    fn what_always_costs_the_same_is_certain() {
        assert_eq!(sums(&[Sample { usd_micros: 7, ..Sample::default() }; 3], 1_000), (7_000, 7_000));
    }
}
