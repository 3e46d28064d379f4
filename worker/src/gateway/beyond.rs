//! What a request would have a provider do or read that is not in the request: history and files that
//! the provider keeps, addresses it fetches, tools of its own, dearer tiers. No worst case holds for it,
//! the network of the attempt does not bound it, and a record of the call does not show it.

use serde_json::Value;

use super::api::Api;

/// Keys of a request whose presence alone means such a thing, where they are set.
fn keys(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenaiResponses => &["previous_response_id", "conversation", "background", "prompt"],
        Api::OpenaiChat => &["web_search_options"],
        Api::AnthropicMessages => &["mcp_servers", "container"],
        Api::Gemini => &["cachedContent", "cached_content"],
    }
}

/// Service tiers and speeds at the price of the table.
const TIERS: [&str; 5] = ["auto", "default", "flex", "standard", "standard_only"];
const SPEED: &str = "standard";

/// Tools that the agent runs itself. Anthropic's have a date behind.
const OWN_TOOLS: [&str; 8] =
    ["function", "custom", "namespace", "local_shell", "shell", "apply_patch", "tool_search", "computer"];
const OWN_TOOLS_DATED: [&str; 5] = ["bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"];

/// The environment of a shell that is the agent's own.
const LOCAL: &str = "local";

/// Tools of Gemini that the agent runs itself.
const OWN_GEMINI: [&str; 4] = ["functionDeclarations", "function_declarations", "computerUse", "computer_use"];

/// Keys of a part of the conversation that name what is elsewhere.
const ELSEWHERE: [&str; 6] = ["file_id", "file_url", "fileUri", "file_uri", "vector_store_ids", "item_reference"];

/// Keys of a part of the conversation that hold parts themselves.
const PARTS: [&str; 10] = [
    "content",
    "parts",
    "output",
    "source",
    "file",
    "fileData",
    "file_data",
    "image_url",
    "functionResponse",
    "function_response",
];

/// The first such thing, in words.
pub(super) fn named(api: Api, body: &Value) -> Option<String> {
    let set = |key: &&&str| !matches!(&body[**key], Value::Null | Value::Bool(false));
    if let Some(key) = keys(api).iter().find(set) {
        return Some(format!("`{key}`"));
    }
    let tier = body["service_tier"].as_str().filter(|tier| !TIERS.contains(tier));
    if let Some(tier) = tier {
        return Some(format!("the service tier `{tier}`"));
    }
    if let Some(speed) = body["speed"].as_str().filter(|speed| *speed != SPEED) {
        return Some(format!("the speed `{speed}`"));
    }
    let tools = match &body["tools"] {
        Value::Null => &[][..],
        Value::Array(tools) => tools,
        // Some take one for a list of one.
        one @ Value::Object(_) => std::slice::from_ref(one),
        _ => return Some("`tools` that are no list".to_owned()),
    };
    if let Some(tool) = tools.iter().find_map(|tool| hosted(api, tool)) {
        return Some(format!("the provider's own tool `{tool}`"));
    }
    let talk = ["input", "messages", "contents", "system", "systemInstruction", "system_instruction"];
    talk.iter().find_map(|key| elsewhere(&body[*key]))
}

/// The name of a tool that the provider runs.
fn hosted(api: Api, tool: &Value) -> Option<String> {
    if api == Api::Gemini {
        let names = tool.as_object().into_iter().flat_map(serde_json::Map::keys);
        return names.into_iter().find(|name| !OWN_GEMINI.contains(&name.as_str())).cloned();
    }
    let kind = tool["type"].as_str()?;
    // One and the same name, for a shell of the agent's and for one in a container of the provider.
    let place = tool["environment"]["type"].as_str().unwrap_or(LOCAL);
    if kind == "shell" && place != LOCAL {
        return Some(format!("{kind} in {place}"));
    }
    let own = OWN_TOOLS.contains(&kind) || OWN_TOOLS_DATED.iter().any(|start| kind.starts_with(start));
    (!own).then(|| kind.to_owned())
}

