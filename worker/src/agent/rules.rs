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
                let rule = RuleConfig::try_from(rule, &GlobalRules::default()).map_err(|error| failed(&id, chain(&error)))?;
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
        (one.position, std::cmp::Reverse(one.deleted_length), one_id).cmp(&(two.position, std::cmp::Reverse(two.deleted_length), two_id))
    });
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    for (edit, _) in edits {
        let end = edit.position + edit.deleted_length;
        let (Some(between), Some(_)) = (text.as_bytes().get(at..edit.position), text.as_bytes().get(edit.position..end)) else {
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
    let is_empty = |document: &String| document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
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
