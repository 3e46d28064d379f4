//! Finds usage in bytes as they pass, whatever their size: no body and no event is ever held.
//!
//! A scanner follows the JSON only as far as it has to: strings, depth, and the key at the depths
//! where usage can stand. A word in a model's text is inside a string, and an object of that name
//! in a tool's arguments stands deeper or below another key, so a model cannot report usage.

use serde_json::Value;

/// Longest usage object, in bytes; a longer one is not one.
const USAGE_BYTES_MAX: usize = 16 << 10;

/// Longest key that matters, in bytes.
const KEY_BYTES_MAX: usize = 32;

/// The keys below which usage may stand one level deeper: the whole response, the first message.
const BELOW: [&[u8]; 2] = [b"response", b"message"];

/// A usage object, and whether it stood at the top of its event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub usage: Value,
    pub at_top: bool,
}

/// One body, read once.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Whether every line is an event of its own.
    lines: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The string that was read last, cut.
    word: Vec<u8>,
    /// The keys at depth 1 and 2.
    keys: [Vec<u8>; 2],
    /// The usage object under way, and the depth it began at.
    taken: Option<(Vec<u8>, usize)>,
}

impl Scanner {
    /// For a body of events, or of one JSON value.
    pub fn new(lines: bool) -> Self {
        Self { lines, ..Self::default() }
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8], found: &mut Vec<Found>) {
        for &byte in bytes {
            self.byte(byte, found);
        }
    }

    fn byte(&mut self, byte: u8, found: &mut Vec<Found>) {
        // JSON holds no raw line break inside a string: a line that breaks off ends with its line.
        if self.lines && byte == b'\n' {
            *self = Self::new(true);
            return;
        }
        if let Some((taken, _)) = &mut self.taken {
            taken.push(byte);
            if taken.len() > USAGE_BYTES_MAX {
                self.taken = None;
            }
        }
        if self.in_string {
            self.inside(byte);
            return;
        }
        match byte {
            // Before the first brace stands a field's name, such as `data:`.
            b'"' if self.depth > 0 => {
                self.in_string = true;
                self.word.clear();
            }
            b':' => {
                if let Some(key) = self.depth.checked_sub(1).and_then(|at| self.keys.get_mut(at)) {
                    key.clone_from(&self.word);
                }
            }
            b'{' => {
                if self.taken.is_none() && self.is_usage() {
                    self.taken = Some((vec![byte], self.depth));
                }
                self.depth += 1;
            }
            b'[' => self.depth += 1,
            b'}' | b']' => self.close(found),
            _ => {}
        }
    }

    fn inside(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
            return;
        }
        if self.word.len() < KEY_BYTES_MAX {
            self.word.push(byte);
        }
    }

    fn is_usage(&self) -> bool {
        let named = |key: &Vec<u8>| key == b"usage" || key == b"usageMetadata";
        match self.depth {
            1 => named(&self.keys[0]),
            2 => named(&self.keys[1]) && BELOW.contains(&self.keys[0].as_slice()),
            _ => false,
        }
    }

    fn close(&mut self, found: &mut Vec<Found>) {
        self.depth = self.depth.saturating_sub(1);
        // A key of a closed object is not one of the next object's.
        if let Some(key) = self.keys.get_mut(self.depth) {
            key.clear();
        }
        let ended = self.taken.take_if(|(_, depth)| *depth == self.depth);
        if let Some((taken, depth)) = ended
            && let Ok(usage) = serde_json::from_str(&String::from_utf8_lossy(&taken))
        {
            found.push(Found { usage, at_top: depth == 1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8], lines: bool, size: usize) -> Vec<(u64, bool)> {
        let (mut scanner, mut found) = (Scanner::new(lines), Vec::new());
        text.chunks(size).for_each(|chunk| scanner.push(chunk, &mut found));
        found.iter().map(|found| (found.usage["n"].as_u64().expect("a number"), found.at_top)).collect()
    }

    #[test]
    fn usage_is_found_wherever_the_bytes_are_cut() {
        let text =
            b"event: x\ndata: {\"type\":\"a\",\"message\":{\"content\":[],\"usage\":{\"n\":1,\"d\":{\"c\":2}}}}\n\n\
            data: {broken \"\ndata: {\"usage\":{\"n\":3}}\n\ndata: {\"usageMetadata\" : {\"n\":4}}\n\ndata: [DONE]\n\n";
        for size in 1..text.len() {
            assert_eq!(scan(text, true, size), [(1, false), (3, true), (4, true)], "in chunks of {size}");
        }
    }

    #[test]
    fn a_model_cannot_report_usage() {
        for text in [
            r#"{"content":[{"type":"tool_use","input":{"usage":{"n":1}}}],"usage":{"n":9}}"#,
            r#"{"content":"\"usage\":{\"n\":1}","usage":{"n":9}}"#,
            r#"{"response":{"output":[{"usage":{"n":1}}],"usage":{"n":9}}}"#,
            r#"{"message":[{"usage":1}],"other":{"usage":{"n":1}},"x":[{"usage":{"n":2}}],"usage":{"n":9}}"#,
        ] {
            let found = scan(text.as_bytes(), false, 7);
            assert_eq!(found.iter().map(|&(n, _)| n).collect::<Vec<_>>(), [9], "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        assert_eq!(scan(b"{\"a\":\"\xff\xfe\",\"usage\":{\"n\":5}}", false, 3), [(5, true)]);
        assert_eq!(scan(b"}}}]]{\"usage\":{\"n\":5}}", false, 1), [(5, true)]);
        let long = format!("{{\"usage\":{{\"n\":1,\"x\":\"{}\"}}}}", "y".repeat(USAGE_BYTES_MAX));
        assert!(scan(long.as_bytes(), false, 999).is_empty());
    }
}
