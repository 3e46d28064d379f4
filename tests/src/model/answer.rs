//! An answer before it takes the shape of a format, and the frames it is sent in.

use serde_json::Value;

use super::script::{Call, Step, Usage};

/// Bytes of one delta of a text that only has a length.
const DELTA_BYTES: usize = 1_024;

/// When every answer was made, in seconds: the same request always gets the same bytes.
pub const CREATED: u64 = 1_700_000_000;

/// Tokens, as providers count them: cached and cache-write ones are part of the input, reasoning
/// is part of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the request.
    pub input: u64,
    /// Of it, read from the cache.
    pub cached: u64,
    /// Of it, written to the cache.
    pub cache_write: u64,
    /// Of the answer.
    pub output: u64,
    /// Of it, reasoning.
    pub reasoning: u64,
}

/// What is said, independent of the format.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Begins every id in it.
    pub id: String,
    /// As the request named it.
    pub model: String,
    /// Before everything else.
    pub reasoning: Option<String>,
    /// Before the calls.
    pub text: Option<String>,
    /// The calls.
    pub calls: Vec<Call>,
    /// What it cost.
    pub tokens: Tokens,
}

impl Answer {
    /// The answer of a step to a request.
    pub fn new(step: &Step, body: &[u8], model: &str, input: u64, cached: u64) -> Self {
        let sized = step.text_bytes.map(|bytes| "word ".chars().cycle().take(bytes).collect());
        let text: Option<String> = sized.or_else(|| step.text.clone()).or_else(|| step.say.clone());
        let calls = step.calls();
        let tokens = match step.usage {
            Some(Usage::Pair(input, output)) => Tokens { input, output, ..Tokens::default() },
            Some(Usage::Named { input, cached, cache_write, output, reasoning }) => {
                Tokens { input, cached, cache_write, output, reasoning }
            }
            None => {
                let count = |text: &str| longhaul_common::tokens::count(text) as u64;
                let said = text.as_deref().map_or(0, count);
                let called: u64 = calls.iter().map(|call| count(&call.arguments_text())).sum();
                let reasoning = step.reasoning.as_deref().map_or(0, count);
                Tokens { input, cached, cache_write: 0, output: said + called + reasoning, reasoning }
            }
        };
        let id = blake3::hash(body).to_hex()[..12].to_owned();
        Self { id, model: model.to_owned(), reasoning: step.reasoning.clone(), text, calls, tokens }
    }

    /// The id of the call with this number.
    pub fn call_id(&self, number: usize) -> String {
        format!("call_{}_{number}", self.id)
    }

    /// Reasoning in the form that only the provider reads: what a client has to send back as it was.
    pub fn sealed(text: &str) -> String {
        format!("sealed-{}", blake3::hash(text.as_bytes()).to_hex())
    }

    /// A text in the pieces it is streamed in: words, or kibibytes of a long one.
    pub fn deltas(text: &str) -> Vec<&str> {
        if text.len() <= 16 * DELTA_BYTES {
            return text.split_inclusive(char::is_whitespace).collect();
        }
        let mut rest = text;
        let mut deltas = Vec::with_capacity(text.len() / DELTA_BYTES + 1);
        while !rest.is_empty() {
            let at = (DELTA_BYTES.min(rest.len())..=rest.len()).find(|&at| rest.is_char_boundary(at));
            let (delta, after) = rest.split_at(at.unwrap_or(rest.len()));
            deltas.push(delta);
            rest = after;
        }
        deltas
    }
}

/// One event of a stream, as bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The event with the empty line that ends it.
    pub bytes: Vec<u8>,
    /// Whether it holds a piece of text, which may repeat for ever.
    pub is_text: bool,
}

impl Frame {
    /// An event with a name, as Responses and Messages have it.
    pub fn named(name: &str, data: &Value) -> Self {
        Self { bytes: format!("event: {name}\ndata: {data}\n\n").into_bytes(), is_text: name.ends_with("delta") }
    }

    /// An event without a name.
    pub fn data(data: &Value, is_text: bool) -> Self {
        Self { bytes: format!("data: {data}\n\n").into_bytes(), is_text }
    }

    /// The end of a stream of Chat Completions.
    pub fn done() -> Self {
        Self { bytes: b"data: [DONE]\n\n".to_vec(), is_text: false }
    }
}
