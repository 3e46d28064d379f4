//! What the policy keeps from a provider, found in what would be sent to it: by the lines of the files.
//!
//! An agent reads a repository by any means there are, so what is barred is recognised where all of it
//! has to pass. A line counts that is in no file which may be sent. It recognises text as it is, also
//! quoted, indented or numbered; what somebody encodes on purpose it does not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

/// Lines of a file that have to be in a request, or all of them where it has fewer.
const LINES_MIN: usize = 3;

/// A shorter line says nothing, in bytes without spaces.
const LINE_BYTES_MIN: usize = 8;

/// The longest beginning of a line that is looked through for numbers, in bytes, and how many of them.
const PREFIX_BYTES_MAX: usize = 400;
const NUMBERS_MAX: usize = 16;

/// The lines of files that a provider may not get.
#[derive(Clone, Debug, Default)]
pub struct Barred {
    /// By a hash of its text: the file.
    lines: HashMap<u64, u32>,
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: String,
    /// Lines of its own.
    lines: usize,
}

impl Barred {
    /// Adds a file.
    pub fn add(&mut self, path: &str, content: &[u8]) {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let before = self.lines.len();
        for line in String::from_utf8_lossy(content).lines().filter_map(print) {
            self.lines.entry(line).or_insert(number);
        }
        self.files.push(File { path: path.to_owned(), lines: self.lines.len() - before });
    }

    /// Whether nothing is barred, or nothing of it can be recognised.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes out what a file that may be sent has, too.
    pub fn except(&mut self, content: &[u8]) {
        for line in String::from_utf8_lossy(content).lines().filter_map(print) {
            if let Some(number) = self.lines.remove(&line)
                && let Some(file) = self.files.get_mut(number as usize)
            {
                file.lines -= 1;
            }
        }
    }

    /// The file that a request holds so many lines of.
    pub(super) fn found(&self, body: &Value) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let mut found: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        self.look(body, &mut found);
        let is_held = |(number, lines): &(&u32, &BTreeSet<u64>)| {
            self.files.get(**number as usize).is_some_and(|file| lines.len() >= file.lines.clamp(1, LINES_MIN))
        };
        let (number, _) = found.iter().find(is_held)?;
        self.files.get(*number as usize).map(|file| file.path.as_str())
    }

    fn look(&self, value: &Value, found: &mut BTreeMap<u32, BTreeSet<u64>>) {
        match value {
            // Output within JSON within a string has its line ends as two characters.
            Value::String(text) => text.split('\n').flat_map(|line| line.split("\\n")).for_each(|line| {
                for print in shapes(line).filter_map(print) {
                    if let Some(number) = self.lines.get(&print) {
                        found.entry(*number).or_default().insert(print);
                    }
                }
            }),
            Value::Array(items) => items.iter().for_each(|item| self.look(item, found)),
            Value::Object(fields) => fields.values().for_each(|value| self.look(value, found)),
            _ => {}
        }
    }
}

/// A line as it may stand in output: as it is, after the sign of a diff, after `12:`, after `path:12:`, after
/// `path-12-` (around what was searched for), after `abc (name 2026-01-02 12)` (who wrote it).
fn shapes(line: &str) -> impl Iterator<Item = &str> {
    let first = line.split_once([':', '|', '\t', '→']).map(|(_, rest)| rest);
    let second = first.and_then(|rest| rest.split_once([':', '|', '\t', '→'])).map(|(_, rest)| rest);
    let signed = line.strip_prefix(['+', '-', '>', '<']);
    [Some(line), signed, first, second].into_iter().flatten().chain(after_numbers(line))
}

/// What follows a number and the sign behind it, for the first few of them.
fn after_numbers(line: &str) -> impl Iterator<Item = &str> {
    let bytes = line.as_bytes();
    let ends = (1..bytes.len().min(PREFIX_BYTES_MAX)).filter(|&at| {
        bytes[at - 1].is_ascii_digit() && matches!(bytes[at], b'-' | b')' | b' ' | b':' | b'|' | b'=' | b'\t')
    });
    ends.take(NUMBERS_MAX).filter_map(|at| line.get(at + 1..))
}

/// The hash of a line without its spaces and the signs of quoting; `None` for one that says nothing.
fn print(line: &str) -> Option<u64> {
    let text: String = line.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
    let says = text.len() >= LINE_BYTES_MIN && text.chars().any(char::is_alphanumeric);
    let hash = blake3::hash(text.as_bytes());
    says.then(|| u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "// Licensed to you by the house\nfn price(of: Item) -> u64 {\n    of.base * MARGIN_OF_THE_HOUSE\n}\nconst MARGIN_OF_THE_HOUSE: u64 = 42;\n";

    fn barred() -> Barred {
        let mut barred = Barred::default();
        barred.add("secret/price.rs", SECRET.as_bytes());
        barred.add("secret/key.txt", b"the motto is: nothing is lost\n");
        barred.except(b"// Licensed to you by the house\nfn other() {}\n");
        barred
    }

    #[test]
    fn barred_text_is_found_in_whatever_shape_tools_print_it() {
        let barred = barred();
        let numbered: String = SECRET.lines().enumerate().map(|(n, line)| format!("{}\t{line}\n", n + 1)).collect();
        let grepped: String =
            SECRET.lines().enumerate().map(|(n, line)| format!("secret/price.rs:{}:{line}\n", n + 1)).collect();
        let around: String =
            SECRET.lines().enumerate().map(|(n, line)| format!("secret/price-2.rs-{}-{line}\n", n + 1)).collect();
        let alone: String = SECRET.lines().enumerate().map(|(n, line)| format!("{}-{line}\n", n + 1)).collect();
        let blamed: String = SECRET
            .lines()
            .enumerate()
            .map(|(n, line)| format!("1a2b3c4d (Ada L 2026-01-02 10:11:12 +0100 {}) {line}\n", n + 1))
            .collect();
        let diff: String = SECRET.lines().map(|line| format!("+{line}\n")).collect();
        let quoted = json!({"output": SECRET, "metadata": {}}).to_string();
        for text in [SECRET, &numbered, &grepped, &around, &alone, &blamed, &diff, &quoted] {
            let body = json!({"input": [{"role": "user", "content": [{"text": text}]}]});
            assert_eq!(barred.found(&body), Some("secret/price.rs"), "{text}");
        }
        let one = json!({"messages": [{"content": "1: the motto is: nothing is lost"}]});
        assert_eq!(barred.found(&one), Some("secret/key.txt"), "a file of one line");
    }

    #[test]
    fn what_other_files_have_too_and_a_line_or_two_are_let_through() {
        let barred = barred();
        for text in
            ["// Licensed to you by the house\nfn other() {}", "const MARGIN_OF_THE_HOUSE: u64 = 42;", "}\n}\n{\n"]
        {
            assert_eq!(barred.found(&json!({"input": text})), None, "{text}");
        }
        assert_eq!(Barred::default().found(&json!({"input": SECRET})), None);
    }
}
