//! How assertions look in each language, those that say something.

use super::cases::Tree;
use super::language::{TestLanguage, called, field, squeezed};

/// Methods of the `t` that ava, tape and node:test give to a test.
const T_METHODS: &[&str] = &[
    "assert",
    "deepEqual",
    "equal",
    "fail",
    "false",
    "falsy",
    "is",
    "like",
    "match",
    "not",
    "notDeepEqual",
    "notEqual",
    "notOk",
    "notThrows",
    "ok",
    "regex",
    "rejects",
    "same",
    "snapshot",
    "strictEqual",
    "throws",
    "throwsAsync",
    "true",
    "truthy",
];

/// Whether a node asserts something that may be false.
pub(super) fn is_assertion(language: TestLanguage, node: &Tree<'_>) -> bool {
    let kind = node.kind();
    match language {
        TestLanguage::Rust => {
            kind == "macro_invocation" && {
                let name = field(node, "macro");
                let name = name.rsplit("::").next().unwrap_or_default();
                let asserts = ["assert", "debug_assert", "prop_assert"].iter().any(|start| name.starts_with(start));
                asserts && !is_hollow(name, &arguments(&squeezed(&node.text()), '!'))
            }
        }
        TestLanguage::Python => match &*kind {
            "assert_statement" => !is_always(squeezed(&node.text()).trim_start_matches("assert"), "or"),
            "call" => {
                let called = called(node);
                let name = called.rsplit('.').next().unwrap_or_default();
                let asserts = name.starts_with("assert") || called == "pytest.raises" || called == "self.fail";
                asserts && !is_hollow(name, &arguments(&squeezed(&node.text()), '('))
            }
            _ => false,
        },
        TestLanguage::JavaScript | TestLanguage::TypeScript | TestLanguage::Tsx => {
            kind == "call_expression" && is_script_assertion(node)
        }
        TestLanguage::Go => {
            kind == "call_expression" && {
                let called = called(node);
                let (of, name) = called.rsplit_once('.').unwrap_or_default();
                let given = arguments(&squeezed(&node.text()), '(');
                // Testify's are given the test first.
                let given = given.strip_prefix(&["t".to_owned()][..]).unwrap_or(&given);
                matches!(of, "assert" | "require" | "is" | "qt") && !is_hollow(name, given)
                    || matches!(name, "Error" | "Errorf" | "Fatal" | "Fatalf" | "Fail" | "FailNow")
                        && matches!(of, "t" | "b" | "f" | "tb")
            }
        }
        TestLanguage::Java => {
            kind == "method_invocation" && {
                let name = field(node, "name");
                let asserts = ["assert", "verify", "expect", "fail"].iter().any(|start| name.starts_with(start));
                let given = arguments(&squeezed(&field(node, "arguments")), '(');
                // `assertThat(x)` alone says nothing: what follows it does.
                let is_open = name == "assertThat" && given.len() == 1 && !is_followed(node, "method_invocation");
                asserts && !is_open && !is_hollow(&name, &given)
            }
        }
    }
}

fn is_script_assertion(node: &Tree<'_>) -> bool {
    let called = called(node);
    if called.contains(".should.") {
        return true;
    }
    // `expect(x).toBe(y)` is a call of a member of a call: the inner one counts, where anything follows it.
    if called.contains('(') {
        return false;
    }
    let given = arguments(&squeezed(&node.text()), '(');
    let (first, name) = called.split_once('.').unwrap_or((&called, ""));
    match first {
        "expect" if name.is_empty() => {
            is_followed(node, "member_expression") && !given.first().is_some_and(|value| is_literal(value))
        }
        "expect" => true,
        "assert" | "should" => !is_hollow(&called, &given),
        "sinon" => name.starts_with("assert."),
        "t" => T_METHODS.contains(&name) && !is_hollow(name, &given),
        _ => false,
    }
}

/// Whether a call is what a longer one is called on.
fn is_followed(node: &Tree<'_>, by: &str) -> bool {
    node.parent().is_some_and(|parent| parent.kind() == by && parent.range().start == node.range().start)
}

