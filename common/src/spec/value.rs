//! Values with a position, commands and lists of strings.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A value and where it stands in the job file, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where: first byte of the value.
    pub start: usize,
    /// Where: one past its last byte.
    pub end: usize,
}

impl<T> At<T> {
    /// The byte range in the job file.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = toml::Spanned::<T>::deserialize(deserializer)?;
        let Range { start, end } = found.span();
        Ok(Self { value: found.into_inner(), start, end })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The text of a command: a shell line or an argv. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandLine {
    /// Run by `sh -c`.
    Shell(String),
    /// Run as it is.
    Argv(Vec<String>),
}

impl CommandLine {
    /// The parts a person wrote, for looking at their words.
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Shell(line) => line.split_whitespace().collect(),
            Self::Argv(argv) => argv.iter().map(String::as_str).collect(),
        }
    }

    /// As the plan carries it.
    pub fn to_proto(&self) -> longhaul_proto::CommandLine {
        match self {
            Self::Shell(shell) => longhaul_proto::CommandLine { argv: Vec::new(), shell: shell.clone() },
            Self::Argv(argv) => longhaul_proto::CommandLine { argv: argv.clone(), shell: String::new() },
        }
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = CommandLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: a shell line as a string, or a program and its arguments as an array of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandLine, E> {
        if text.trim().is_empty() {
            return Err(E::custom("an empty command\nwrite a shell line, or leave the key out"));
        }
        Ok(CommandLine::Shell(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<CommandLine, A::Error> {
        let mut argv: Vec<String> = Vec::new();
        while let Some(word) = items.next_element()? {
            argv.push(word);
        }
        if argv.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(de::Error::custom("an empty command\nname the program first, or leave the key out"));
        }
        Ok(CommandLine::Argv(argv))
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

impl JsonSchema for CommandLine {
    fn schema_name() -> Cow<'static, str> {
        "CommandLine".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A shell line, or an array of a program and its arguments.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 }
            ]
        })
    }
}

/// One string or a list of strings, each with its position.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StringList(pub Vec<At<String>>);

impl Deref for StringList {
    type Target = [At<String>];

    fn deref(&self) -> &[At<String>] {
        &self.0
    }
}

enum OneOrMany {
    One(String),
    Many(Vec<At<String>>),
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(OneOrMany::Many(found))
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

impl<'de> Deserialize<'de> for StringList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = toml::Spanned::<OneOrMany>::deserialize(deserializer)?;
        let Range { start, end } = found.span();
        Ok(Self(match found.into_inner() {
            OneOrMany::One(value) => vec![At { value, start, end }],
            OneOrMany::Many(items) => items,
        }))
    }
}

impl JsonSchema for StringList {
    fn schema_name() -> Cow<'static, str> {
        "StringList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}
