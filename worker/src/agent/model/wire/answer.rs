//! An answer, the same whichever wire it came over.

use super::super::history::{Call, Item};

/// What a model said, and what it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// In order.
    pub items: Vec<Item>,
    /// What the provider counted.
    pub tokens: Tokens,
    /// Why it ended.
    pub stop: Stop,
}

/// Tokens as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the request, cached ones included.
    pub input: u64,
    /// Of it, read from a cache.
    pub cached: u64,
    /// Of it, written to a cache.
    pub cache_write: u64,
    /// Of the answer, reasoning included.
    pub output: u64,
    /// Of it, reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input + other.input,
            cached: self.cached + other.cached,
            cache_write: self.cache_write + other.cache_write,
            output: self.output + other.output,
            reasoning: self.reasoning + other.reasoning,
        }
    }

    /// Input and output.
    pub fn total(self) -> u64 {
        self.input + self.output
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It was complete.
    #[default]
    End,
    /// It ran into the limit of its length.
    Length,
    /// The model or the provider would not.
    Refused(String),
}

/// A piece of an answer as it streams, for who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Words.
    Text(String),
    /// Reasoning that can be read.
    Thought(String),
}

impl Answer {
    /// Its calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        let call = |item: &Item| match item {
            Item::Call(call) => Some(call.clone()),
            Item::Text { .. } | Item::Sealed { .. } => None,
        };
        self.items.iter().filter_map(call).collect()
    }

    /// Its words.
    pub fn text(&self) -> String {
        let texts = self.items.iter().filter_map(|item| match item {
            Item::Text { text } => Some(text.as_str()),
            Item::Call(_) | Item::Sealed { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}
