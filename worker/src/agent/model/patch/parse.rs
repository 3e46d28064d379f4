//! From the text of a patch to its hunks.
//!
//! It is read a little more leniently than the grammar says, as models need it: white space around
//! markers, a heredoc or a code fence around the whole, a first chunk without `@@`, several `@@` lines
//! one below the other, and empty lines that lost their leading space.

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";
const END_OF_FILE: &str = "*** End of File";

/// What a patch does to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hunk {
    /// A new file.
    Add {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// A file that goes.
    Delete {
        /// Its path.
        path: String,
    },
    /// A file that changes, moves, or both.
    Update {
        /// Its path.
        path: String,
        /// Where it goes.
        to: Option<String>,
        /// What changes in it, from top to bottom.
        chunks: Vec<Chunk>,
    },
}

/// A place in a file and its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Lines above it that say where it is, from the outermost one.
    pub contexts: Vec<String>,
    /// What is kept, removed and added there.
    pub lines: Vec<Line>,
    /// It ends where the file ends.
    pub at_end: bool,
}

/// A line of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Stays, and says where the chunk is.
    Keep(String),
    /// Goes.
    Remove(String),
    /// Comes.
    Add(String),
}

/// Why a text is no patch. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Its first line is another one.
    #[error("the first line of a patch must be '{BEGIN}'")]
    NoBegin,
    /// Its last line is another one: it was cut off, perhaps.
    #[error("the last line of a patch must be '{END}'")]
    NoEnd,
    /// It does nothing.
    #[error("the patch holds no '{ADD}', '{DELETE}' or '{UPDATE}'")]
    Empty,
    /// A header without a path.
    #[error("line {0}: no path after the header")]
    NoPath(usize),
    /// Something that is no header where one belongs.
    #[error(
        "line {line}: {text:?} is no header; write '{ADD}PATH', '{DELETE}PATH' or '{UPDATE}PATH' \
         (lines of a new file begin with '+')"
    )]
    NoHeader {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A line of a chunk without its sign.
    #[error("line {line}: {text:?} begins with none of ' ', '+', '-' and '@@'")]
    NoSign {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// An update that changes nothing and moves nothing.
    #[error("line {line}: the update of {path} holds no changed line")]
    NothingChanges {
        /// Where it begins.
        line: usize,
        /// The file.
        path: String,
    },
}

/// Longest text of the patch repeated in an error, in bytes.
const SHOWN_BYTES_MAX: usize = 120;

fn shown(text: &str) -> String {
    longhaul_common::text::clip_head(text, SHOWN_BYTES_MAX).to_owned()
}

/// Reads a patch.
pub fn parse(text: &str) -> Result<Vec<Hunk>, ParseError> {
    let all: Vec<&str> = unwrapped(text);
    if all.first().map(|line| line.trim()) != Some(BEGIN) {
        return Err(ParseError::NoBegin);
    }
    if all.len() < 2 || all.last().map(|line| line.trim()) != Some(END) {
        return Err(ParseError::NoEnd);
    }
    let mut reader = Reader { lines: &all[..all.len() - 1], at: 1 };
    let mut hunks = Vec::new();
    while let Some(line) = reader.peek() {
        if line.trim().is_empty() {
            reader.at += 1;
            continue;
        }
        hunks.push(reader.hunk()?);
    }
    if hunks.is_empty() { Err(ParseError::Empty) } else { Ok(hunks) }
}

/// The lines without a heredoc or code fence around them.
fn unwrapped(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.trim().lines().collect();
    let wrapped = |first: &str, last: &str| {
        let word =
            first.rsplit_once("<<").map(|(_, word)| word.trim_start_matches('-').trim().trim_matches(['\'', '"']));
        word.is_some_and(|word| !word.is_empty() && last.trim() == word)
            || (first.trim_start().starts_with("```") && last.trim() == "```")
    };
    while let [first, .., last] = lines[..]
        && wrapped(first, last)
    {
        lines = lines[1..lines.len() - 1].to_vec();
    }
    lines
}

struct Reader<'t> {
    lines: &'t [&'t str],
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.lines.get(self.at).copied()
    }

    /// The path after a header, if the line is that header.
    fn header(&self, line: &str, header: &str) -> Option<Result<String, ParseError>> {
        let line = line.trim();
        let path = if line == header.trim_end() { "" } else { line.strip_prefix(header)?.trim() };
        Some(if path.is_empty() { Err(ParseError::NoPath(self.at + 1)) } else { Ok(path.to_owned()) })
    }

    fn hunk(&mut self) -> Result<Hunk, ParseError> {
        let line = self.peek().unwrap_or_default();
        if let Some(path) = self.header(line, ADD) {
            self.at += 1;
            return Ok(Hunk::Add { path: path?, content: self.new_file() });
        }
        if let Some(path) = self.header(line, DELETE) {
            self.at += 1;
            return Ok(Hunk::Delete { path: path? });
        }
        let Some(path) = self.header(line, UPDATE) else {
            return Err(ParseError::NoHeader { line: self.at + 1, text: shown(line) });
        };
        let (path, begins) = (path?, self.at + 1);
        self.at += 1;
        let to = self.peek().and_then(|line| self.header(line, MOVE)).transpose()?;
        self.at += usize::from(to.is_some());
        let chunks = self.chunks()?;
        let changes = chunks.iter().flat_map(|chunk| &chunk.lines).any(|line| !matches!(line, Line::Keep(_)));
        if !changes && to.is_none() {
            return Err(ParseError::NothingChanges { line: begins, path });
        }
        Ok(Hunk::Update { path, to, chunks })
    }

    fn new_file(&mut self) -> String {
        let mut content = String::new();
        while let Some(line) = self.peek().and_then(|line| line.strip_prefix('+')) {
            content.push_str(line);
            content.push('\n');
            self.at += 1;
        }
        content
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, ParseError> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut chunk = Chunk::default();
        while let Some(line) = self.peek() {
            if line.trim_end() == END_OF_FILE {
                chunk.at_end = true;
                chunks.push(std::mem::take(&mut chunk));
            } else if is_header(line) {
                break;
            } else if let Some(context) = line.strip_prefix("@@") {
                if !chunk.lines.is_empty() {
                    chunks.push(std::mem::take(&mut chunk));
                }
                let context = context.strip_prefix(' ').unwrap_or(context).trim_end();
                // `@@ -1,2 +1,2 @@` of a unified diff says nothing that holds.
                if !context.is_empty() && !context.ends_with("@@") {
                    chunk.contexts.push(context.to_owned());
                }
            } else {
                chunk.lines.push(self.line(line)?);
            }
            self.at += 1;
        }
        if !chunk.lines.is_empty() {
            chunks.push(chunk);
        }
        chunks.retain(|chunk| !chunk.lines.is_empty());
        Ok(chunks)
    }

    fn line(&self, line: &str) -> Result<Line, ParseError> {
        if line.is_empty() {
            return Ok(Line::Keep(String::new()));
        }
        let (sign, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        match sign {
            " " => Ok(Line::Keep(rest.to_owned())),
            "-" => Ok(Line::Remove(rest.to_owned())),
            "+" => Ok(Line::Add(rest.to_owned())),
            _ => Err(ParseError::NoSign { line: self.at + 1, text: shown(line) }),
        }
    }
}

