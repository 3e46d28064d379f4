//! An answer, the same whichever wire it came over.

use longhaul_common::price::Tokens;

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
