//! What a provider says was used, from the four formats to one.

use longhaul_common::price::Tokens;
use serde_json::Value;

use super::api::Api;
use super::scan::{Found, Scanner};

/// Reads the usage of one answer as its bytes pass.
#[derive(Debug)]
pub(super) struct Meter {
    api: Api,
    streams: bool,
    scanner: Scanner,
    tokens: Tokens,
    complete: bool,
}

impl Meter {
    pub fn new(api: Api, streams: bool) -> Self {
        Self { api, streams, scanner: Scanner::new(streams), tokens: Tokens::default(), complete: false }
    }

    /// Reads the next bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut found = Vec::new();
        self.scanner.push(bytes, &mut found);
        for Found { usage, at_top } in found {
            self.tokens = self.tokens.larger(tokens(self.api, &usage));
            // The first event of Messages knows only the input.
            self.complete |= self.api != Api::AnthropicMessages || !self.streams || at_top;
        }
    }

    /// What was used, if the provider said all of it. `whole` is whether the answer came to its end:
    /// Gemini reports a part with every event, so a cut stream has not said all.
    pub fn used(&self, whole: bool) -> Option<Tokens> {
        let partial = self.api == Api::Gemini && self.streams && !whole;
        (self.complete && !partial).then_some(self.tokens)
    }

    /// What it said so far.
    pub fn seen(&self) -> Tokens {
        self.tokens
    }
}

fn tokens(api: Api, usage: &Value) -> Tokens {
    let number = |keys: &[&str]| {
        let value = keys.iter().fold(usage, |value, &key| &value[key]);
        value.as_u64().unwrap_or_default()
    };
    match api {
        Api::OpenaiResponses => Tokens {
            input: number(&["input_tokens"]),
            cached: number(&["input_tokens_details", "cached_tokens"]),
            cache_write: number(&["input_tokens_details", "cache_write_tokens"]),
            output: number(&["output_tokens"]),
            reasoning: number(&["output_tokens_details", "reasoning_tokens"]),
        },
        Api::OpenaiChat => Tokens {
            input: number(&["prompt_tokens"]),
            cached: number(&["prompt_tokens_details", "cached_tokens"]),
            cache_write: number(&["prompt_tokens_details", "cache_write_tokens"]),
            output: number(&["completion_tokens"]),
            reasoning: number(&["completion_tokens_details", "reasoning_tokens"]),
        },
        Api::AnthropicMessages => {
            let (cached, cache_write) =
                (number(&["cache_read_input_tokens"]), number(&["cache_creation_input_tokens"]));
            // Here what the cache had is not part of the input.
            let input = number(&["input_tokens"]).saturating_add(cached).saturating_add(cache_write);
            Tokens { input, cached, cache_write, output: number(&["output_tokens"]), reasoning: 0 }
        }
        Api::Gemini => {
            let reasoning = number(&["thoughtsTokenCount"]);
            Tokens {
                input: number(&["promptTokenCount"]).saturating_add(number(&["toolUsePromptTokenCount"])),
                cached: number(&["cachedContentTokenCount"]),
                cache_write: 0,
                // Here reasoning is not part of the output.
                output: number(&["candidatesTokenCount"]).saturating_add(reasoning),
                reasoning,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_messages_is_complete_with_its_last_delta() {
        let mut meter = Meter::new(Api::AnthropicMessages, true);
        meter.push(b"data: {\"message\":{\"usage\":{\"input_tokens\":300,\"cache_read_input_tokens\":600,\"output_tokens\":1}}}\n\n");
        assert_eq!(meter.used(false), None);
        meter.push(b"data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":20}}\n\n");
        assert_eq!(meter.used(false), Some(Tokens { input: 900, cached: 600, output: 20, ..Tokens::default() }));
    }

    #[test]
    fn a_cut_stream_of_gemini_has_not_said_all() {
        let mut meter = Meter::new(Api::Gemini, true);
        meter.push(b"data: {\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3}}\n\n");
        assert_eq!(meter.used(false), None);
        assert_eq!(meter.used(true), Some(Tokens { input: 9, output: 5, reasoning: 3, ..Tokens::default() }));
    }
}