/// A kept line begins with a space, whatever follows it; only the known headers end a hunk.
fn is_header(line: &str) -> bool {
    [ADD, DELETE, UPDATE].iter().any(|header| line.starts_with(header.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        match &parse(text).expect("a patch")[0] {
            Hunk::Update { chunks, .. } => chunks[0].lines.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_hunk_is_read() {
        let text = "*** Begin Patch\n*** Add File: a/b.txt\n+one\n+\n+*** three\n*** Delete File: c d.txt\n\
            *** Update File: e.py\n*** Move to: f.py\n@@ class A\n@@ def f(self):\n keep\n-old\n+new\n@@\n x\n+y\n*** End of File\n\
            *** End Patch";
        let hunks = parse(text).expect("a patch");
        assert_eq!(hunks[0], Hunk::Add { path: "a/b.txt".into(), content: "one\n\n*** three\n".into() });
        assert_eq!(hunks[1], Hunk::Delete { path: "c d.txt".into() });
        let Hunk::Update { path, to, chunks } = &hunks[2] else { panic!("{hunks:?}") };
        assert_eq!((path.as_str(), to.as_deref(), chunks.len()), ("e.py", Some("f.py"), 2));
        assert_eq!(chunks[0].contexts, ["class A", "def f(self):"]);
        assert_eq!(chunks[0].lines, [Line::Keep("keep".into()), Line::Remove("old".into()), Line::Add("new".into())]);
        assert!(chunks[1].at_end && !chunks[0].at_end);
    }

    #[test]
    fn what_models_wrap_around_it_is_taken_off() {
        let wanted = [Line::Keep("a".into()), Line::Keep(String::new()), Line::Remove("b".into())];
        let body = "*** Begin Patch\n*** Update File: x\n a\n\n-b\n*** End Patch";
        for text in [
            body.to_owned(),
            format!("\n  {body}\n\n"),
            format!("<<'EOF'\n{body}\nEOF\n"),
            format!("apply_patch <<\"PATCH\"\n{body}\nPATCH"),
            format!("```diff\n{body}\n```"),
            body.replace('\n', "\r\n"),
            body.replace(" a\n", "@@ -1,3 +1,2 @@\n a\n"),
        ] {
            assert_eq!(lines(&text), wanted, "{text:?}");
        }
    }

    #[test]
    fn mistakes_say_where_and_what() {
        let error =
            |body: &str| parse(&format!("*** Begin Patch\n{body}\n*** End Patch")).expect_err("refused").to_string();
        assert!(error("").contains("holds no"));
        assert!(error("hello").starts_with("line 2: \"hello\" is no header"));
        assert!(error("*** Add File: ").starts_with("line 2: no path"));
        assert!(error("*** Update File: x\n a").contains("the update of x holds no changed line"));
        assert!(error("*** Update File: x\n a\n-b\n?c").starts_with("line 5: \"?c\" begins with none"));
        assert!(error("*** Update File: x\né").starts_with("line 3"));
        assert_eq!(parse("*** Begin Patch\n*** Delete File: x"), Err(ParseError::NoEnd));
        assert_eq!(parse("*** Begin Patch"), Err(ParseError::NoEnd));
        assert_eq!(parse("*** Delete File: x\n*** End Patch"), Err(ParseError::NoBegin));
        assert_eq!(parse(""), Err(ParseError::NoBegin));
    }
}
