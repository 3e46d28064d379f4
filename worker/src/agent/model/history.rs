//! A conversation, independent of any wire format, to which is only ever appended.
//!
//! Providers cache the beginning of a prompt, so what was said once is never rendered differently
//! later: entries do not change, and each wire renders an entry from nothing but itself. Only
//! compaction begins a new generation, which is a new beginning for the caches as well.

use longhaul_common::tokens;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::Api;

/// Tokens that a message costs beyond its texts.
const TOKENS_PER_PART: usize = 6;

/// One message of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Entry {
    /// What the model is told.
    User {
        /// In order.
        parts: Vec<Part>,
    },
    /// What it said.
    Answer {
        /// In order.
        items: Vec<Item>,
    },
    /// What came of its calls.
    Results {
        /// In the order of the calls.
        results: Vec<CallResult>,
    },
}

/// A piece of what the model is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text {
        /// The words.
        text: String,
        /// What follows differs between siblings: caches may be told to keep all up to here.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anchor: bool,
    },
    /// A picture.
    Image(Image),
}

/// A picture, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `image/png` or `image/jpeg`.
    pub media_type: String,
    /// Its bytes in base64.
    pub base64: String,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// A piece of what the model said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A call of a tool.
    Call(Call),
    /// Reasoning, encrypted or signed: only its own wire reads it, and gets it back as it was.
    Sealed {
        /// The wire it came over.
        api: Api,
        /// As it came.
        value: Value,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its id, by which its result is known.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What the tool is given.
    pub input: Input,
}

/// What a tool is given, as the model wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Arguments in JSON, which may be broken.
    Json(String),
    /// Free text.
    Free(String),
}

impl Input {
    /// The text of it.
    pub fn text(&self) -> &str {
        match self {
            Self::Json(text) | Self::Free(text) => text,
        }
    }

    /// The arguments as an object; broken ones as an object that says so, for wires that take
    /// nothing but objects.
    pub fn object(&self) -> Value {
        match self {
            Self::Free(text) => serde_json::json!({ "input": text }),
            Self::Json(text) if text.trim().is_empty() => serde_json::json!({}),
            Self::Json(text) => match serde_json::from_str(text) {
                Ok(value @ Value::Object(_)) => value,
                _ => serde_json::json!({ "invalid_arguments": text }),
            },
        }
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// The call's id.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The call's input was free text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// What it said.
    pub parts: Vec<Part>,
    /// The model knows no calls: it is told this in words.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_words: bool,
    /// Whether that is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The file that holds all of it, for when it is folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Part {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), anchor: false }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text { text, .. } => tokens::count(text),
            // What vision models charge, rounded up: a token for about 750 pixels.
            Self::Image(image) => (image.width as usize).saturating_mul(image.height as usize) / 750 + 1,
        }
    }
}

/// Results for a model that knows no calls, as what it is told; `None` for those that answer calls.
pub fn in_words(results: &[CallResult]) -> Option<Vec<Part>> {
    let one = |result: &CallResult| {
        let title = Part::text(format!("Result of {}:", result.name));
        std::iter::once(title).chain(result.parts.clone()).collect::<Vec<_>>()
    };
    results.first().is_some_and(|result| result.in_words).then(|| results.iter().flat_map(one).collect())
}

impl Entry {
    /// The model is told this.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { parts: vec![Part::text(text)] }
    }

    /// The tokens of it, by our own count.
    pub fn tokens(&self) -> usize {
        match self {
            Self::User { parts } => parts.iter().map(|part| part.tokens() + TOKENS_PER_PART).sum(),
            Self::Answer { items } => items.iter().map(|item| item_tokens(item) + TOKENS_PER_PART).sum(),
            Self::Results { results } => {
                results.iter().flat_map(|result| &result.parts).map(|part| part.tokens() + TOKENS_PER_PART).sum()
            }
        }
    }
}

fn item_tokens(item: &Item) -> usize {
    match item {
        Item::Text { text } => tokens::count(text),
        Item::Call(call) => tokens::count(&call.name) + tokens::count(call.input.text()),
        // Not text: about four bytes of base64 stand for three of what may be two tokens of text.
        Item::Sealed { value, .. } => value.to_string().len() / 6,
    }
}

/// The conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    entries: Vec<Entry>,
    counts: Vec<usize>,
    generation: u32,
}

impl History {
    /// One that goes on from what was kept.
    pub fn of(entries: Vec<Entry>, generation: u32) -> Self {
        let counts = entries.iter().map(Entry::tokens).collect();
        Self { entries, counts, generation }
    }

    /// Appends.
    pub fn push(&mut self, entry: Entry) {
        self.counts.push(entry.tokens());
        self.entries.push(entry);
    }

    /// Everything so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How often it was begun anew.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The tokens of everything, by our own count.
    pub fn tokens(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The tokens of one entry.
    pub fn tokens_of(&self, at: usize) -> usize {
        self.counts.get(at).copied().unwrap_or_default()
    }

    /// Begins anew with other entries.
    pub fn begin(&mut self, entries: Vec<Entry>) {
        *self = Self::of(entries, self.generation + 1);
    }

    /// Calls of the last answer that have no result yet: an attempt ended between the two.
    pub fn open_calls(&self) -> Vec<Call> {
        match self.entries.last() {
            Some(Entry::Answer { items }) => items
                .iter()
                .filter_map(|item| match item {
                    Item::Call(call) => Some(call.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_as_json_and_counts_the_same() {
        let mut history = History::default();
        history.push(Entry::User {
            parts: vec![
                Part::Text { text: "shared".into(), anchor: true },
                Part::Image(Image { media_type: "image/png".into(), base64: "AA==".into(), width: 750, height: 2 }),
            ],
        });
        let call = Call { id: "1".into(), name: "sh".into(), input: Input::Json("{\"a\": 1}".into()) };
        history.push(Entry::Answer {
            items: vec![
                Item::Sealed { api: Api::Messages, value: serde_json::json!({"z": 1, "a": {"signature": "x"}}) },
                Item::Text { text: "so".into() },
                Item::Call(call.clone()),
            ],
        });
        assert_eq!(history.open_calls(), [call]);
        let json = serde_json::to_string(history.entries()).expect("JSON");
        assert!(json.contains(r#"{"z":1,"a":{"signature":"x"}}"#), "in its own order: {json}");
        let again = History::of(serde_json::from_str(&json).expect("the same"), 0);
        assert_eq!(again, history);
        assert_eq!(again.tokens(), (0..2).map(|at| again.tokens_of(at)).sum::<usize>());
        history.begin(vec![Entry::user("new")]);
        assert_eq!((history.generation(), history.entries().len(), history.open_calls().len()), (1, 1, 0));
    }

    #[test]
    fn broken_arguments_become_an_object_that_says_so() {
        let object = |text: &str| Input::Json(text.into()).object().to_string();
        assert_eq!(object("{\"b\":1,\"a\":2}"), "{\"b\":1,\"a\":2}");
        assert_eq!(object(""), "{}");
        assert_eq!(object("{broken"), "{\"invalid_arguments\":\"{broken\"}");
        assert_eq!(object("[1]"), "{\"invalid_arguments\":\"[1]\"}");
        assert_eq!(Input::Free("x".into()).object().to_string(), "{\"input\":\"x\"}");
    }
}
