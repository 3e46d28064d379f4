//! Coverage in lcov's format, as far as it says which lines were executed.
//!
//! Most coverage programs write it: `SF:` begins a file, `DA:line,count` says how often a line was
//! executed, `end_of_record` ends the file. A file may have several records, one a test program: a
//! line counts as executed when any of them says so. Records of other kinds are passed over; what is
//! no record, or was cut, makes the whole report worth nothing.

use std::collections::BTreeMap;

/// Longest part of a line that an error quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 80;

/// Executed or not, by line number from 1.
pub type Lines = BTreeMap<u32, bool>;

/// Why a report says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LcovError {
    /// It is in another format, or garbled.
    #[error("line {line} is no record of lcov: {text:?}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A count of lines of no file.
    #[error("line {line} counts a line outside of any file")]
    Outside {
        /// Its number, from 1.
        line: usize,
    },
    /// The rest is missing.
    #[error("it ends or goes on within the record of {path}")]
    Cut {
        /// The file whose record has no end.
        path: String,
    },
    /// Nothing was measured.
    #[error("it tells of no line")]
    Empty,
}

/// What was executed, by path as the program wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lcov {
    files: BTreeMap<String, Lines>,
}

impl Lcov {
    /// Reads a report.
    pub fn parse(text: &str) -> Result<Self, LcovError> {
        let mut report = Self::default();
        let mut file: Option<String> = None;
        for (at, line) in text.lines().enumerate() {
            let (number, line) = (at + 1, line.trim_end());
            let bad = || LcovError::Line {
                line: number,
                text: longhaul_common::text::clip_head(line, QUOTED_BYTES_MAX).to_owned(),
            };
            if let Some(path) = line.strip_prefix("SF:") {
                if let Some(path) = file {
                    return Err(LcovError::Cut { path });
                }
                let path = path.strip_prefix("./").unwrap_or(path).to_owned();
                report.files.entry(path.clone()).or_default();
                file = Some(path);
            } else if line == "end_of_record" {
                file = None;
            } else if let Some(data) = line.strip_prefix("DA:") {
                let (number, executed) = data_line(data).ok_or_else(bad)?;
                let path = file.as_ref().ok_or(LcovError::Outside { line: at + 1 })?;
                let lines = report.files.entry(path.clone()).or_default();
                *lines.entry(number).or_default() |= executed;
            } else if !is_other_record(line) {
                return Err(bad());
            }
        }
        match file {
            Some(path) => Err(LcovError::Cut { path }),
            None if report.files.values().all(BTreeMap::is_empty) => Err(LcovError::Empty),
            None => Ok(report),
        }
    }

    /// The lines of a file of the repository: by its path, or by an absolute one below one of the roots.
    pub fn of(&self, roots: &[String], path: &str) -> Option<&Lines> {
        let below = |root: &String| self.files.get(&format!("{}/{path}", root.trim_end_matches('/')));
        self.files.get(path).or_else(|| roots.iter().find_map(below))
    }
}

/// A record of another kind (`TN:`, `FNDA:`, `BRDA:` …), a comment or an empty line.
fn is_other_record(line: &str) -> bool {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    line.is_empty() || line.starts_with('#') || line.split_once(':').is_some_and(|(key, _)| is_key(key))
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

    const REPORT: &str = "# lcov 2\nTN:\nSF:/ws/src/a.rs\nFN:1,main\nDA:1,4\nDA:2,0\nDA:5,0,abc\nLF:3\nend_of_record\n\
                          SF:./src/b.rs\r\nDA:1,0\r\nend_of_record\r\n\n\
                          SF:/ws/src/a.rs\nDA:5,1\nDA:8,1e3\nDA:9,-1\nend_of_record\n";

    fn root(path: &str) -> Vec<String> {
        vec!["/elsewhere".to_owned(), path.to_owned()]
    }

    #[test]
    fn a_line_is_executed_when_any_record_says_so() {
        let report = Lcov::parse(REPORT).expect("a report");
        let lines = report.of(&root("/ws/"), "src/a.rs").expect("there");
        assert_eq!(lines, &Lines::from([(1, true), (2, false), (5, true), (8, true), (9, false)]));
        assert!(report.of(&root("/other"), "src/a.rs").is_none(), "of another folder");
        assert_eq!(report.of(&[], "src/b.rs"), Some(&Lines::from([(1, false)])));
        assert!(report.of(&root("/ws"), "src/c.rs").is_none());
    }

    #[test]
    fn what_is_no_whole_report_is_an_error_that_says_where() {
        let line = |line, text: &str| LcovError::Line { line, text: text.into() };
        for (text, error) in [
            ("", LcovError::Empty),
            ("SF:a\nend_of_record\n", LcovError::Empty),
            ("<?xml version=\"1.0\"?>", line(1, "<?xml version=\"1.0\"?>")),
            ("{\"files\": 1}", line(1, "{\"files\": 1}")),
            ("SF:a\nDA:x,1\nend_of_record", line(2, "DA:x,1")),
            ("SF:a\nDA:7\nend_of_record", line(2, "DA:7")),
            ("DA:1,1\n", LcovError::Outside { line: 1 }),
            ("SF:a\nDA:1,1\nSF:b\nDA:1,1\nend_of_record\n", LcovError::Cut { path: "a".into() }),
            ("SF:a\nDA:1,1\n", LcovError::Cut { path: "a".into() }),
        ] {
            assert_eq!(Lcov::parse(text), Err(error), "{text:?}");
        }
    }
}
