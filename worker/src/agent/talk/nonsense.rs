//! Lines that are no message: programs print notices where only messages belong.

use longhaul_common::text::clip_head;
use serde_json::Value;

use super::error::TalkError;

/// Such lines in one session before the program counts as one that does not speak the protocol.
const LINES_MAX: usize = 50;

/// Longest piece of one that is kept, in bytes.
const SHOWN_BYTES_MAX: usize = 300;

/// Tells messages from notices, and counts these.
#[derive(Debug, Default)]
pub struct Nonsense {
    seen: usize,
}

impl Nonsense {
    /// The message of a line, or what of the line is to be shown. A line that begins as a message and
    /// is none has lost something, which is the end.
    pub fn read(&mut self, line: &str) -> Result<Result<Value, String>, TalkError> {
        let text = line.trim();
        let shown = || clip_head(text, SHOWN_BYTES_MAX).to_owned();
        if text.starts_with('{') {
            return match serde_json::from_str(text) {
                Ok(message) => Ok(Ok(message)),
                Err(error) => Err(TalkError::Broken { cause: error.to_string(), line: shown() }),
            };
        }
        if !text.is_empty() {
            self.seen += 1;
        }
        if self.seen > LINES_MAX { Err(TalkError::NoProtocol { line: shown() }) } else { Ok(Err(shown())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_passed_over_and_broken_messages_are_not() {
        let mut nonsense = Nonsense::default();
        assert_eq!(nonsense.read("{\"id\":1}").expect("fine").expect("a message")["id"], 1);
        assert_eq!(nonsense.read("Welcome!").expect("fine"), Err("Welcome!".to_owned()));
        assert!(matches!(nonsense.read("{\"id\":"), Err(TalkError::Broken { .. })));
        for _ in 0..LINES_MAX - 1 {
            assert!(nonsense.read("more").is_ok());
        }
        assert!(
            matches!(nonsense.read(&"x".repeat(1_000)), Err(TalkError::NoProtocol { line }) if line.len() <= SHOWN_BYTES_MAX)
        );
    }
}
