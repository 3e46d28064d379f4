//! What looks like a credential in what a patch adds: the forms that providers publish, and random
//! values given to a name that says so.
//!
//! A file is read as it is, and where it holds zero bytes once more without them, which is how UTF-16
//! shows its ASCII. Values this machine knows to be secret are refused outright by the worker; these are guesses, so
//! a person looks at them. Placeholders and what the base held already are none. A value is never
//! repeated: what is said is its place and its kind.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use regex::bytes::Regex;

/// Places named in one file.
const PLACES_MAX: usize = 10;

/// Bits a character, from which on a value counts as random; English words have about 3.
const RANDOM_BITS_MIN: f64 = 3.8;

/// Published forms; the whole match is the value.
const FORMS: &[(&str, &str)] = &[
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})"),
    ("a GitLab token", r"\bglpat-[0-9A-Za-z_-]{20,}"),
    ("a Slack token", r"\bxox[abprs]-[0-9A-Za-z-]{20,}"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{20,}"),
    ("an Anthropic key", r"\bsk-ant-[0-9A-Za-z_-]{20,}"),
    ("an OpenAI key", r"\bsk-(?:proj-|svcacct-)?[0-9A-Za-z_-]{40,}"),
    ("an npm token", r"\bnpm_[0-9A-Za-z]{36}"),
    ("a JSON web token", r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{20,}"),
    // The line's end may be written out, as in JSON, and the text be put together from strings.
    ("a private key", r#"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----(?:\s|\\+[nr]|["'+,])+[0-9A-Za-z+/=]{40,}"#),
];

/// A URL with a name and a password, and its host.
const URL: &str =
    r#"\b[A-Za-z][0-9A-Za-z+.-]{1,30}://[^\s:/@"'`<>]{0,100}:([^\s:/@"'`<>{}$]{6,200})@([0-9A-Za-z.\[\]:-]+)"#;

/// Passwords that stand for one, without what is no letter.
const PLACEHOLDERS: &[&str] = &[
    "admin",
    "changeit",
    "changeme",
    "dummy",
    "example",
    "foobar",
    "mypassword",
    "passphrase",
    "passwd",
    "password",
    "postgres",
    "redacted",
    "secret",
    "test",
    "token",
    "user",
    "username",
    "yourpassword",
];

/// A name that says secret, and a quoted or bare value of at least 20 characters.
const NAMED: &str = r#"(?i)(?:secret|token|passwd|password|api_?key|access_?key|private_?key)(?:_?key)?["'\]]{0,2}(?:\s*:\s*&?(?:'[a-z]+\s+)?[a-z]\w{0,30})?\s*(?::=|=>|[:=])\s*["'`]?([0-9A-Za-z+/_=.-]{20,})"#;

/// A place that looks like a credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Credential {
    /// From 1.
    pub line: usize,
    /// In words, with its article.
    pub kind: &'static str,
}

struct Patterns {
    forms: Vec<(&'static str, Regex)>,
    named: Regex,
    url: Regex,
}

fn patterns() -> &'static Patterns {
    static PATTERNS: OnceLock<Patterns> = OnceLock::new();
    let compiled = |pattern: &str| Regex::new(pattern).expect("a pattern of ours, compiled by a test");
    PATTERNS.get_or_init(|| Patterns {
        forms: FORMS.iter().map(|(kind, pattern)| (*kind, compiled(pattern))).collect(),
        named: compiled(NAMED),
        url: compiled(URL),
    })
}

/// Each value that looks like a credential, with its kind and where it begins, in order.
fn values(text: &[u8]) -> Vec<(usize, &'static str, &[u8])> {
    let patterns = patterns();
    let mut found: Vec<(usize, &'static str, &[u8])> = Vec::new();
    for (kind, form) in &patterns.forms {
        found.extend(form.find_iter(text).map(|value| (value.start(), *kind, value.as_bytes())));
    }
    for captured in patterns.url.captures_iter(text) {
        if let Some(value) = captured
            .get(1)
            .filter(|value| is_password(value.as_bytes(), captured.get(2).map_or(&[], |host| host.as_bytes())))
        {
            found.push((value.start(), "a URL with a password", value.as_bytes()));
        }
    }
    for captured in patterns.named.captures_iter(text) {
        if let Some(value) = captured.get(1).filter(|value| is_random(value.as_bytes())) {
            found.push((value.start(), "a random value with the name of a secret", value.as_bytes()));
        }
    }
    // The most certain comes first, and what it holds is not named again.
    found.sort_by_key(|(at, ..)| *at);
    let mut end = 0;
    found.retain(|(at, _, value)| {
        let is_new = *at >= end;
        end = end.max(at + value.len());
        is_new
    });
    found
}

/// What `after` holds and `before` did not.
pub fn credentials(before: &[u8], after: &[u8]) -> Vec<Credential> {
    let mut places = new_places(before, after);
    if after.contains(&0) {
        let wide = |text: &[u8]| text.iter().copied().filter(|&byte| byte != 0).collect::<Vec<u8>>();
        places.extend(new_places(&wide(before), &wide(after)));
    }
    places.sort();
    places.dedup();
    places.truncate(PLACES_MAX);
    places
}

fn new_places(before: &[u8], after: &[u8]) -> Vec<Credential> {
    let found = values(after);
    if found.is_empty() {
        return Vec::new();
    }
    let before: BTreeSet<&[u8]> = values(before).into_iter().map(|(_, _, value)| value).collect();
    let (mut line, mut counted) = (1, 0);
    let place = |(at, kind, _): (usize, &'static str, &[u8])| {
        line += after[counted..at].iter().filter(|&&byte| byte == b'\n').count();
        counted = at;
        Credential { line, kind }
    };
    found.into_iter().filter(|(_, _, value)| !before.contains(value)).take(PLACES_MAX).map(place).collect()
}

/// Whether a URL's password is one that somebody could use: no placeholder, and for no machine that
/// is only an example or one's own.
fn is_password(value: &[u8], host: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_lowercase();
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    let host = String::from_utf8_lossy(host).to_lowercase();
    let own = ["localhost", "127.", "[::1]", "0.0.0.0"].iter().any(|start| host.starts_with(start));
    let hollow = text.chars().all(|c| text.starts_with(c)) || PLACEHOLDERS.contains(&letters.as_str());
    !own && !hollow && !host.contains("example") && !text.contains(['*', '…']) && !has_slot(&text)
}

/// Whether something is to be put in: a `%` that encodes no byte.
fn has_slot(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        let bytes = rest.as_bytes();
        bytes.len() < 2 || !bytes[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

/// Letters and digits mixed as no word is.
fn is_random(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    digits >= 3 && letters >= 3 && bits(value) >= RANDOM_BITS_MIN
}

/// Shannon entropy of a value's bytes.
fn bits(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    let all = value.len() as f64;
    let part = |&count: &u32| f64::from(count) / all;
    counts.iter().filter(|&&count| count > 0).map(part).map(|part| -part * part.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Built from parts, so that no scanner stumbles over this file.
    fn key(start: &str, rest: &str) -> String {
        format!("{start}{rest}")
    }

    fn kinds(text: &str) -> Vec<&'static str> {
        credentials(b"", text.as_bytes()).into_iter().map(|found| found.kind).collect()
    }

    #[test]
    fn published_forms_are_known() {
        let random = "q7Zp2Xv9Lk4Tn8Rb3Wd6Yc1Hs5Jf0Gm2Qa7Ze9";
        let aws = key("AKIA", "IOSFODNN7EXAMPLE");
        let cases = [
            (format!("id = {aws}"), "an AWS access key"),
            (key("ghp_", &random[..36]), "a GitHub token"),
            (key("xoxb-", &random[..30]), "a Slack token"),
            (key("AIza", &random[..35]), "a Google API key"),
            (key("sk-ant-", random), "an Anthropic key"),
            (key("sk-proj-", &random.repeat(2)), "an OpenAI key"),
            (format!("-----BEGIN {}-----\n{}\n", "RSA PRIVATE KEY", random.repeat(2)), "a private key"),
            (
                format!("\"private_key\": \"-----BEGIN {}-----\\n{}\\n\"", "PRIVATE KEY", random.repeat(2)),
                "a private key",
            ),
            (format!("url = postgres://app:{}@db.internal:5432/app", &random[..12]), "a URL with a password"),
            (key("eyJ", &format!("hbGciOiJIUzI1NiJ9.eyJ{random}.{random}")), "a JSON web token"),
            (format!("api_key: \"{}\"", &random[..24]), "a random value with the name of a secret"),
            (format!("SECRET_KEY = \"{}\"", &random[..24]), "a random value with the name of a secret"),
            (format!("const API_KEY: &str = \"{}\";", &random[..24]), "a random value with the name of a secret"),
            (format!("apiKey := \"{}\"", &random[..24]), "a random value with the name of a secret"),
            (format!("let token: string = `{}`", &random[..24]), "a random value with the name of a secret"),
            (format!("os.environ['API_KEY'] = '{}'", &random[..24]), "a random value with the name of a secret"),
            ("url = postgres://app:S3c%40t9fK2@db.internal/x".to_owned(), "a URL with a password"),
        ];
        for (text, kind) in cases {
            assert_eq!(kinds(&text), [kind], "{text}");
        }
    }

    #[test]
    fn words_placeholders_and_hashes_of_files_are_none() {
        let none = [
            "password = \"correct-horse-battery-staple\"",
            "token: ${{ secrets.GITHUB_TOKEN_FOR_RELEASES }}",
            "api_key = \"xxxxxxxxxxxxxxxxxxxxxxxx\"",
            "let token_count_of_the_whole_file = count_tokens(text);",
            "checksum = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY-----\\n…",
            "postgres://user:password@db:5432/app",
            "postgres://app:%(password)s@db.internal/x",
            "f\"postgres://app:%s_%s@db.internal/x\"",
            "token: Option<SomeVeryLongTypeName123Of4Words5>",
            "redis://:${REDIS_PASSWORD}@cache:6379",
            "https://ada:hunter2hunter2@localhost:8080/",
            "http://me:hunter2hunter2@example.org/",
            "see https://docs.rs:443/a@b",
        ];
        for text in none {
            assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn only_what_is_new_counts_and_its_line_is_said() {
        let old = key("AKIA", "IOSFODNN7EXAMPLE");
        let new = key("AKIA", "IOSFODNN7OTHERXX");
        let (before, after) = (format!("a = {old}\n"), format!("moved\na = {old}\n\nb = {new}\n"));
        let found = credentials(before.as_bytes(), after.as_bytes());
        assert_eq!(found, [Credential { line: 4, kind: "an AWS access key" }]);
    }
    #[test]
    fn wide_text_and_large_files_are_read_to_their_end() {
        let line = format!("id = {}\n", key("AKIA", "IOSFODNN7EXAMPLE"));
        let large = format!("{}{line}", "some words in a line\n".repeat(100_000));
        assert_eq!(credentials(b"", large.as_bytes()), [Credential { line: 100_001, kind: "an AWS access key" }]);
        let wide: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(credentials(b"", &[&[0xff, 0xfe], &wide[..]].concat())[0].kind, "an AWS access key");
        let binary = format!("\0{}\0more", line.trim());
        assert_eq!(credentials(b"", binary.as_bytes())[0].kind, "an AWS access key");
        assert_eq!(credentials(&wide, &wide), []);
    }
}
