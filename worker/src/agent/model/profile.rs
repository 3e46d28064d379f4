//! What each family of models is given: tools as it was trained on them, words, and limits. All of
//! it is data, in the files of `profiles/`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{ToolSpec, ToolSyntax, Traits};

/// The files, in the order in which a model's family is looked for.
const FILES: [(&str, &str); 4] = [
    ("gpt", include_str!("profiles/gpt.toml")),
    ("claude", include_str!("profiles/claude.toml")),
    ("schema", include_str!("profiles/schema.toml")),
    ("general", include_str!("profiles/general.toml")),
];

/// The grammar of `apply_patch`, as models learnt it.
const PATCH_GRAMMAR: &str = include_str!("profiles/apply_patch.lark");

/// What one of our tools does, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Runs a command that may go on in the background.
    Exec,
    /// Writes to one that does, and reads what it says.
    WriteStdin,
    /// Runs a command to its end.
    Shell,
    /// As that, and stays in the folder it went to.
    Bash,
    /// Applies a patch in the V4A format.
    ApplyPatch,
    /// Notes the plan.
    UpdatePlan,
    /// Anthropic's editor.
    TextEditor,
    /// Replaces a text in a file.
    Edit,
    /// Reads a part of a file.
    ReadFile,
    /// Searches files.
    Search,
    /// Looks at a picture.
    ViewImage,
    /// Hands a piece to a sub-agent.
    Delegate,
    /// Asks a person.
    Ask,
    /// Has the subtask split.
    Split,
    /// Says that the work is done.
    Finish,
    /// Has a server of the job do something.
    #[serde(skip)]
    Mcp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The system's text.
    system: String,
    /// It answers in JSON of a schema instead of calling tools.
    #[serde(default)]
    by_schema: bool,
    family: Vec<Family>,
    tool: Vec<Tool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    /// Globs of names of models, in lower case and without their provider.
    models: Vec<String>,
    context_tokens: u64,
    answer_tokens: u64,
    #[serde(default)]
    traits: Traits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    name: String,
    does: Does,
    #[serde(default)]
    description: String,
    /// A JSON schema, as text.
    schema: Option<String>,
    /// Free text of the grammar of patches.
    #[serde(default)]
    patch: bool,
    /// The type of a tool that Anthropic defines.
    native: Option<String>,
}

/// What one model is given.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// The system's text.
    pub system: &'static str,
    /// It answers in JSON of a schema instead of calling tools.
    pub by_schema: bool,
    /// Tokens of its window.
    pub context_tokens: u64,
    /// Tokens of its largest answer.
    pub answer_tokens: u64,
    /// What its family needs on the wire.
    pub traits: Traits,
    /// Its tools, each with what it does.
    pub tools: Vec<(Does, ToolSpec)>,
}

static PROFILES: LazyLock<Vec<(&'static str, File)>> = LazyLock::new(|| {
    let file = |(name, text): &(&'static str, &str)| {
        (*name, toml::from_str(text).expect("the profiles of this build are tested"))
    };
    FILES.iter().map(file).collect()
});

/// Names of profiles, as a job file may name them.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

impl Profile {
    /// The named one, or the one of the model's family; the general one for models nobody knows.
    /// `None` for a name there is not.
    pub fn of(model: &str, named: Option<&str>) -> Option<Self> {
        let model = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let known = |family: &&Family| family.models.iter().any(|glob| matches(glob, &model));
        let found = PROFILES.iter().find_map(|(name, file)| {
            let family = file.family.iter().find(known);
            match named {
                Some(named) => (named == *name).then_some((name, file, family.or(file.family.last())?)),
                None => Some((name, file, family?)),
            }
        });
        let (name, file, family) = found?;
        Some(Self {
            name,
            system: &file.system,
            by_schema: file.by_schema,
            context_tokens: family.context_tokens,
            answer_tokens: family.answer_tokens,
            traits: family.traits.clone(),
            tools: file.tool.iter().map(tool).collect(),
        })
    }

    /// What a tool does, by its name.
    pub fn does(&self, name: &str) -> Option<Does> {
        self.tools.iter().find(|(_, tool)| tool.name == name).map(|(does, _)| *does)
    }

    /// Without a tool, where it is of no use.
    pub fn without(mut self, does: Does) -> Self {
        self.tools.retain(|(other, _)| *other != does);
        self
    }

    /// With the tools of servers after its own.
    pub fn with_served(mut self, tools: &[ToolSpec]) -> Self {
        self.tools.extend(tools.iter().map(|tool| (Does::Mcp, tool.clone())));
        self
    }

    /// The tools as models are told of them; none where the schema stands for them.
    pub fn specs(&self) -> Vec<ToolSpec> {
        if self.by_schema { Vec::new() } else { self.tools.iter().map(|(_, tool)| tool.clone()).collect() }
    }

