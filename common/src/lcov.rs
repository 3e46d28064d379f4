//! Coverage in lcov's format, as far as it says which lines were executed.
//!
//! Most coverage programs write it: `SF:` begins a file, `DA:line,count` says how often a line was
//! executed, `end_of_record` ends the file. A file may have several records, one a test program: a
//! line counts as executed when any of them says so. Lines that are in no record are no code.

use std::collections::BTreeMap;

/// Executed or not, by line number from 1.
pub type Lines = BTreeMap<u32, bool>;

/// What was executed, by path as the program wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    files: BTreeMap<String, Lines>,
}

impl Coverage {
    /// Reads a report. What is not understood says nothing: another program may write more.
    pub fn parse(text: &str) -> Self {
        let mut coverage = Self::default();
        let mut file: Option<String> = None;
        for line in text.lines().map(str::trim_end) {
            if let Some(path) = line.strip_prefix("SF:") {
                file = Some(path.strip_prefix("./").unwrap_or(path).to_owned());
            } else if line == "end_of_record" {
                file = None;
            } else if let (Some(data), Some(path)) = (line.strip_prefix("DA:"), &file)
                && let Some((number, executed)) = data_line(data)
            {
                let lines = coverage.files.entry(path.clone()).or_default();
                *lines.entry(number).or_default() |= executed;
            }
        }
        coverage
    }

    /// The lines of a file of the repository: by its path, or by an absolute one below `root`.
    pub fn of(&self, root: &str, path: &str) -> Option<&Lines> {
        let below = || format!("{}/{path}", root.trim_end_matches('/'));
        self.files.get(path).or_else(|| self.files.get(&below()))
    }

    /// Those of these lines that are code and were not executed.
    pub fn not_executed(&self, root: &str, path: &str, changed: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let Some(lines) = self.of(root, path) else { return Vec::new() };
        changed.into_iter().filter(|number| lines.get(number) == Some(&false)).collect()
    }
}

/// `line,count[,checksum]`; a count may be written as a fraction or in exponents.
fn data_line(data: &str) -> Option<(u32, bool)> {
    let mut parts = data.split(',');
    let number = parts.next()?.trim().parse().ok()?;
    let count: f64 = parts.next()?.trim().parse().ok()?;
    Some((number, count > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "TN:\nSF:/ws/src/a.rs\nFN:1,main\nDA:1,4\nDA:2,0\nDA:5,0,abc\nLF:3\nend_of_record\n\
                          DA:9,0\nSF:./src/b.rs\r\nDA:1,0\r\nend_of_record\r\n\
                          SF:/ws/src/a.rs\nDA:5,1\nDA:x,1\nDA:7\nDA:8,1e3\nend_of_record\n";

    #[test]
    fn a_line_is_executed_when_any_record_says_so() {
        let coverage = Coverage::parse(REPORT);
        let lines = coverage.of("/ws/", "src/a.rs").expect("there");
        assert_eq!(lines, &Lines::from([(1, true), (2, false), (5, true), (8, true)]));
        assert_eq!(coverage.not_executed("/ws", "src/a.rs", 1..=9), [2]);
    }

    #[test]
    fn relative_paths_are_found_and_unknown_files_say_nothing() {
        let coverage = Coverage::parse(REPORT);
        assert_eq!(coverage.not_executed("/elsewhere", "src/b.rs", [1, 2]), [1]);
        assert!(coverage.not_executed("/ws", "src/c.rs", [1]).is_empty());
        assert_eq!(Coverage::parse("\u{0}garbage"), Coverage::default());
    }
}
