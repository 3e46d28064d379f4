//! How tests look in each language.

use ast_grep_language::SupportLang;

use super::cases::Tree;

/// A language whose tests are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestLanguage {
    /// `#[test]` and the like.
    Rust,
    /// pytest and unittest.
    Python,
    /// Jest, Vitest, Mocha, node:test.
    JavaScript,
    /// The same, typed.
    TypeScript,
    /// The same, with elements.
    Tsx,
    /// `func TestX`.
    Go,
    /// JUnit and TestNG.
    Java,
}

/// A test as it is found.
pub(super) struct Test {
    pub name: String,
    pub body: String,
    pub is_skipped: bool,
    /// What its marks assert: that it panics.
    pub asserts: usize,
    /// Whether a runner looks for it where it stands in its file.
    pub is_collected: bool,
}

impl TestLanguage {
    /// By the file's name.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path.rsplit_once('.')?.1 {
            "rs" => Self::Rust,
            "py" => Self::Python,
            "js" | "jsx" | "mjs" | "cjs" => Self::JavaScript,
            "ts" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "go" => Self::Go,
            "java" => Self::Java,
            _ => return None,
        })
    }

    pub(super) fn grammar(self) -> SupportLang {
        match self {
            Self::Rust => SupportLang::Rust,
            Self::Python => SupportLang::Python,
            Self::JavaScript => SupportLang::JavaScript,
            Self::TypeScript => SupportLang::TypeScript,
            Self::Tsx => SupportLang::Tsx,
            Self::Go => SupportLang::Go,
            Self::Java => SupportLang::Java,
        }
    }

    /// The test that begins with a node, if one does.
    pub(super) fn test(self, node: &Tree<'_>) -> Option<Test> {
        match self {
            Self::Rust => rust_test(node),
            Self::Python => python_test(node),
            Self::JavaScript | Self::TypeScript | Self::Tsx => script_test(node),
            Self::Go => go_test(node),
            Self::Java => java_test(node),
        }
    }

    /// Whether the usual runner of tests looks into a file of this name.
    pub(super) fn collects(self, path: &str) -> bool {
        let stem = stem(path);
        match self {
            Self::Rust => true,
            Self::Python => stem.starts_with("test") || stem.ends_with("_test") || stem == "tests",
            Self::JavaScript | Self::TypeScript | Self::Tsx => {
                stem.ends_with(".test")
                    || stem.ends_with(".spec")
                    || path.split('/').any(|folder| matches!(folder, "__tests__" | "test" | "tests"))
            }
            Self::Go => stem.ends_with("_test"),
            Self::Java => {
                stem.starts_with("Test") || ["Test", "Tests", "TestCase", "IT"].iter().any(|end| stem.ends_with(end))
            }
        }
    }

    /// Whether a file of this name holds tests and what helps them, and nothing that is delivered.
    pub(super) fn is_of_tests(self, path: &str) -> bool {
        let stem = stem(path);
        let by_name = match self {
            Self::Rust => matches!(stem, "test" | "tests") || stem.ends_with("_test") || stem.ends_with("_tests"),
            Self::Python => stem == "conftest" || self.collects(path),
            _ => self.collects(path),
        };
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        by_name || folders.split('/').any(|name| matches!(name, "test" | "tests" | "__tests__" | "spec" | "specs"))
    }
}

/// A file's name without its last ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

pub(super) fn field(node: &Tree<'_>, name: &str) -> String {
    node.field(name).map(|found| found.text().into_owned()).unwrap_or_default()
}

/// What a call calls, without white space.
pub(super) fn called(node: &Tree<'_>) -> String {
    squeezed(&field(node, "function"))
}

pub(super) fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The attributes before an item.
pub(super) fn attributes(node: &Tree<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = node.prev();
    while let Some(item) = before {
        match &*item.kind() {
            "attribute_item" => found.push(squeezed(&item.text())),
            "line_comment" | "block_comment" => {}
            _ => break,
        }
        before = item.prev();
    }
    found
}

/// A condition that no build of the tests meets.
pub(super) fn is_never(attribute: &str) -> bool {
    matches!(attribute, "#[cfg(any())]" | "#[cfg(false)]" | "#[cfg(not(test))]" | "#[cfg(not(all()))]")
}

/// A condition that holds in a build of tests and, perhaps, nowhere else.
pub(super) fn is_for_tests(attribute: &str) -> bool {
    let mut words = attribute.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    attribute.starts_with("#[cfg(") && !is_never(attribute) && words.any(|word| word == "test")
}

