//! ast-grep rules: read from their YAML, applied to one text until nothing changes.

use std::path::Path;

use ast_grep_config::{CombinedScan, GlobalRules, RuleCollection, RuleConfig, SerializableRuleConfig};
use ast_grep_core::Language as _;
use ast_grep_core::tree_sitter::LanguageExt as _;
use ast_grep_language::SupportLang;

/// Passes over one file before rules are said to undo each other.
pub const PASSES_MAX: usize = 10;

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A document is not a rule.
    #[error("{rules_path}, document {document}{}: {cause}", named(id))]
    Document {
        /// The rule file.
        rules_path: String,
        /// Its document, from 1.
        document: usize,
        /// The rule's id where it is known.
        id: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A `files` or `ignores` pattern is no glob.
    #[error("{rules_path}: {cause}")]
    Globs {
        /// The rule file.
        rules_path: String,
        /// What is wrong.
        cause: String,
    },
    /// Nothing in it can change a file.
    #[error("{rules_path} holds no rule with a fix")]
    NoFix {
        /// The rule file.
        rules_path: String,
    },
    /// Rules undo each other.
    #[error("the rules of {rules_path} still change {file} after {PASSES_MAX} passes")]
    NoFixedPoint {
        /// The rule file.
        rules_path: String,
        /// The file.
        file: String,
    },
}

fn named(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!(" ({id})") }
}

/// A rule file, compiled.
pub struct Rules {
    path: String,
    collection: RuleCollection<SupportLang>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("path", &self.path).field("rules", &self.collection.total_rule_count()).finish()
    }
}

impl Rules {
    /// Reads a rule file: YAML documents in ast-grep's own format.
    pub fn parse(path: &str, yaml: &str) -> Result<Self, RuleError> {
        let mut rules = Vec::new();
        for (index, document) in documents(yaml).into_iter().enumerate() {
            let failed = |id: &str, cause: String| RuleError::Document {
                rules_path: path.to_owned(),
                document: index + 1,
                id: id.to_owned(),
                cause,
            };
            // Global utilities live in files of their own in ast-grep; within a rule, `utils` does.
            let found: Vec<SerializableRuleConfig<SupportLang>> =
                ast_grep_config::from_multiple(&document).map_err(|error| failed("", error.to_string()))?;
            for rule in found {
                let id = rule.id.clone();
                let rule =
                    RuleConfig::try_from(rule, &GlobalRules::default()).map_err(|error| failed(&id, chain(&error)))?;
                rules.push(rule);
            }
        }
        if !rules.iter().any(|rule| !rule.fixer.is_empty()) {
            return Err(RuleError::NoFix { rules_path: path.to_owned() });
        }
        let collection = RuleCollection::try_new(rules)
            .map_err(|error| RuleError::Globs { rules_path: path.to_owned(), cause: error.to_string() })?;
        Ok(Self { path: path.to_owned(), collection })
    }

    /// Whether any rule with a fix is for this file, by its extension and the rules' globs.
    pub fn cover(&self, file: &str) -> bool {
        self.collection.for_path(Path::new(file)).iter().any(|rule| !rule.fixer.is_empty())
    }

    /// The text after all fixes, `None` when nothing changes. Where fixes overlap the leftmost wins
    /// (at the same place the rule first in order of ids); the others get their turn in the next pass.
    pub fn apply(&self, file: &str, text: &str) -> Result<Option<String>, RuleError> {
        let Some(language) = SupportLang::from_path(Path::new(file)) else { return Ok(None) };
        let mut rules = self.collection.for_path(Path::new(file));
        rules.retain(|rule| !rule.fixer.is_empty());
        if rules.is_empty() {
            return Ok(None);
        }
        let scan = CombinedScan::new(rules);
        let mut current = text.to_owned();
        for _pass in 0..PASSES_MAX {
            match one_pass(&scan, language, &current) {
                Some(next) => current = next,
                None => return Ok((current != text).then_some(current)),
            }
        }
        Err(RuleError::NoFixedPoint { rules_path: self.path.clone(), file: file.to_owned() })
    }
}

