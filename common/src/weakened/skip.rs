//! How tests are kept from running, in each language.

use std::ops::Range;

use super::cases::Tree;
use super::language::{
    TestLanguage, annotations, attributes, called, field, is_maker, is_never, is_script_test, is_suite, squeezed,
};
use super::mark::{Kept, decorator, marks};

/// A place that keeps tests from running.
pub(super) enum Skip {
    /// All tests in it, or the test it is in.
    Here(Range<usize>),
    /// Tests in it run at times only.
    Sometimes(Range<usize>),
    /// Nothing but the tests in it runs.
    Only(Range<usize>),
    /// Some tests of the file, or of its folder, are not looked for.
    Uncollected(String),
}

/// What a node skips.
pub(super) fn skip(language: TestLanguage, node: &Tree<'_>) -> Option<Skip> {
    let range = node.range();
    if is_early_end(language, node) {
        return Some(Skip::Here(range));
    }
    match language {
        TestLanguage::Rust => rust(node),
        TestLanguage::Python => python(node),
        TestLanguage::JavaScript | TestLanguage::TypeScript | TestLanguage::Tsx => script(node),
        TestLanguage::Go => {
            let text = node.text();
            if node.kind() == "comment" && (text.starts_with("//go:build") || text.starts_with("// +build")) {
                return Some(Skip::Uncollected(constraint(&text)));
            }
            let called = called(node);
            let skips = matches!(called.rsplit('.').next(), Some("Skip" | "SkipNow" | "Skipf"));
            (node.kind() == "call_expression" && skips).then_some(Skip::Here(range))
        }
        TestLanguage::Java => {
            let is_declared = matches!(&*node.kind(), "class_declaration" | "method_declaration");
            let names = if is_declared { annotations(node) } else { Vec::new() };
            let says = |is_said: fn(&str) -> bool| names.iter().any(|name| is_said(name));
            if says(|name| matches!(name, "Disabled" | "Ignore")) {
                Some(Skip::Here(range))
            } else {
                // `@DisabledOnOs`, `@EnabledIf`
                let at_times = says(|name| name.starts_with("Disabled") || name.starts_with("Enabled"));
                at_times.then_some(Skip::Sometimes(range))
            }
        }
    }
}

/// A constraint of Go's builds in the newer form: `// +build linux,amd64 darwin` is `(linux && amd64) || darwin`.
fn constraint(comment: &str) -> String {
    let Some(old) = comment.strip_prefix("// +build") else {
        return squeezed(comment.trim_start_matches("//go:build"));
    };
    let all: Vec<String> = old.split_whitespace().map(|one| one.replace(',', "&&")).collect();
    let is_alone = all.len() == 1;
    let in_brackets = |one: String| if is_alone || !one.contains('&') { one } else { format!("({one})") };
    all.into_iter().map(in_brackets).collect::<Vec<_>>().join("||")
}

fn rust(node: &Tree<'_>) -> Option<Skip> {
    let is_condition = |text: &str, start: &str| text.starts_with(start) && !text.ends_with("cfg(test)]");
    match &*node.kind() {
        "mod_item" if attributes(node).iter().any(|text| is_never(text)) => Some(Skip::Here(node.range())),
        "mod_item" | "function_item" => {
            let conditions = attributes(node);
            let ignores = |text: &String| text.starts_with("#[cfg_attr(") && text.contains("ignore");
            let found = conditions.iter().any(|text| is_condition(text, "#[cfg(") && !is_never(text) || ignores(text));
            found.then(|| Skip::Sometimes(node.range()))
        }
        "inner_attribute_item" => {
            let text = squeezed(&node.text());
            is_condition(&text, "#![cfg(").then_some(Skip::Uncollected(text))
        }
        _ => None,
    }
}