fn rust_test(node: &Tree<'_>) -> Option<Test> {
    if node.kind() != "function_item" {
        return None;
    }
    let attributes = attributes(node);
    let name_of = |text: &String| {
        let inner = text.trim_start_matches("#[").trim_end_matches(']');
        inner.split(['(', '=']).next().unwrap_or_default().rsplit("::").next().unwrap_or_default().to_owned()
    };
    let names: Vec<String> = attributes.iter().map(name_of).collect();
    let is_test =
        names.iter().any(|name| name == "test" || name == "rstest" || name == "test_case" || name == "proptest");
    let is_skipped = names.iter().any(|name| name == "ignore") || attributes.iter().any(|text| is_never(text));
    let asserts = names.iter().filter(|name| *name == "should_panic").count();
    let test = || named(node, field(node, "name"));
    is_test.then(|| Test { is_skipped, asserts, ..test() })
}

fn python_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test = node.kind() == "function_definition" && name.starts_with("test");
    // pytest looks into classes called so, and into those of unittest, whose bases may be anywhere.
    let is_looked_into = |class: Tree<'_>| {
        let bases = squeezed(&field(&class, "superclasses"));
        field(&class, "name").starts_with("Test") || !matches!(bases.as_str(), "" | "()" | "(object)")
    };
    let is_collected = || node.ancestors().filter(|above| above.kind() == "class_definition").all(is_looked_into);
    is_test.then(|| Test { is_collected: is_collected(), ..named(node, name) })
}

/// A declaration that is a test and runs.
fn named(node: &Tree<'_>, name: String) -> Test {
    Test { name, body: field(node, "body"), is_skipped: false, asserts: 0, is_collected: true }
}

pub(super) fn is_suite(name: &str) -> bool {
    matches!(name, "describe" | "suite" | "context" | "fdescribe" | "fcontext")
}

pub(super) fn is_script_test(name: &str) -> bool {
    matches!(name, "it" | "test" | "specify" | "xit" | "xtest" | "fit")
}

/// Whether a call only makes what is called next: `it.each(rows)` of `it.each(rows)('adds', …)`.
pub(super) fn is_maker(node: &Tree<'_>) -> bool {
    let called = called(node);
    let is_known = called.split_once('.').is_some_and(|(first, _)| is_script_test(first) || is_suite(first));
    let is_called = |by: Tree<'_>| by.kind() == "call_expression" && by.range().start == node.range().start;
    is_known && node.parent().is_some_and(is_called)
}

fn script_test(node: &Tree<'_>) -> Option<Test> {
    if node.kind() != "call_expression" || is_maker(node) {
        return None;
    }
    let maker = node.field("function").filter(|of| of.kind() == "call_expression" && is_maker(of));
    let called = called(maker.as_ref().unwrap_or(node));
    let is_test = !called.contains('(') && is_script_test(called.split('.').next().unwrap_or_default());
    let arguments = node.field("arguments").filter(|_| is_test)?;
    let mut parts = arguments.children().filter(|child| child.is_named());
    let name = parts.next()?.text().trim_matches(['\'', '"', '`']).to_owned();
    let body = parts.map(|part| part.text().into_owned()).collect();
    Some(Test { body, ..named(node, name) })
}

fn go_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test =
        ["Test", "Fuzz"].iter().any(|start| name.starts_with(start)) && field(node, "parameters").contains("testing.");
    (node.kind() == "function_declaration" && is_test).then(|| named(node, name))
}

/// Names of a declaration's annotations.
pub(super) fn annotations(node: &Tree<'_>) -> Vec<String> {
    let modifiers = node.children().filter(|child| child.kind() == "modifiers");
    let mut names = Vec::new();
    for list in modifiers {
        let of = |child: Tree<'_>| {
            let is_annotation = matches!(&*child.kind(), "marker_annotation" | "annotation");
            is_annotation.then(|| field(&child, "name").rsplit('.').next().unwrap_or_default().to_owned())
        };
        names.extend(list.children().filter_map(of));
    }
    names
}

fn java_test(node: &Tree<'_>) -> Option<Test> {
    let is_method = node.kind() == "method_declaration";
    let is_test =
        |name: &String| matches!(name.as_str(), "Test" | "ParameterizedTest" | "RepeatedTest" | "TestFactory");
    (is_method && annotations(node).iter().any(is_test)).then(|| named(node, field(node, "name")))
}
