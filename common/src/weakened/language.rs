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
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
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
    is_test.then(|| Test { name: field(node, "name"), body: field(node, "body"), is_skipped, asserts })
}

fn python_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test = node.kind() == "function_definition" && name.starts_with("test");
    is_test.then(|| Test { name, body: field(node, "body"), is_skipped: false, asserts: 0 })
}

pub(super) fn is_suite(name: &str) -> bool {
    matches!(name, "describe" | "suite" | "context" | "fdescribe" | "fcontext")
}

pub(super) fn is_script_test(name: &str) -> bool {
    matches!(name, "it" | "test" | "specify" | "xit" | "xtest" | "fit")
}

fn script_test(node: &Tree<'_>) -> Option<Test> {
    if node.kind() != "call_expression" {
        return None;
    }
    let called = called(node);
    let is_test = !called.contains('(') && is_script_test(called.split('.').next().unwrap_or_default());
    let arguments = node.field("arguments").filter(|_| is_test)?;
    let mut parts = arguments.children().filter(|child| child.is_named());
    let name = parts.next()?.text().trim_matches(['\'', '"', '`']).to_owned();
    let body = parts.map(|part| part.text().into_owned()).collect();
    Some(Test { name, body, is_skipped: false, asserts: 0 })
}

fn go_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test =
        ["Test", "Fuzz"].iter().any(|start| name.starts_with(start)) && field(node, "parameters").contains("testing.");
    (node.kind() == "function_declaration" && is_test).then(|| Test {
        name,
        body: field(node, "body"),
        is_skipped: false,
        asserts: 0,
    })
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
    (is_method && annotations(node).iter().any(is_test)).then(|| Test {
        name: field(node, "name"),
        body: field(node, "body"),
        is_skipped: false,
        asserts: 0,
    })
}