fn python(node: &Tree<'_>) -> Option<Skip> {
    match &*node.kind() {
        "call" => {
            let called = called(node);
            let skips = matches!(
                &*called,
                "pytest.skip"
                    | "pytest.xfail"
                    | "pytest.importorskip"
                    | "self.skipTest"
                    | "unittest.skip"
                    | "unittest.SkipTest"
            );
            // Outside of every test it skips the whole file.
            let in_module =
                || !node.ancestors().any(|above| matches!(&*above.kind(), "function_definition" | "decorator"));
            let whole = || node.ancestors().last().map_or(node.range(), |root| root.range());
            let is_condition = |above: Tree<'_>| matches!(&*above.kind(), "if_statement" | "try_statement");
            let at_times = || called == "pytest.importorskip" || node.ancestors().any(is_condition);
            skips.then(|| match (in_module(), at_times()) {
                (true, true) => Skip::Sometimes(whole()),
                (true, false) => Skip::Here(whole()),
                (false, _) => Skip::Here(node.range()),
            })
        }
        "decorated_definition" => {
            let decorators = node.children().filter(|child| child.kind() == "decorator");
            let kept = decorators.filter_map(|child| decorator(&squeezed(&child.text()))).max();
            kept.map(|kept| skipped(kept, node.range()))
        }
        // A row of `parametrize`.
        "keyword_argument" if field(node, "name") == "marks" => {
            marks(&squeezed(&field(node, "value")))?;
            let test = node.ancestors().find(|above| above.kind() == "decorated_definition")?;
            Some(Skip::Sometimes(test.range()))
        }
        "assignment" => {
            let (name, value) = (field(node, "left"), squeezed(&field(node, "right")));
            // Of the module or the class that it stands in.
            let around = || node.parent().and_then(|line| line.parent()).map_or(node.range(), |block| block.range());
            match name.as_str() {
                "pytestmark" => marks(&value).map(|kept| skipped(kept, around())),
                "__test__" if value == "False" => Some(Skip::Here(around())),
                "collect_ignore" | "collect_ignore_glob" => Some(Skip::Uncollected(squeezed(&node.text()))),
                _ => None,
            }
        }
        "function_definition" => {
            let name = field(node, "name");
            let collects = matches!(name.as_str(), "pytest_ignore_collect" | "pytest_collection_modifyitems");
            collects.then(|| Skip::Uncollected(squeezed(&node.text())))
        }
        _ => None,
    }
}

fn skipped(kept: Kept, range: Range<usize>) -> Skip {
    match kept {
        Kept::Always => Skip::Here(range),
        Kept::AtTimes => Skip::Sometimes(range),
    }
}

fn script(node: &Tree<'_>) -> Option<Skip> {
    let range = node.range();
    match &*node.kind() {
        // What it makes says the same of itself.
        "call_expression" if is_maker(node) => None,
        "call_expression" => {
            let called = called(node);
            let mut parts = called.split('(').next().unwrap_or_default().split('.');
            let first = parts.next().unwrap_or_default();
            let is_test = is_suite(first) || is_script_test(first);
            let members: Vec<&str> = parts.collect();
            let has = |words: &[&str]| is_test && members.iter().any(|member| words.contains(member));
            if matches!(first, "xdescribe" | "xit" | "xtest" | "xcontext") || has(&["skip", "todo", "fails", "failing"])
            {
                Some(Skip::Here(range))
            } else if has(&["skipIf", "runIf"]) {
                Some(Skip::Sometimes(range))
            } else if matches!(first, "fit" | "fdescribe" | "fcontext") || has(&["only"]) {
                Some(Skip::Only(range))
            } else {
                None
            }
        }
        "pair" => {
            let key = field(node, "key");
            let ignores = matches!(
                key.trim_matches(['"', '\'']),
                "testPathIgnorePatterns" | "modulePathIgnorePatterns" | "testIgnore" | "testNamePattern"
            );
            ignores.then(|| Skip::Uncollected(squeezed(&node.text())))
        }
        _ => None,
    }
}

/// A return without a value, straight from the test's own function.
fn is_early_end(language: TestLanguage, node: &Tree<'_>) -> bool {
    let returns = match language {
        TestLanguage::Rust => "return_expression",
        _ => "return_statement",
    };
    if node.kind() != returns || !matches!(squeezed(&node.text()).as_str(), "return" | "return;" | "returnOk(())") {
        return false;
    }
    let is_function = |kind: &str| {
        matches!(
            kind,
            "function_item"
                | "closure_expression"
                | "function_definition"
                | "lambda"
                | "arrow_function"
                | "function_expression"
                | "function_declaration"
                | "method_definition"
                | "func_literal"
                | "method_declaration"
                | "lambda_expression"
        )
    };
    let Some(own) = node.ancestors().find(|above| is_function(&above.kind())) else { return false };
    // A test is a function, or a call that is given one.
    language.test(&own).is_some()
        || own.parent().and_then(|given| given.parent()).is_some_and(|call| language.test(&call).is_some())
}
