//! The worst case of a call before it is made.

use serde_json::Value;

use super::api::Api;

/// Tokens of an image or file sent along: more than the dearest detail of today's models takes.
const ATTACHMENT_TOKENS: u64 = 6_000;

/// Strings without a space from this length on are attachments, in bytes.
const ATTACHMENT_BYTES_MIN: usize = 4_096;

/// Tokens of the frame that a provider puts around a request.
const FRAME_TOKENS: u64 = 64;

/// Providers' tokenizers differ from o200k by less than a tenth.
const MARGIN_DIVISOR: u64 = 10;

/// The most tokens a request can be, by the tokenizer and a margin. The whole body is counted, its
/// keys too, which are more than what a provider makes of them.
pub(super) fn input_tokens(body: &Value) -> u64 {
    let mut attachments = 0;
    let text = if holds_attachment(body) {
        let mut body = body.clone();
        cut_attachments(&mut body, &mut attachments);
        body.to_string()
    } else {
        body.to_string()
    };
    let counted = longhaul_common::tokens::count(&text) as u64;
    counted + counted / MARGIN_DIVISOR + FRAME_TOKENS + attachments * ATTACHMENT_TOKENS
}

/// The most tokens an answer can be.
pub(super) fn output_tokens(api: Api, body: &Value, default: u64) -> u64 {
    api.output_max(body).unwrap_or(default).saturating_mul(api.answers(body))
}

fn is_attachment(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b);
    let data = text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).map_or(text, |(_, data)| data);
    text.len() >= ATTACHMENT_BYTES_MIN && data.bytes().all(base64)
}

/// Whether a value stands where formats put attachments. Anything else that looks like one, such as
/// encoded text in a message, costs the tokens it has.
fn is_place(key: &str) -> bool {
    matches!(key, "data" | "image_url" | "url" | "file_data")
}

fn holds_attachment(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_attachment),
        Value::Object(fields) => fields.iter().any(|(key, value)| match value {
            Value::String(text) => is_place(key) && is_attachment(text),
            value => holds_attachment(value),
        }),
        _ => false,
    }
}

fn cut_attachments(value: &mut Value, count: &mut u64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| cut_attachments(item, count)),
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match value {
                    Value::String(text) if is_place(key) && is_attachment(text) => {
                        *count += 1;
                        text.clear();
                    }
                    value => cut_attachments(value, count),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_count_as_images_and_text_as_text() {
        let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(100_000));
        let with_image = input_tokens(&json!({"input": [{"content": [{"type": "input_image", "image_url": image}]}]}));
        assert!((ATTACHMENT_TOKENS..ATTACHMENT_TOKENS + 200).contains(&with_image), "{with_image}");
        let hidden = input_tokens(&json!({"input": [{"content": "iVBORw0K".repeat(10_000)}]}));
        assert!(hidden > 20_000, "{hidden}");
    }

    #[test]
    fn every_answer_asked_for_is_reserved() {
        assert_eq!(output_tokens(Api::OpenaiChat, &json!({"max_tokens": 10, "n": 3}), 99), 30);
        assert_eq!(output_tokens(Api::OpenaiResponses, &json!({}), 99), 99);
    }
}
