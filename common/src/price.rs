//! What models cost: tokens by kind, prices by model, in millionths of a dollar.

use globset::GlobMatcher;
use serde::{Deserialize, Serialize};

/// Tokens of one or more calls. Cached and cache-write ones are part of the input, reasoning is
/// part of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Of the request.
    pub input: u64,
    /// Of it, read from the provider's cache.
    pub cached: u64,
    /// Of it, written to the provider's cache.
    pub cache_write: u64,
    /// Of the answer.
    pub output: u64,
    /// Of it, reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// All that counts against a limit of tokens.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// What this is more than `before`, number by number.
    pub fn beyond(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            cached: self.cached.saturating_sub(before.cached),
            cache_write: self.cache_write.saturating_sub(before.cache_write),
            output: self.output.saturating_sub(before.output),
            reasoning: self.reasoning.saturating_sub(before.reasoning),
        }
    }

    /// The larger of each: usage that a stream reports again and again is cumulative.
    pub fn larger(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cached: self.cached.max(other.cached),
            cache_write: self.cache_write.max(other.cache_write),
            output: self.output.max(other.output),
            reasoning: self.reasoning.max(other.reasoning),
        }
    }
}

/// The price of a model, in micro-dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of input that no cache had.
    pub input: u64,
    /// Of input from the cache.
    pub cached_input: u64,
    /// Of input written to the cache.
    pub cache_write: u64,
    /// Of output, reasoning included.
    pub output: u64,
    /// The day the provider was asked, as `YYYY-MM-DD`.
    pub as_of: String,
}

impl Price {
    /// The cost of tokens in micro-dollars, rounded up.
    pub fn cost(&self, tokens: &Tokens) -> u64 {
        let fresh = tokens.input.saturating_sub(tokens.cached.saturating_add(tokens.cache_write));
        let parts = [
            (fresh, self.input),
            (tokens.cached, self.cached_input),
            (tokens.cache_write, self.cache_write),
            (tokens.output, self.output),
        ];
        let sum: u128 = parts.iter().map(|&(tokens, price)| u128::from(tokens) * u128::from(price)).sum();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The most that so many tokens can cost: every input token at its dearest.
    pub fn worst(&self, input: u64, output: u64) -> u64 {
        let dearest = Self { input: self.input.max(self.cache_write).max(self.cached_input), ..self.clone() };
        dearest.cost(&Tokens { input, output, ..Tokens::default() })
    }
}

/// Prices by model. A name beats a pattern, a longer pattern a shorter one.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    entries: Vec<(String, GlobMatcher, Price)>,
}

impl Prices {
    /// From patterns and prices; the error names a pattern that is no glob.
    pub fn new(prices: impl IntoIterator<Item = (String, Price)>) -> Result<Self, globset::Error> {
        let mut entries = Vec::new();
        for (pattern, price) in prices {
            let matcher = globset::Glob::new(&pattern)?.compile_matcher();
            entries.push((pattern, matcher, price));
        }
        entries.sort_by(|one, two| two.0.len().cmp(&one.0.len()).then_with(|| one.0.cmp(&two.0)));
        Ok(Self { entries })
    }

    /// The price of a model; `None` for one that no pattern knows.
    pub fn of(&self, model: &str) -> Option<&Price> {
        let exact = self.entries.iter().find(|(pattern, ..)| pattern == model);
        let matching = || self.entries.iter().find(|(_, matcher, _)| matcher.is_match(model));
        exact.or_else(matching).map(|(.., price)| price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(input: u64) -> Price {
        Price { input, cached_input: input / 10, cache_write: input * 5 / 4, output: input * 8, as_of: String::new() }
    }

    #[test]
    fn kinds_of_tokens_cost_apart_and_round_up() {
        let tokens = Tokens { input: 1_000, cached: 600, cache_write: 100, output: 20, reasoning: 5 };
        let (fresh, cached, written, output) = (300 * 1_000_000, 600 * 100_000, 100 * 1_250_000, 20 * 8_000_000);
        assert_eq!(price(1_000_000).cost(&tokens), u64::div_ceil(fresh + cached + written + output, 1_000_000));
        assert_eq!(price(10).cost(&Tokens { input: 1, ..Tokens::default() }), 1);
        assert_eq!(price(u64::MAX / 8).cost(&Tokens { input: u64::MAX, ..Tokens::default() }), u64::MAX);
    }

    #[test]
    fn the_worst_case_covers_every_split_of_the_input() {
        let price = price(1_000_000);
        for (cached, cache_write) in [(0, 0), (1_000, 0), (0, 1_000), (400, 600)] {
            let tokens = Tokens { input: 1_000, cached, cache_write, output: 50, reasoning: 0 };
            assert!(price.cost(&tokens) <= price.worst(1_000, 50), "{tokens:?}");
        }
    }

    #[test]
    fn a_name_beats_a_pattern_and_a_longer_one_a_shorter() {
        let all = [("gpt-*", 1), ("*", 2), ("gpt-5*", 3), ("gpt-5.5", 4)];
        let prices = Prices::new(all.map(|(pattern, input)| (pattern.to_owned(), price(input)))).expect("globs");
        for (model, input) in [("gpt-5.5", 4), ("gpt-5-mini", 3), ("gpt-4", 1), ("org/other", 2)] {
            assert_eq!(prices.of(model).map(|price| price.input), Some(input), "{model}");
        }
        assert!(Prices::default().of("gpt-5").is_none());
    }
}