    /// The schema of an answer: a thought, and one of the actions.
    pub fn schema(&self) -> Value {
        let action = |(_, tool): &(Does, ToolSpec)| {
            let schema = tool.syntax.schema();
            let mut properties = json!({ "tool": { "const": tool.name, "description": tool.description } });
            if let (Value::Object(all), Value::Object(own)) = (&mut properties, schema["properties"].clone()) {
                all.extend(own);
            }
            let required: Vec<Value> = std::iter::once("tool".into())
                .chain(schema["required"].as_array().cloned().unwrap_or_default())
                .collect();
            json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
        };
        let actions: Vec<Value> = self.tools.iter().map(action).collect();
        json!({
            "type": "object",
            "properties": { "thought": { "type": "string" }, "action": { "oneOf": actions } },
            "required": ["thought", "action"],
            "additionalProperties": false
        })
    }
}

fn tool(tool: &Tool) -> (Does, ToolSpec) {
    let schema = || match &tool.schema {
        Some(text) => serde_json::from_str(text).expect("the profiles of this build are tested"),
        None => json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    };
    let syntax = match &tool.native {
        _ if tool.patch => ToolSyntax::Lark(PATCH_GRAMMAR.to_owned()),
        Some(kind) => ToolSyntax::Native { kind: kind.clone(), schema: schema() },
        None => ToolSyntax::Object(schema()),
    };
    (tool.does, ToolSpec { name: tool.name.clone(), description: tool.description.trim().to_owned(), syntax })
}

/// `*` stands for any characters; nothing else is special.
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_get_the_tools_they_know() {
        for (model, profile) in [
            ("gpt-5.5", "gpt"),
            ("openai/GPT-5.2-codex", "gpt"),
            ("o4-mini", "gpt"),
            ("claude-opus-4-8", "claude"),
            ("anthropic/claude-sonnet-4-5-20250929", "claude"),
            ("qwen2.5-coder-1.5b-instruct", "schema"),
            ("deepseek-v3.2", "general"),
            ("anything", "general"),
        ] {
            let found = Profile::of(model, None).expect("one for every model");
            assert_eq!(found.name, profile, "{model}");
        }
        assert_eq!(Profile::of("gpt-5", Some("general")).map(|found| found.name), Some("general"));
        assert!(Profile::of("gpt-5", Some("gtp")).is_none());
    }

    #[test]
    fn every_profile_can_be_read_and_named_tools_are_there() {
        for (name, wanted) in [
            (
                "gpt",
                &[
                    "exec_command",
                    "write_stdin",
                    "apply_patch",
                    "update_plan",
                    "view_image",
                    "delegate",
                    "ask",
                    "split",
                ][..],
            ),
            ("claude", &["bash", "str_replace_based_edit_tool", "view_image", "delegate", "ask", "split"]),
            ("general", &["rg", "read_file", "edit", "shell", "view_image", "delegate", "ask", "split"]),
            ("schema", &["rg", "read_file", "edit", "shell", "ask", "split", "finish"]),
        ] {
            let profile = Profile::of("x", Some(name)).expect("there");
            let tools: Vec<&str> = profile.tools.iter().map(|(_, tool)| tool.name.as_str()).collect();
            assert_eq!(tools, wanted, "{name}");
            assert!(profile.context_tokens > 2 * profile.answer_tokens, "{name}");
            assert!(profile.tools.iter().all(|(_, tool)| tool.syntax.schema()["type"] == "object"), "{name}");
            assert_eq!(profile.specs().is_empty(), profile.by_schema);
        }
        assert_eq!(names().count(), 4);
    }

    #[test]
    fn the_grammar_of_patches_is_the_one_models_learnt() {
        let profile = Profile::of("gpt-5", None).expect("there");
        let patch = profile.tools.iter().find(|(does, _)| *does == Does::ApplyPatch).map(|(_, tool)| &tool.syntax);
        let Some(ToolSyntax::Lark(grammar)) = patch else { panic!("{patch:?}") };
        for rule in
            ["start: begin_patch hunk+ end_patch", "change_move: \"*** Move to: \" filename LF", "%import common.LF"]
        {
            assert!(grammar.contains(rule), "{rule}");
        }
    }

    #[test]
    fn a_schema_offers_each_tool_with_its_own_arguments() {
        let schema = Profile::of("x", Some("schema")).expect("there").schema();
        let actions = schema["properties"]["action"]["oneOf"].as_array().expect("a list");
        assert_eq!(actions[0]["properties"]["tool"]["const"], "rg");
        assert_eq!(actions[0]["required"], json!(["tool", "pattern"]));
    }

    #[test]
    fn globs_match_whole_names() {
        for (glob, text, found) in [
            ("gpt-*", "gpt-5", true),
            ("gpt-*", "my-gpt-5", false),
            ("claude-*-4-5*", "claude-sonnet-4-5-2025", true),
            ("claude-*-4-5*", "claude-sonnet-4-6", false),
            ("*", "", true),
            ("o3", "o3-mini", false),
            ("*coder*", "a-coder-b", true),
        ] {
            assert_eq!(matches(glob, text), found, "{glob} {text}");
        }
    }
}
