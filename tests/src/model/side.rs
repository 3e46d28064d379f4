//! Calls that agent programs make beside the conversation: titles, compaction, reviews.

use serde_json::Value;

use super::place::Format;
use super::script::{Script, Step};

/// How a request to compact a conversation begins its last message.
const COMPACTION: &[&str] = &["CONTEXT CHECKPOINT COMPACTION", "create a detailed summary of the conversation"];

/// What a request for a title says somewhere.
const TITLES: &[&str] = &["Generate a title for this conversation", "title for this conversation", "You are a title"];

/// What the schema of a review of a planned action names.
const REVIEWS: &[&str] = &["risk_level", "user_authorization"];

/// The answer to a side call; `None` for a step of the conversation.
///
/// Reviews are known by their schema, all others by offering no tools. A script with calls is for
/// agents that offer tools, so whatever offers none is beside it.
pub fn answer(script: &Script, body: &Value) -> Option<Step> {
    let sides = &script.sides;
    let schema = [&body["text"]["format"], &body["response_format"], &body["generationConfig"], &body["output_config"]];
    let schema = schema.map(Value::to_string).concat();
    if REVIEWS.iter().all(|name| schema.contains(name)) {
        return Some(Step::text(&sides.review));
    }
    if Format::offers_tools(body) {
        return None;
    }
    let text = body.to_string();
    let says = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if says(COMPACTION) {
        Some(Step::text(&sides.summary))
    } else if says(TITLES) {
        Some(Step::text(&sides.title))
    } else if script.has_calls() {
        Some(Step::text(&sides.other))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn side_calls_are_told_from_the_conversation() {
        let with_calls = Script::of([Step::call("bash", json!({}))]);
        let text_only = Script::of([Step::text("hello")]);
        let plain = json!({"messages": [{"role": "user", "content": "hello"}]});
        let tools = json!({"messages": [{"role": "user", "content": "hello"}], "tools": [{"name": "bash"}]});
        assert!(answer(&text_only, &plain).is_none());
        assert!(answer(&with_calls, &tools).is_none());
        assert!(answer(&with_calls, &plain).is_some());
        let compact =
            json!({"input": [{"role": "user", "content": "You are performing a CONTEXT CHECKPOINT COMPACTION."}]});
        assert_eq!(answer(&text_only, &compact).and_then(|step| step.text), Some(text_only.sides.summary.clone()));
        let review = json!({"tools": [{"name": "bash"}], "text": {"format": {"schema": {"properties":
            {"risk_level": {}, "user_authorization": {}}}}}});
        assert_eq!(answer(&with_calls, &review).and_then(|step| step.text), Some(with_calls.sides.review.clone()));
    }
}
