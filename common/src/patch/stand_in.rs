//! Paths that stand for all that a glob covers: what holds for each of them holds for all.

use crate::spec::is_glob;

/// Choices of one glob that are looked at one by one.
const CHOICES_MAX: usize = 64;

/// What takes the place of a wildcard: nobody would name a file so.
const WILD: char = '\u{1}';

/// The one path that a pattern without wildcards covers, as it is called: `app/\[id\].ts` is
/// `app/[id].ts`. `None` for a glob.
pub(super) fn written_out(pattern: &str) -> Option<String> {
    let (mut path, mut chars) = (String::with_capacity(pattern.len()), pattern.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.extend(chars.next()),
            '*' | '?' | '[' | '{' => return None,
            _ => path.push(c),
        }
    }
    Some(path)
}

/// A path for each choice of a glob that it matches and nobody would think of.
pub(super) fn stand_ins(pattern: &str) -> Vec<String> {
    let Some(choices) = choices(pattern) else {
        // Too many: the folder before them has to do.
        let folders = pattern.split('/').take_while(|name| !name.contains(['{', '[', '\\']));
        return vec![folders.map(wild).chain([WILD.to_string()]).collect::<Vec<_>>().join("/")];
    };
    choices.iter().map(|choice| if is_glob(choice) { wild(choice) } else { plain(choice) }).collect()
}

fn plain(pattern: &str) -> String {
    written_out(pattern).unwrap_or_else(|| pattern.to_owned())
}

/// With every wildcard, and every set of characters, replaced.
fn wild(glob: &str) -> String {
    let (mut path, mut chars) = (String::with_capacity(glob.len()), glob.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.extend(chars.next()),
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                path.push(WILD);
            }
            '?' => path.push(WILD),
            '[' => {
                // A bracket that comes first is one of the set.
                chars.next_if(|&c| matches!(c, '!' | '^'));
                chars.next_if_eq(&']');
                chars.by_ref().find(|&c| c == ']');
                path.push(WILD);
            }
            _ => path.push(c),
        }
    }
    path
}

/// The globs without choices that a glob with `{a,b}` is; `None` where they are too many.
fn choices(glob: &str) -> Option<Vec<String>> {
    let (mut open, mut done) = (vec![glob.to_owned()], Vec::new());
    while let Some(glob) = open.pop() {
        match first_choice(&glob) {
            Some((before, all, after)) => open.extend(all.iter().rev().map(|one| format!("{before}{one}{after}"))),
            None => done.push(glob),
        }
        if open.len() + done.len() > CHOICES_MAX {
            return None;
        }
    }
    Some(done)
}

/// What is before the first choice of a glob, its alternatives, and what is behind it.
fn first_choice(glob: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (mut depth, mut begin, mut from, mut all) = (0_usize, 0, 0, Vec::new());
    let (mut escaped, mut in_set) = (false, false);
    for (at, c) in glob.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' if in_set => in_set = false,
            _ if in_set => {}
            '[' => in_set = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (begin, from) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                all.push(glob.get(from..at)?);
                from = at + 1;
            }
            '}' if depth == 1 => {
                all.push(glob.get(from..at)?);
                return Some((glob.get(..begin)?, all, glob.get(at + 1..)?));
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_has_a_path_that_stands_for_it() {
        let cases: &[(&str, &[&str])] = &[
            ("src/a.rs", &["src/a.rs"]),
            ("src/**", &["src/\u{1}"]),
            ("src/**/*.{test,spec}.ts", &["src/\u{1}/\u{1}.test.ts", "src/\u{1}/\u{1}.spec.ts"]),
            ("{a,{b,c}/d}?", &["a\u{1}", "b/d\u{1}", "c/d\u{1}"]),
            ("a/[x,{]{b,c}", &["a/\u{1}b", "a/\u{1}c"]),
            ("a[]x].rs", &["a\u{1}.rs"]),
            (r"app/\[id\].{ts,tsx}", &["app/[id].ts", "app/[id].tsx"]),
            (r"a\{b,c\}", &["a{b,c}"]),
            ("ä/{ö,ü}", &["ä/ö", "ä/ü"]),
            ("a{b", &["a{b"]),
        ];
        for (glob, expected) in cases {
            assert_eq!(stand_ins(glob), *expected, "{glob}");
        }
        let many = format!("src/{}*", "{a,b}".repeat(40));
        assert_eq!(stand_ins(&many), ["src/\u{1}"]);
    }

    #[test]
    fn what_is_escaped_is_written_out() {
        let cases = [
            ("src/a.rs", Some("src/a.rs")),
            (r"app/\[id\].test.ts", Some("app/[id].test.ts")),
            ("app/[id].test.ts", None),
            ("a*", None),
            (r"a\", Some("a")),
        ];
        for (pattern, expected) in cases {
            assert_eq!(written_out(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
