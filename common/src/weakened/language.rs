//! How tests, assertions and skips look in each language.

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

    /// Whether a node keeps the tests in it, or the test it is in, from running.
    pub(super) fn is_skip(self, node: &Tree<'_>) -> bool {
        let kind = node.kind();
        match self {
            Self::Rust => kind == "mod_item" && attributes(node).iter().any(|text| is_never(text)),
            Self::Python => match &*kind {
                "call" => matches!(&*called(node), "pytest.skip" | "pytest.xfail" | "self.skipTest" | "unittest.skip"),
                "decorated_definition" => {
                    node.children().any(|child| child.kind() == "decorator" && skips_python(&child.text()))
                }
                _ => false,
            },
            Self::JavaScript | Self::TypeScript | Self::Tsx => {
                kind == "call_expression" && {
                    let called = called(node);
                    let suite = called.split('.').next().unwrap_or_default();
                    matches!(suite, "xdescribe" | "xit" | "xtest" | "xcontext")
                        || (is_suite(suite) || is_script_test(suite)) && called.split('.').skip(1).any(is_script_skip)
                }
            }
            Self::Go => {
                let called = called(node);
                kind == "call_expression" && matches!(called.rsplit('.').next(), Some("Skip" | "SkipNow" | "Skipf"))
            }
            Self::Java => {
                matches!(&*kind, "class_declaration" | "method_declaration")
                    && annotations(node).iter().any(|name| matches!(name.as_str(), "Disabled" | "Ignore"))
            }
        }
    }

    /// Whether a node asserts something that may be false.
    pub(super) fn is_assertion(self, node: &Tree<'_>) -> bool {
        let kind = node.kind();
        match self {
            Self::Rust => {
                kind == "macro_invocation" && {
                    let name = field(node, "macro");
                    let name = name.rsplit("::").next().unwrap_or_default();
                    let asserts = ["assert", "debug_assert", "prop_assert"].iter().any(|start| name.starts_with(start));
                    asserts && !squeezed(&node.text()).ends_with("!(true)")
                }
            }
            Self::Python => match &*kind {
                "assert_statement" => !matches!(&*squeezed(&node.text()), "assertTrue" | "assert1"),
                "call" => {
                    let called = called(node);
                    called.starts_with("self.assert") || called == "pytest.raises" || called == "self.fail"
                }
                _ => false,
            },
            Self::JavaScript | Self::TypeScript | Self::Tsx => {
                let first = called(node).split('.').next().map(str::to_owned).unwrap_or_default();
                // `expect(x).toBe(y)` is a call of a member of a call: the inner one counts.
                let asserts = first == "expect" || first == "assert";
                let hollow = |text: &str| text == "expect(true)" || text == "assert(true)";
                kind == "call_expression" && asserts && !called(node).contains('(') && !hollow(&squeezed(&node.text()))
            }
            Self::Go => {
                kind == "call_expression" && {
                    let called = called(node);
                    let (of, name) = called.rsplit_once('.').unwrap_or_default();
                    matches!(of, "assert" | "require" | "is" | "qt")
                        || matches!(name, "Error" | "Errorf" | "Fatal" | "Fatalf" | "Fail" | "FailNow")
                            && matches!(of, "t" | "b" | "f" | "tb")
                }
            }
            Self::Java => {
                let name = field(node, "name");
                let asserts = ["assert", "verify", "expect", "fail"].iter().any(|start| name.starts_with(start));
                kind == "method_invocation" && asserts && !squeezed(&node.text()).ends_with("assertTrue(true)")
            }
        }
    }
}

fn field(node: &Tree<'_>, name: &str) -> String {
    node.field(name).map(|found| found.text().into_owned()).unwrap_or_default()
}

/// What a call calls, without white space.
fn called(node: &Tree<'_>) -> String {
    squeezed(&field(node, "function"))
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The attributes before an item.
fn attributes(node: &Tree<'_>) -> Vec<String> {
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
fn is_never(attribute: &str) -> bool {
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
    is_test.then(|| Test { name: field(node, "name"), body: field(node, "body"), is_skipped })
}

fn skips_python(decorator: &str) -> bool {
    ["skip", "xfail", "expectedFailure"].iter().any(|word| decorator.contains(word))
}

fn python_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test = node.kind() == "function_definition" && name.starts_with("test");
    is_test.then(|| Test { name, body: field(node, "body"), is_skipped: false })
}

fn is_suite(name: &str) -> bool {
    matches!(name, "describe" | "suite" | "context")
}

fn is_script_test(name: &str) -> bool {
    matches!(name, "it" | "test" | "specify" | "xit" | "xtest" | "fit")
}

fn is_script_skip(member: &str) -> bool {
    ["skip", "todo", "fails", "failing"].iter().any(|word| member.starts_with(word))
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
    Some(Test { name, body, is_skipped: false })
}

fn go_test(node: &Tree<'_>) -> Option<Test> {
    let name = field(node, "name");
    let is_test =
        ["Test", "Fuzz"].iter().any(|start| name.starts_with(start)) && field(node, "parameters").contains("testing.");
    (node.kind() == "function_declaration" && is_test).then(|| Test {
        name,
        body: field(node, "body"),
        is_skipped: false,
    })
}

/// Names of a declaration's annotations.
fn annotations(node: &Tree<'_>) -> Vec<String> {
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
    })
}
