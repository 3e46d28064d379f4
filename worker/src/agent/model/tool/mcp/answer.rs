//! What a call of a server's tool came to, in what a model can be shown.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::super::super::history::Image;
use super::super::image;

/// Pictures of one answer that are shown.
const IMAGES_MAX: usize = 4;

/// What a tool answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its words.
    pub text: String,
    /// Its pictures.
    pub images: Vec<Image>,
    /// It says that it failed.
    pub failed: bool,
}

impl Answer {
    /// From the protocol, for a model that sees or does not.
    pub fn of(result: CallToolResult, sees: bool) -> Self {
        let mut answer = Self { failed: result.is_error.unwrap_or_default(), ..Self::default() };
        let mut words = Vec::with_capacity(result.content.len());
        for block in result.content {
            words.push(match block {
                ContentBlock::Text(text) => text.text,
                ContentBlock::Image(shown) => answer.image(&shown.data, sees),
                ContentBlock::Audio(audio) => format!("[sound, {}: it cannot be played to you]", audio.mime_type),
                ContentBlock::Resource(resource) => resource_words(resource.resource),
                ContentBlock::ResourceLink(link) => format!("[{}: {}]", link.name, link.uri),
                _ => "[something that cannot be shown]".to_owned(),
            });
        }
        // Tools that answer with an object repeat it as text for those that do not know objects.
        if let Some(object) = result.structured_content.filter(|_| words.is_empty()) {
            words.push(object.to_string());
        }
        answer.text = words.join("\n");
        if answer.text.trim().is_empty() {
            answer.text = "no output".to_owned();
        }
        answer
    }

    /// Keeps a picture, and says in words what stands in its place among the text.
    fn image(&mut self, base64: &str, sees: bool) -> String {
        let found = match image::from_base64("a picture", base64) {
            Ok(found) => found,
            Err(why) => return format!("[it cannot be shown: {why}]"),
        };
        let size = format!("{} x {} pixels", found.width, found.height);
        if !sees {
            return format!("[a picture of {size}, which you cannot see]");
        }
        if self.images.len() == IMAGES_MAX {
            return format!("[a picture of {size}: at most {IMAGES_MAX} are shown at once]");
        }
        self.images.push(found);
        format!("[picture {}, {size}]", self.images.len())
    }
}

fn resource_words(resource: ResourceContents) -> String {
    match resource {
        ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
        ResourceContents::BlobResourceContents { uri, mime_type, .. } => {
            format!("[{uri}: {}, not shown]", mime_type.as_deref().unwrap_or("bytes"))
        }
        _ => "[a resource that cannot be shown]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A picture of 1 x 1 pixels.
    const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";

    fn answer(result: Value, sees: bool) -> Answer {
        Answer::of(serde_json::from_value(result).expect("a result"), sees)
    }

    #[test]
    fn every_kind_of_content_becomes_words_or_a_picture() {
        let picture = json!({"type": "image", "data": DOT, "mimeType": "image/png"});
        let content = json!([
            {"type": "text", "text": "hello"},
            picture,
            {"type": "image", "data": "R0lGODlh", "mimeType": "image/gif"},
            {"type": "image", "data": "n*", "mimeType": "image/png"},
            {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "in it"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": "AA==", "mimeType": "application/zip"}},
            {"type": "resource_link", "uri": "file:///c", "name": "c"},
        ]);
        let seen = answer(json!({ "content": content }), true);
        assert_eq!(
            seen.text.lines().collect::<Vec<_>>(),
            [
                "hello",
                "[picture 1, 1 x 1 pixels]",
                "[it cannot be shown: a picture: neither PNG nor JPEG]",
                "[it cannot be shown: a picture: it is no base64]",
                "[sound, audio/wav: it cannot be played to you]",
                "file:///a:",
                "in it",
                "[file:///b: application/zip, not shown]",
                "[c: file:///c]",
            ]
        );
        assert_eq!((seen.images.len(), seen.images[0].base64.as_str()), (1, DOT));
        assert!(!seen.failed);
        let blind = answer(json!({ "content": content }), false);
        assert!(blind.images.is_empty() && blind.text.contains("1 x 1 pixels, which you cannot see"));
        let many = answer(json!({"content": vec![picture; 6]}), true);
        assert_eq!(many.images.len(), IMAGES_MAX);
        assert!(many.text.ends_with("at most 4 are shown at once]"), "{}", many.text);
    }

    #[test]
    fn an_error_is_one_and_nothing_is_said_to_be_nothing() {
        let failed = answer(json!({"content": [{"type": "text", "text": "no"}], "isError": true}), true);
        assert!(failed.failed && failed.text == "no");
        assert_eq!(answer(json!({"content": []}), true).text, "no output");
        let object = json!({"content": [], "structuredContent": {"b": 1, "a": 2}});
        assert_eq!(answer(object, true).text, r#"{"b":1,"a":2}"#);
    }
}
