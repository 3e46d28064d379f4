//! What servers offer, as a model is told of it.

use std::collections::BTreeSet;

use longhaul_common::text::clip_head;
use longhaul_common::tokens::BYTES_PER_TOKEN;
use rmcp::model::Tool;
use serde_json::{Value, json};

use super::super::super::wire::{ToolSpec, ToolSyntax};

/// Tools of all servers together.
const TOOLS_MAX: usize = 128;

/// Bytes of their names, descriptions and schemas together.
const TOOLS_BYTES_MAX: usize = 128 << 10;

/// The part of a model's window that they may take.
const WINDOW_PART: u64 = 8;

/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;

/// Longest name that every provider takes.
const NAME_BYTES_MAX: usize = 64;

/// Hexadecimal digits that tell cut names apart.
const MARK_DIGITS: usize = 8;

/// Keys that providers refuse at the top of a schema. The server looks at its arguments itself.
const NOT_ON_TOP: [&str; 6] = ["oneOf", "anyOf", "allOf", "not", "enum", "const"];

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// As the model is told of it.
    pub spec: ToolSpec,
    /// The number of its server.
    pub server: usize,
    /// What its server calls it.
    pub tool: String,
}

/// What a model is offered, and what not, in words.
#[derive(Debug, Default, PartialEq)]
pub struct Offer {
    /// In the order of the servers, and of names within one.
    pub tools: Vec<Offered>,
    /// Each with the reason.
    pub left_out: Vec<String>,
}

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Tokens of the model's window.
    pub context_tokens: u64,
    /// Its tools are the branches of one schema.
    pub by_schema: bool,
}

/// What of the tools of servers, each with its name, a model is offered.
pub fn offer(servers: Vec<(&str, Vec<Tool>)>, room: Room) -> Offer {
    let window = room.context_tokens.saturating_mul(BYTES_PER_TOKEN) / WINDOW_PART;
    let mut left = usize::try_from(window).unwrap_or(TOOLS_BYTES_MAX).min(TOOLS_BYTES_MAX);
    let mut offer = Offer::default();
    let mut names = BTreeSet::new();
    for (number, (server, mut tools)) in servers.into_iter().enumerate() {
        tools.sort_by(|one, two| one.name.cmp(&two.name));
        tools.dedup_by(|one, two| one.name == two.name);
        for tool in tools {
            let spec = spec(name(server, &tool.name, &mut names), &tool);
            let bytes = spec.name.len() + spec.description.len() + spec.syntax.schema().to_string().len();
            let why = if offer.tools.len() == TOOLS_MAX {
                format!("there are {TOOLS_MAX} tools before it")
            } else if bytes > left {
                format!("its {bytes} bytes do not fit into the {left} that are left for tools of servers")
            } else if room.by_schema && !can_be_a_branch(&spec.syntax.schema()) {
                "its schema cannot be a branch of another".to_owned()
            } else {
                left -= bytes;
                offer.tools.push(Offered { spec, server: number, tool: tool.name.into_owned() });
                continue;
            };
            let shown = clip_head(&tool.name, NAME_BYTES_MAX);
            offer.left_out.push(format!("the tool {shown} of the mcp server {server} is left out: {why}"));
        }
    }
    offer
}

/// A name that every provider takes, and that no other tool has.
fn name(server: &str, tool: &str, taken: &mut BTreeSet<String>) -> String {
    let clean = |text: &str| -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        text.chars().map(kept).collect()
    };
    let mut name = format!("mcp__{}__{}", clean(server), clean(tool));
    if name.len() > NAME_BYTES_MAX || taken.contains(&name) {
        let whole = blake3::hash(format!("{server}\0{tool}").as_bytes()).to_hex();
        name.truncate(NAME_BYTES_MAX - MARK_DIGITS - 1);
        name = format!("{name}_{}", &whole[..MARK_DIGITS]);
    }
    taken.insert(name.clone());
    name
}

fn spec(name: String, tool: &Tool) -> ToolSpec {
    let mut schema = tool.input_schema.as_ref().clone();
    schema.retain(|key, _| key != "$schema" && !NOT_ON_TOP.contains(&key.as_str()));
    schema.insert("type".to_owned(), "object".into());
    schema.entry("properties").or_insert_with(|| json!({}));
    let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default().trim();
    ToolSpec {
        name,
        description: clip_head(description, DESCRIPTION_BYTES_MAX).to_owned(),
        syntax: ToolSyntax::Object(Value::Object(schema)),
    }
}

