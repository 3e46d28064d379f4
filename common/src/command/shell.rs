//! The commands of a POSIX shell line, where that is certain from the text alone.
//!
//! Understood: words, quotes, escapes, `;`, `&`, `&&`, `||`, `|`, line ends, comments, assignments
//! before a command, plain redirections. Everything whose meaning depends on more than the text
//! (expansions, substitutions, here documents, keywords, functions, `eval`) is [`Unclear`].

/// Why the commands of a line cannot be told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unclear {
    /// An expansion, a substitution, a group: the character it begins with.
    #[error("{0:?} stands for something else in a shell")]
    Special(char),
    /// A keyword or a program that takes shell code.
    #[error("`{0}` runs what follows in its own way")]
    Keyword(String),
    /// A quote or an escape without its end.
    #[error("a quote is not closed")]
    Open,
    /// A redirection without a plain target.
    #[error("a redirection without a plain file")]
    Redirection,
}

/// First words after which a line is no plain command.
const KEYWORDS: &[&str] = &[
    "!", ".", "[[", "alias", "case", "coproc", "do", "done", "elif", "else", "esac", "eval", "fi", "for", "function",
    "if", "in", "select", "source", "then", "trap", "until", "while", "{", "}",
];

/// One word, and whether quotes or escapes were part of it.
#[derive(Default)]
struct Word {
    text: String,
    /// Where the first of them was, in bytes.
    first_quote: Option<usize>,
    /// It holds a character that a shell expands to file names.
    globs: bool,
}

impl Word {
    fn quoted(&mut self) {
        self.first_quote.get_or_insert(self.text.len());
    }

    fn is_quoted(&self) -> bool {
        self.first_quote.is_some()
    }

    /// `NAME=value` before a command; only the value may be quoted.
    fn is_assignment(&self) -> bool {
        let Some((name, _)) = self.text.split_once('=') else { return false };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain);
        is_name && self.first_quote.is_none_or(|at| at > name.len())
    }
}