/// What a call is given, from its text without white space, behind the first `open`; `!` is that of
/// a macro of Rust.
fn arguments(text: &str, open: char) -> Vec<String> {
    let Some((_, rest)) = text.split_once(open) else { return Vec::new() };
    let rest = rest.strip_prefix(['(', '[', '{']).filter(|_| open == '!').unwrap_or(rest);
    let (mut depth, mut given, mut quote, mut escaped) = (0_usize, vec![String::new()], None, false);
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (Some(end), _) => {
                quote = quote.filter(|_| escaped || c != end);
                escaped = c == '\\' && !escaped;
            }
            // In Rust it may begin a lifetime, which does not end.
            (None, '\'') if open == '!' && !is_character(&rest[at..]) => {}
            (None, '"' | '`' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => break,
            },
            (None, ',') if depth == 0 => {
                given.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = given.last_mut() {
            last.push(c);
        }
    }
    given.retain(|argument| !argument.is_empty());
    given
}

/// Whether a character of Rust begins with this quote: `'a'` or `'\n'`.
fn is_character(text: &str) -> bool {
    let mut inner = text.chars().skip(1);
    inner.next() == Some('\\') || inner.next() == Some('\'')
}

/// Whether an assertion cannot fail: of what is always true, or that something equals itself.
fn is_hollow(name: &str, given: &[String]) -> bool {
    let name = name.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let unequal = says(&["ne", "not", "differ", "raises", "throws"]) && !says(&["none"]);
    match given {
        [one, two, ..] if says(&["eq", "same", "is", "deep", "like"]) && !unequal => one == two,
        [one, ..] if says(&["false", "falsy", "none", "null"]) => matches!(one.as_str(), "false" | "False"),
        [one, ..] if name.ends_with("assert") || name == "should" || says(&["true", "truthy", "ok"]) => {
            is_always(one, "||")
        }
        _ => false,
    }
}

/// Whether a condition holds whatever happens.
fn is_always(condition: &str, or: &str) -> bool {
    let holds = |text: &str| matches!(text, "true" | "True" | "1");
    // White space is gone, so a word has to end where a word of Python's can.
    let begins = ["true", "True"]
        .iter()
        .any(|word| condition.strip_prefix(word).is_some_and(|rest| rest.starts_with(or) || rest.starts_with(',')));
    holds(condition) || begins || condition.ends_with(&format!("{or}true")) || condition.ends_with(&format!("{or}True"))
}

/// Whether a text is a number, a string or a word of the language.
fn is_literal(text: &str) -> bool {
    let is_quoted = |quote: char| {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        inner.is_some_and(|inner| !inner.contains(quote))
    };
    matches!(text, "true" | "false" | "null" | "undefined")
        || text.parse::<f64>().is_ok()
        || is_quoted('"')
        || is_quoted('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart_whatever_their_quotes_hold() {
        let cases: &[(&str, char, &[&str])] = &[
            ("expect('café,x')", '(', &["'café,x'"]),
            ("expect('你好,世界').toBe(1)", '(', &["'你好,世界'"]),
            ("f('a\\',b',1)", '(', &["'a\\',b'", "1"]),
            ("f(\"a\\\\\",b)", '(', &["\"a\\\\\"", "b"]),
            ("f(`a,${b(1,2)}`,')')", '(', &["`a,${b(1,2)}`", "')'"]),
            ("assert_eq!(f::<'a>(x),')')", '!', &["f::<'a>(x)", "')'"]),
            ("assert_eq!(c,'\\'',\"é,\")", '!', &["c", "'\\''", "\"é,\""]),
            ("f('é", '(', &["'é"]),
            ("f", '(', &[]),
        ];
        for (text, open, expected) in cases {
            assert_eq!(arguments(text, *open), *expected, "{text}");
        }
    }

    #[test]
    fn texts_of_any_length_and_script_are_literals_or_not() {
        for literal in ["'café,x'", "'你好'", "\"it's\"", "''", "1.5", "true"] {
            assert!(is_literal(literal), "{literal}");
        }
        for other in ["'", "\"", "'é", "'a'+b+'c'", "é", "x", ""] {
            assert!(!is_literal(other), "{other}");
        }
    }
}
