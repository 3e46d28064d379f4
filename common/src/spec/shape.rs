//! Keys: the ones nobody knows and the ones that are missing, found in one pass over the whole
//! file with the schema in hand. Unknown keys are cut out at once; a table that lacks a key stays
//! until its other values were read, and is then cut out by a second, silent pass.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::suggest::next_step;
use super::{Problem, Source};

/// One pass over the keys.
pub(super) struct Shape<'a> {
    source: &'a Source,
    /// What was found.
    problems: Vec<Problem>,
    /// Whether incomplete tables are cut out.
    cutting: bool,
    /// Whether an element of a list (a task, a map) was cut out.
    cut: bool,
}

impl<'a> Shape<'a> {
    /// Reports the keys of a file and cuts out the unknown ones.
    pub fn report(source: &'a Source, root: &mut DeTable<'_>, schema: &Value) -> Vec<Problem> {
        let mut pass = Self { source, problems: Vec::new(), cutting: false, cut: false };
        pass.table(root, 0..0, schema, &Place::default());
        pass.problems
    }

    /// Cuts out incomplete tables without a word. What the root itself lacks is filled in, so that
    /// the file can be read. Says whether an element of a list was cut out.
    pub fn complete(source: &'a Source, root: &mut DeTable<'_>, schema: &Value) -> bool {
        let mut pass = Self { source, problems: Vec::new(), cutting: true, cut: false };
        pass.table(root, 0..0, schema, &Place::default());
        fill(root, "goal", DeValue::String("?".into()));
        let mut gate = DeTable::new();
        fill(&mut gate, "run", DeValue::String("true".into()));
        fill(root, "gate", DeValue::Table(gate));
        pass.cut
    }

    /// Whether the table may stay.
    fn table(&mut self, table: &mut DeTable<'_>, span: Range<usize>, schema: &Value, place: &Place) -> bool {
        let Some(known) = schema["properties"].as_object() else {
            let entries = &schema["additionalProperties"];
            for (key, mut value) in std::mem::replace(table, DeTable::new()) {
                if entries.is_boolean() || self.value(&mut value, entries, &place.key(key.get_ref())) {
                    table.insert(key, value);
                }
            }
            return true;
        };
        let mut cut = Vec::new();
        for (key, mut value) in std::mem::replace(table, DeTable::new()) {
            let name = key.get_ref();
            if let Some(schema) = known.get(name.as_ref()) {
                if self.value(&mut value, schema, &place.key(name)) {
                    table.insert(key, value);
                } else {
                    cut.push(name.to_string());
                }
                continue;
            }
            let names = known.keys().map(String::as_str);
            let message = format!("unknown key `{name}` {}", place.text());
            self.problems.push(self.source.problem(key.span(), message, next_step(name, names, "remove it")));
        }
        let mut whole = true;
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if table.contains_key(name) {
                continue;
            }
            whole = false;
            if cut.iter().all(|cut| cut != name) {
                let message = format!("missing key `{name}` {}", place.text());
                let help = format!("add `{name}`: {}", description(&known[name]));
                self.problems.push(self.source.problem(span.clone(), message, help));
            }
        }
        whole || !self.cutting
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &Value, place: &Place) -> bool {
        let span = value.span();
        let tables = schema["type"] == "object";
        let lists = schema["items"]["type"] == "object";
        match value.get_mut() {
            DeValue::Table(table) if tables => self.table(table, span, schema, place),
            DeValue::Array(items) if lists => {
                let place = place.list();
                let mut kept = DeArray::new();
                for mut item in std::mem::replace(items, DeArray::new()) {
                    let span = item.span();
                    let keep = match item.get_mut() {
                        DeValue::Table(table) => self.table(table, span, &schema["items"], &place),
                        _ => true,
                    };
                    if keep { kept.push(item) } else { self.cut = true }
                }
                *items = kept;
                true
            }
            _ => true,
        }
    }
}

fn fill<'i>(table: &mut DeTable<'i>, key: &'static str, value: DeValue<'i>) {
    if !table.contains_key(key) {
        table.insert(Spanned::new(0..0, key.into()), Spanned::new(0..0, value));
    }
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or("see the documentation of the job file")
}

/// A key that was cut out because its value has the wrong form.
pub(super) struct Cut {
    /// Its name.
    pub key: String,
    /// What the schema says about it.
    pub description: String,
}

/// Cuts out the innermost key whose value covers a byte range.
pub(super) fn cut_at(table: &mut DeTable<'_>, at: &Range<usize>, schema: &Value) -> Option<Cut> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let schema = match &schema["properties"][key.get_ref().as_ref()] {
            Value::Null => &schema["additionalProperties"],
            schema => schema,
        };
        let span = value.span();
        let inner = match value.get_mut() {
            DeValue::Table(table) => cut_at(table, at, schema),
            DeValue::Array(items) => items.iter_mut().find_map(|item| match item.get_mut() {
                DeValue::Table(table) => cut_at(table, at, &schema["items"]),
                _ => None,
            }),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
        if span.start <= at.start && at.end <= span.end {
            found = Some((key.get_ref().to_string(), description(schema).to_owned()));
        }
    }
    let (key, description) = found?;
    table.remove(key.as_str());
    Some(Cut { key, description })
}

/// Where in the file, as its headers say it.
#[derive(Clone, Default)]
struct Place {
    path: String,
    list: bool,
}

impl Place {
    fn key(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{key}", self.path), list: false }
    }

    fn list(&self) -> Self {
        Self { path: self.path.clone(), list: true }
    }

    fn text(&self) -> String {
        match (self.path.as_str(), self.list) {
            ("", _) => "at the top of the file".to_owned(),
            (path, false) => format!("in [{path}]"),
            (path, true) => format!("in [[{path}]]"),
        }
    }
}