/// The argvs of a line, in order.
pub fn commands(line: &str) -> Result<Vec<Vec<String>>, Unclear> {
    let mut reader = Reader { chars: line.chars().peekable(), commands: Vec::new(), argv: Vec::new() };
    reader.read()?;
    Ok(reader.commands)
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    commands: Vec<Vec<String>>,
    argv: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Unclear> {
        while let Some(&next) = self.chars.peek() {
            match next {
                ' ' | '\t' => drop(self.chars.next()),
                '\n' | '\r' | ';' | '&' | '|' => {
                    self.chars.next();
                    self.end_command();
                }
                '#' => while self.chars.next_if(|&c| c != '\n').is_some() {},
                '<' | '>' => self.redirection()?,
                _ => {
                    let word = self.word()?;
                    self.push(word)?;
                }
            }
        }
        self.end_command();
        Ok(())
    }

    fn end_command(&mut self) {
        if !self.argv.is_empty() {
            self.commands.push(std::mem::take(&mut self.argv));
        }
    }

    fn push(&mut self, word: Word) -> Result<(), Unclear> {
        if word.text.is_empty() && !word.is_quoted() {
            return Ok(());
        }
        let redirects = matches!(self.chars.peek(), Some('<' | '>'));
        if redirects
            && !word.is_quoted()
            && !word.text.is_empty()
            && word.text.bytes().all(|byte| byte.is_ascii_digit())
        {
            // The number of what is redirected.
            return Ok(());
        }
        if self.argv.is_empty() {
            if word.is_assignment() {
                return Ok(());
            }
            if word.globs {
                return Err(Unclear::Special('*'));
            }
            if !word.is_quoted() && KEYWORDS.contains(&word.text.as_str()) {
                return Err(Unclear::Keyword(word.text));
            }
        }
        self.argv.push(word.text);
        Ok(())
    }

    fn word(&mut self) -> Result<Word, Unclear> {
        let mut word = Word::default();
        while let Some(&next) = self.chars.peek() {
            match next {
                ' ' | '\t' | '\n' | '\r' | ';' | '&' | '|' | '<' | '>' => break,
                '$' | '`' | '(' | ')' | '{' | '}' if !(matches!(next, '{' | '}') && self.is_lone_brace(&word)) => {
                    return Err(Unclear::Special(next));
                }
                '\'' => {
                    self.chars.next();
                    word.quoted();
                    self.single_quoted(&mut word.text)?;
                }
                '"' => {
                    self.chars.next();
                    word.quoted();
                    self.double_quoted(&mut word.text)?;
                }
                '\\' => {
                    self.chars.next();
                    match self.chars.next() {
                        // The line goes on.
                        Some('\n') => {}
                        Some(escaped) => {
                            word.quoted();
                            word.text.push(escaped);
                        }
                        None => return Err(Unclear::Open),
                    }
                }
                plain => {
                    self.chars.next();
                    word.globs |= matches!(plain, '*' | '?' | '[');
                    word.text.push(plain);
                }
            }
        }
        // `[` alone is the program of that name.
        word.globs &= word.text != "[";
        Ok(word)
    }

    /// `{}` as `find -exec` and `xargs` take it, which a shell leaves alone.
    fn is_lone_brace(&self, word: &Word) -> bool {
        let mut ahead = self.chars.clone();
        match word.text.as_str() {
            "" => !self.argv.is_empty() && ahead.next() == Some('{') && ahead.next() == Some('}'),
            "{" => {
                ahead.next() == Some('}') && ahead.next().is_none_or(|after| matches!(after, ' ' | '\t' | '\n' | ';'))
            }
            _ => false,
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), Unclear> {
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => text.push(c),
                None => return Err(Unclear::Open),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), Unclear> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some(special @ ('$' | '`')) => return Err(Unclear::Special(special)),
                Some('\\') => match self.chars.next() {
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                    Some('\n') => {}
                    Some(other) => text.extend(['\\', other]),
                    None => return Err(Unclear::Open),
                },
                Some(c) => text.push(c),
                None => return Err(Unclear::Open),
            }
        }
    }

    /// `>`, `>>`, `<`, `>&1` with a plain target; the sandbox holds where it may lead.
    fn redirection(&mut self) -> Result<(), Unclear> {
        let first = self.chars.next();
        if self.chars.next_if_eq(&'<').is_some() {
            return Err(Unclear::Redirection);
        }
        if first == Some('>') {
            let _appends = self.chars.next_if(|&c| matches!(c, '>' | '|'));
        }
        let _duplicates = self.chars.next_if_eq(&'&');
        while self.chars.next_if(|&c| matches!(c, ' ' | '\t')).is_some() {}
        let target = self.word()?;
        if target.text.is_empty() || target.globs { Err(Unclear::Redirection) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        commands(line).expect("clear").into_iter().map(|argv| argv.join("|")).collect()
    }

    #[test]
    fn plain_lines_are_split_into_their_commands() {
        assert_eq!(split("a b  'c d' \"e \\\" f\" g\\ h"), ["a|b|c d|e \" f|g h"]);
        assert_eq!(split("a; b && c || d | e & f\ng # h ; i"), ["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(split("A=1 B='2' make x=y"), ["make|x=y"]);
        assert_eq!(split("cc a.c 2>&1 >out >> log < in -o a"), ["cc|a.c|-o|a"]);
        assert_eq!(split("ls *.rs a?b"), ["ls|*.rs|a?b"]);
        assert_eq!(split("[ -f x ] && find . -exec rm {} ;"), ["[|-f|x|]", "find|.|-exec|rm|{}"]);
        assert_eq!(split("a \\\n b"), ["a|b"]);
        assert_eq!(split("'if' x"), ["if|x"]);
        assert_eq!(split(" ;; "), Vec::<String>::new());
    }

    #[test]
    fn whatever_depends_on_more_than_the_text_is_unclear() {
        let unclear = [
            "a $B",
            "a \"$B\"",
            "`a`",
            "$(a)",
            "(a)",
            "{ a; }",
            "a{b,c}",
            "a <(b)",
            "cat <<E",
            "if a; then b; fi",
            "for x in y; do z; done",
            "eval a",
            ". ./env",
            "a 'b",
            "a \"b",
            "a \\",
            "a >",
            "a > *",
            "*/bin a",
            "f() { a; }",
            "a {}b",
        ];
        for line in unclear {
            assert!(commands(line).is_err(), "{line}: {:?}", commands(line));
        }
    }
}