/// What a part of the conversation names that is elsewhere. Only where formats put such names: the
/// input of a tool may say anything.
fn elsewhere(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(elsewhere),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind == "item_reference" {
                return Some("`item_reference`".to_owned());
            }
            if let Some(key) = ELSEWHERE.iter().find(|key| fields.get(**key).is_some_and(|value| !value.is_null())) {
                return Some(format!("`{key}`"));
            }
            let is_kind = kind.contains("image") || kind.contains("file") || kind == "url";
            let fetched = |key: &str| {
                let value = fields.get(key)?;
                let text = value.as_str().or_else(|| value["url"].as_str())?;
                // Only what is said in the request itself begins so.
                (!text.starts_with("data:")).then_some(())
            };
            if fetched("image_url").is_some() || is_kind && fetched("url").is_some() {
                return Some("an address that the provider would fetch".to_owned());
            }
            PARTS.iter().filter_map(|key| fields.get(*key)).find_map(elsewhere)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_in_the_request_is_named() {
        let image =
            |url: &str| json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]});
        let (responses, chat, messages) = (Api::OpenaiResponses, Api::OpenaiChat, Api::AnthropicMessages);
        for (api, body, words) in [
            (responses, json!({"previous_response_id": "resp_1"}), "`previous_response_id`"),
            (responses, json!({"conversation": {"id": "c"}}), "`conversation`"),
            (responses, json!({"background": true}), "`background`"),
            (responses, json!({"service_tier": "priority"}), "`priority`"),
            (responses, json!({"tools": [{"type": "function"}, {"type": "web_search"}]}), "`web_search`"),
            (responses, json!({"tools": [{"type": "mcp", "server_url": "x"}]}), "`mcp`"),
            (
                responses,
                json!({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
                "`shell in container_auto`",
            ),
            (responses, json!({"tools": "web_search"}), "no list"),
            (
                responses,
                json!({"input": [{"type": "computer_call_output",
                    "output": {"type": "computer_screenshot", "image_url": "https://x/y"}}]}),
                "fetch",
            ),
            (responses, json!({"input": [{"type": "item_reference", "id": "x"}]}), "`item_reference`"),
            (responses, json!({"input": [{"content": [{"type": "input_file", "file_id": "f"}]}]}), "`file_id`"),
            (responses, image("https://example.com/a.png"), "fetch"),
            (responses, image("HTTPS://example.com/a.png"), "fetch"),
            (responses, image(" https://example.com/a.png"), "fetch"),
            (chat, json!({"web_search_options": {}}), "`web_search_options`"),
            (
                chat,
                json!({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]}),
                "fetch",
            ),
            (chat, json!({"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]}), "`file_id`"),
            (messages, json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "web_search_2025"),
            (messages, json!({"mcp_servers": [{"url": "x"}]}), "`mcp_servers`"),
            (messages, json!({"speed": "fast"}), "the speed `fast`"),
            (
                messages,
                json!({"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]}]}),
                "fetch",
            ),
            (Api::Gemini, json!({"cachedContent": "cachedContents/1"}), "`cachedContent`"),
            (Api::Gemini, json!({"tools": [{"googleSearch": {}}]}), "`googleSearch`"),
            (Api::Gemini, json!({"tools": {"google_search": {}}}), "`google_search`"),
            (
                Api::Gemini,
                json!({"system_instruction": {"parts": [{"file_data": {"file_uri": "https://x"}}]}}),
                "`file_uri`",
            ),
            (
                Api::Gemini,
                json!({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {},
                    "parts": [{"fileData": {"fileUri": "gs://x"}}]}}]}]}),
                "`fileUri`",
            ),
            (Api::Gemini, json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://x"}}]}]}), "`fileUri`"),
        ] {
            let named = named(api, &body).unwrap_or_default();
            assert!(named.contains(words), "{body}: {named:?}");
        }
    }

    #[test]
    fn what_agents_send_is_let_through() {
        let data = "data:image/png;base64,aGVsbG8=";
        let talks = "see https://example.com/a.png and `file_id`";
        for (api, body) in [
            (
                Api::OpenaiResponses,
                json!({"previous_response_id": null, "background": false, "service_tier": "auto", "store": false,
                    "tools": [{"type": "function"}, {"type": "custom"}, {"type": "namespace"}, {"type": "local_shell"},
                        {"type": "shell"}, {"type": "shell", "environment": {"type": "local"}}],
                    "input": [{"role": "user", "content": [{"type": "input_text", "text": talks},
                        {"type": "input_image", "image_url": data}]},
                        {"type": "function_call", "arguments": "{\"file_id\":\"f\",\"url\":\"https://x\"}"},
                        {"type": "reasoning", "encrypted_content": "x"}]}),
            ),
            (
                Api::OpenaiChat,
                json!({"tools": [{"type": "function"}],
                    "messages": [{"content": [{"type": "image_url", "image_url": {"url": data}}]}]}),
            ),
            (
                Api::AnthropicMessages,
                json!({"speed": "standard", "tools": [{"name": "Bash", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}],
                    "messages": [{"content": [{"type": "tool_use", "input": {"url": "https://x", "file_id": "f"}},
                        {"type": "image", "source": {"type": "base64", "data": "aGk="}}]}]}),
            ),
            (
                Api::Gemini,
                json!({"tools": [{"functionDeclarations": []}],
                    "contents": [{"parts": [{"functionCall": {"args": {"fileUri": "x"}}}, {"text": talks}]}]}),
            ),
        ] {
            assert_eq!(named(api, &body), None, "{body}");
        }
    }
}
