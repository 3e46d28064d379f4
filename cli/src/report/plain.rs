//! Plain text out of hostile output: agents and commands print whatever they like, and it ends up
//! on a terminal and in a page.
//!
//! Removed are escape sequences (CSI, OSC and the other string sequences, in both their 7-bit and
//! 8-bit forms), control characters, bidirectional overrides that make text read differently from
//! what it is, and zero-width characters that make its width a matter of opinion. A string
//! sequence that never ends is given up at the end of its line, so it cannot hide the rest.

/// One line: everything is kept, line breaks become spaces, tabs too. Of a line redrawn with
/// carriage returns the last drawing is kept, as a terminal would show it.
pub fn line(text: &str) -> String {
    let cleaned = block(text.trim_end());
    let last = cleaned.rsplit('\u{0}').find(|part| !part.trim().is_empty()).unwrap_or("");
    let mut out = String::with_capacity(last.len());
    for word in last.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// The last line of `text` that has something to read.
pub fn last_line(text: &str) -> String {
    text.lines().rev().map(line).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Several lines: line breaks are kept, tabs become four spaces, a lone carriage return starts a
/// new line.
pub fn text(text: &str) -> String {
    block(text).replace('\u{0}', "\n")
}

/// Strips `text`; a lone carriage return comes out as NUL, which cannot otherwise occur.
fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek().copied() {
                Some('[') => {
                    chars.next();
                    skip_control(&mut chars);
                }
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    chars.next();
                    skip_string(&mut chars);
                }
                _ => skip_escape(&mut chars),
            },
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\n' => out.push('\n'),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\u{0}'),
            '\t' => out.push_str("    "),
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parameters and intermediates up to the final byte of a control sequence.
fn skip_control(chars: &mut Chars<'_>) {
    while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
    chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
}

/// The body of an OSC, DCS, SOS, PM or APC string, up to its terminator or the end of the line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

fn skip_escape(chars: &mut Chars<'_>) {
    while chars.next_if(|c| ('\u{20}'..='\u{2f}').contains(c)).is_some() {}
    chars.next_if(|c| ('\u{30}'..='\u{7e}').contains(c));
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `id` as one word of a shell line: unchanged where that is safe, single-quoted otherwise.
/// Control characters are dropped, because no id that has them can be typed.
pub fn shell_word(id: &str) -> String {
    let id = line(id);
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !id.is_empty() && id.chars().all(safe) { id } else { format!("'{}'", id.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_leave_only_their_text() {
        let cases = [
            ("\u{1b}[1;31merror\u{1b}[0m: x", "error: x"),
            ("\u{1b}]0;evil title\u{7}ok", "ok"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}31mred", "red"),
            ("\u{9d}52;c;aGk=\u{9c}clip", "clip"),
            ("\u{1b}P1$r\u{1b}\\dcs", "dcs"),
            ("\u{1b}(Bset \u{1b}7saved", "set saved"),
            ("a\u{8}b\u{7}c\u{0}d", "abcd"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}[12", ""),
        ];
        for (input, expected) in cases {
            assert_eq!(line(input), expected, "{input:?}");
        }
    }

    #[test]
    fn an_unterminated_string_cannot_hide_the_next_line() {
        assert_eq!(text("\u{1b}]0;never ends\nvisible"), "\nvisible");
    }

    #[test]
    fn redrawn_lines_show_their_last_drawing() {
        assert_eq!(line("10%\r50%\r100% done\r"), "100% done");
        assert_eq!(line("one\r\n"), "one");
        assert_eq!(last_line("first\n\u{1b}[2K\n  second \n\n"), "second");
    }

    #[test]
    fn direction_overrides_and_zero_widths_go() {
        assert_eq!(line("a\u{202e}b\u{2066}c\u{200b}d\u{fe0f}\u{feff}"), "abcd");
    }

    #[test]
    fn ids_are_quoted_for_the_shell_only_when_needed() {
        assert_eq!(shell_word("lazy-a.rs"), "lazy-a.rs");
        assert_eq!(shell_word("$(rm -rf ~)"), "'$(rm -rf ~)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
