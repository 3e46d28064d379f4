//! What a long-running process says of itself: a line for a person, or one object a line.

use crate::view::style;

/// Speaks on stderr.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    json: bool,
}

impl Voice {
    /// With `json`, objects.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says something once. `event` is its name for programs, `verb` and `text` are for people.
    pub fn say(&self, event: &str, verb: &str, text: &str) {
        if self.json {
            eprintln!("{}", serde_json::json!({"event": event, "text": text}));
        } else {
            eprintln!("{}", style::verb_line(&style::stderr(), verb, text));
        }
    }
}