/// Whether its properties can stand beside the name of the tool in one object. References are to the
/// top of a schema, where theirs no longer is.
fn can_be_a_branch(schema: &Value) -> bool {
    schema["properties"].get("tool").is_none() && !refers(schema)
}

fn refers(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.contains_key("$ref") || fields.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { context_tokens: 200_000, by_schema: false };

    fn tool(name: &str, schema: Value) -> Tool {
        serde_json::from_value(json!({"name": name, "description": " does it\n", "inputSchema": schema}))
            .expect("a tool")
    }

    fn names(offer: &Offer) -> Vec<&str> {
        offer.tools.iter().map(|tool| tool.spec.name.as_str()).collect()
    }

    #[test]
    fn names_are_clean_ordered_and_no_two_the_same() {
        let plain = |name: &str| tool(name, json!({"type": "object"}));
        let long = "a".repeat(80);
        let servers = vec![
            ("docs", vec![plain("b"), plain("a.b"), plain("a b"), plain("a_b"), plain("b")]),
            ("docs.", vec![plain(&long), plain("ü")]),
        ];
        let offer = offer(servers.clone(), ROOM);
        let found = names(&offer);
        assert_eq!(found[0], "mcp__docs__a_b");
        assert!(found[1].starts_with("mcp__docs__a_b_") && found[2].starts_with("mcp__docs__a_b_"), "{found:?}");
        assert_eq!((found[3], found[5]), ("mcp__docs__b", "mcp__docs____"));
        assert!(found[4].starts_with("mcp__docs___aaa") && found[4].len() == NAME_BYTES_MAX, "{found:?}");
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 6, "{found:?}");
        let of: Vec<(usize, &str)> = offer.tools.iter().map(|tool| (tool.server, tool.tool.as_str())).collect();
        assert_eq!(of[..4], [(0, "a b"), (0, "a.b"), (0, "a_b"), (0, "b")]);
        // In whatever order they come.
        let turned = servers.into_iter().map(|(name, tools)| (name, tools.into_iter().rev().collect())).collect();
        assert_eq!(super::offer(turned, ROOM), offer);
    }

    #[test]
    fn schemas_are_what_every_provider_takes() {
        let schema = json!({"$schema": "x", "anyOf": [{}], "required": ["z"], "properties": {"z": {"enum": [1]}}});
        let offer = offer(vec![("s", vec![tool("t", schema), tool("u", json!({}))])], ROOM);
        let schemas: Vec<Value> = offer.tools.iter().map(|tool| tool.spec.syntax.schema()).collect();
        let wanted = json!({"required": ["z"], "properties": {"z": {"enum": [1]}}, "type": "object"});
        assert_eq!(schemas, [wanted, json!({"type": "object", "properties": {}})]);
        assert_eq!(offer.tools[0].spec.description, "does it");
    }

    #[test]
    fn number_and_size_are_bounded_and_what_is_left_out_is_named() {
        let many = |count: usize| (0..count).map(|at| tool(&format!("t{at:03}"), json!({}))).collect::<Vec<_>>();
        let all = offer(vec![("s", many(TOOLS_MAX + 2))], ROOM);
        assert_eq!((all.tools.len(), all.left_out.len()), (TOOLS_MAX, 2));
        let words = format!("the tool t128 of the mcp server s is left out: there are {TOOLS_MAX} tools before it");
        assert_eq!(all.left_out[0], words);
        let large = tool("large", json!({"properties": {"x": {"description": "y".repeat(TOOLS_BYTES_MAX)}}}));
        let some = offer(vec![("s", vec![large.clone(), tool("small", json!({}))])], ROOM);
        assert_eq!(names(&some), ["mcp__s__small"]);
        assert!(some.left_out[0].contains("tool large of the mcp server s is left out: its 131"), "{some:?}");
        let narrow = Room { context_tokens: 500, ..ROOM };
        assert!(offer(vec![("s", many(20))], narrow).left_out.len() > 10);
    }

    #[test]
    fn in_one_schema_there_is_no_room_for_references_nor_for_another_tool() {
        let tools = vec![
            tool("a", json!({"properties": {"tool": {}}})),
            tool("b", json!({"properties": {"x": {"items": [{"$ref": "#/$defs/x"}]}}})),
            tool("c", json!({"properties": {"x": {"type": "string"}}})),
        ];
        let found = offer(vec![("s", tools.clone())], Room { by_schema: true, ..ROOM });
        assert_eq!((names(&found), found.left_out.len()), (vec!["mcp__s__c"], 2));
        assert_eq!(offer(vec![("s", tools)], ROOM).tools.len(), 3);
    }
}