fn one_pass(scan: &CombinedScan<'_, SupportLang>, language: SupportLang, text: &str) -> Option<String> {
    let root = language.ast_grep(text);
    let found = scan.scan(&root, true);
    let mut edits: Vec<_> = found
        .diffs
        .iter()
        // A rule may offer several fixes; the first is the default, as in ast-grep itself.
        .filter_map(|(rule, matched)| Some((matched.make_edit(&rule.matcher, rule.fixer.first()?), &rule.id)))
        .collect();
    edits.sort_by(|(one, one_id), (two, two_id)| {
        (one.position, std::cmp::Reverse(one.deleted_length), one_id).cmp(&(
            two.position,
            std::cmp::Reverse(two.deleted_length),
            two_id,
        ))
    });
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    for (edit, _) in edits {
        let end = edit.position + edit.deleted_length;
        let (Some(between), Some(_)) =
            (text.as_bytes().get(at..edit.position), text.as_bytes().get(edit.position..end))
        else {
            continue;
        };
        out.extend_from_slice(between);
        out.extend_from_slice(&edit.inserted_text);
        at = end;
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    let out = String::from_utf8(out).ok()?;
    (out != text).then_some(out)
}

/// Splits a YAML stream at its `---` lines, so that a mistake can be placed in its document.
fn documents(yaml: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in yaml.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
            continue;
        }
        if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let is_empty =
        |document: &String| document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    documents.retain(|document| !is_empty(document));
    documents
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text} {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(yaml: &str, file: &str, text: &str) -> String {
        let rules = Rules::parse("rules.yml", yaml).expect("valid rules");
        rules.apply(file, text).expect("a fixed point").unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn one_rule_in_many_languages() {
        for (language, file, pattern, fix, before, after) in [
            ("rust", "a.rs", "old($A)", "new($A)", "fn f() { old(old(1)); }", "fn f() { new(new(1)); }"),
            ("python", "a.py", "print($A, $B)", "log($B, $A)", "if x:\n    print(1, y)\n", "if x:\n    log(y, 1)\n"),
            ("javascript", "a.js", "var $A = $B;", "const $A = $B;", "var a = 1;\n", "const a = 1;\n"),
            ("typescript", "a.ts", "$A as any", "$A as unknown", "let a = b as any;\n", "let a = b as unknown;\n"),
            ("tsx", "a.tsx", "<B $$$P />", "<C $$$P />", "let a = <B x={1} />;\n", "let a = <C x={1} />;\n"),
            (
                "go",
                "a.go",
                "x := $A",
                "y := $A",
                "package a\nfunc f() { x := 1 }\n",
                "package a\nfunc f() { y := 1 }\n",
            ),
            (
                "java",
                "A.java",
                "new Integer($A)",
                "Integer.valueOf($A)",
                "class A { Object a = new Integer(1); }",
                "class A { Object a = Integer.valueOf(1); }",
            ),
            ("yaml", "a.yml", "version: 1", "version: 2", "a: b\nversion: 1\n", "a: b\nversion: 2\n"),
            (
                "c",
                "a.c",
                "strcpy($A, $B)",
                "safe($A, $B)",
                "void f() { g(strcpy(a, b)); }\n",
                "void f() { g(safe(a, b)); }\n",
            ),
            ("ruby", "a.rb", "puts $A", "warn $A", "puts x\n", "warn x\n"),
            ("bash", "a.sh", "echo $A", "printf $A", "echo x\n", "printf x\n"),
            ("json", "a.json", "\"old\"", "\"new\"", "{ \"a\": \"old\" }\n", "{ \"a\": \"new\" }\n"),
        ] {
            let yaml = format!("id: r\nlanguage: {language}\nrule:\n  pattern: '{pattern}'\nfix: '{fix}'\n");
            assert_eq!(applied(&yaml, file, before), after, "{language}");
        }
    }

    #[test]
    fn the_whole_rule_format_is_understood() {
        let yaml = r"
# a comment before the first document
---
id: rename
language: typescript
utils:
  in-test: { inside: { kind: class_body, stopBy: end } }
rule: { all: [ { pattern: $OBJ.old_name($$$ARGS) }, { not: { matches: in-test } } ] }
constraints: { OBJ: { regex: ^api } }
transform:
  OTHER: { convert: { source: $OBJ, toCase: upperCase } }
fix: $OTHER.newName($$$ARGS)
---
id: drop-item
language: typescript
rule: { kind: number, regex: ^0$, inside: { kind: array } }
fix: { template: '', expandEnd: { regex: ',' } }
files: ['src/**']
ignores: ['src/gen/**']
---
id: only-a-warning
language: typescript
rule: { pattern: warned() }
";
        let before = "api1.old_name(1, 2); other.old_name(); class A { m() { api1.old_name() } }\nlet a = [0, 1];\n";
        let after = "API1.newName(1, 2); other.old_name(); class A { m() { api1.old_name() } }\nlet a = [ 1];\n";
        assert_eq!(applied(yaml, "src/a.ts", before), after);
        let only_first = after.replace("[ 1]", "[0, 1]");
        assert_eq!(applied(yaml, "src/gen/a.ts", before), only_first);
        assert_eq!(applied(yaml, "a.ts", before), only_first);
        assert_eq!(applied(yaml, "src/a.py", before), before);
    }

    #[test]
    fn overlapping_fixes_are_resolved_leftmost_and_line_endings_kept() {
        let yaml = "id: b\nlanguage: js\nrule: { pattern: f($A) }\nfix: g($A)\n---\nid: a\nlanguage: js\nrule: { pattern: x }\nfix: y\n";
        assert_eq!(applied(yaml, "a.js", "f(f(x));\r\n// x\r\nx\r\n"), "g(g(y));\r\n// x\r\ny\r\n");
        assert_eq!(applied(yaml, "a.js", "// ast-grep-ignore\nf(x)\n"), "// ast-grep-ignore\nf(x)\n");
        assert_eq!(applied(yaml, "a.js", "let é = '→'; f('→')"), "let é = '→'; g('→')");
        assert_eq!(applied(yaml, "a.js", "f(((((("), applied(yaml, "a.js", "f(((((("), "broken code is no panic");
    }

    #[test]
    fn mistakes_name_file_and_document() {
        let good = "id: good\nlanguage: js\nrule: { pattern: a }\nfix: b\n";
        let error = |yaml: &str| Rules::parse("r/x.yml", yaml).expect_err("refused").to_string();
        let bad = error(&format!("{good}---\nid: bad\nlanguage: js\nrule: {{ patern: a }}\nfix: b\n"));
        assert!(bad.starts_with("r/x.yml, document 2"), "{bad}");
        let bad = error(&format!("{good}---\nid: bad\nlanguage: js\nrule: {{ pattern: a }}\nfix: $UNKNOWN\n"));
        assert!(bad.starts_with("r/x.yml, document 2 (bad)"), "{bad}");
        assert!(error(": :").starts_with("r/x.yml, document 1"));
        assert!(error("id: a\nlanguage: js\nrule: { pattern: a }\n").contains("no rule with a fix"));
        assert!(error("").contains("no rule with a fix"));
        assert!(error(&format!("{good}files: ['a[']\n")).starts_with("r/x.yml"));
    }

    #[test]
    fn rules_that_undo_each_other_are_an_error() {
        let yaml = "id: a\nlanguage: js\nrule: { pattern: a }\nfix: b\n---\nid: b\nlanguage: js\nrule: { pattern: b }\nfix: a\n";
        let rules = Rules::parse("r.yml", yaml).expect("valid");
        assert!(matches!(rules.apply("x.js", "a"), Err(RuleError::NoFixedPoint { .. })));
        let growing = "id: a\nlanguage: js\nrule: { pattern: f($A) }\nfix: f(f($A))\n";
        let rules = Rules::parse("r.yml", growing).expect("valid");
        assert!(matches!(rules.apply("x.js", "f(1)"), Err(RuleError::NoFixedPoint { .. })));
    }
}
