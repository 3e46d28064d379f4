//! What is left of a conversation when its window is full: a typed summary, and the facts that
//! must survive it whatever the model leaves out.

use longhaul_common::tokens;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the model is asked.
pub const ASK: &str = "Your context window is nearly full; the conversation so far will be dropped. Call no tool. Answer \
with one JSON object and nothing else: {\"goal\": what is to be reached, \"decided\": [decisions and why], \"done\": [what is \
finished], \"open\": [what is left, in order], \"files\": [paths that matter, each with a word on why], \"keep\": [facts that \
must not be lost, word for word: names, numbers, commands that work]}.";

/// Facts of the model's own that are kept at most; the oldest go first.
const OWN_FACTS_MAX: usize = 40;

/// Longest fact of the model's own, in bytes.
const OWN_FACT_BYTES_MAX: usize = 400;

/// A summary of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// What is to be reached.
    pub goal: String,
    /// Decisions.
    pub decided: Vec<String>,
    /// What is finished.
    pub done: Vec<String>,
    /// What is left.
    pub open: Vec<String>,
    /// Paths that matter.
    pub files: Vec<String>,
    /// Facts that must not be lost.
    pub keep: Vec<String>,
}

impl Summary {
    /// From a model's words: the JSON object in them, if there is a usable one.
    pub fn parse(text: &str) -> Option<Self> {
        let json = text.get(text.find('{')?..=text.rfind('}')?)?;
        let found: Self = serde_json::from_str(json).ok()?;
        let says = !found.goal.is_empty() || !found.done.is_empty() || !found.open.is_empty();
        says.then_some(found)
    }

    /// Its schema, for models that answer by one.
    pub fn schema() -> Value {
        let list = json!({ "type": "array", "items": { "type": "string" } });
        json!({
            "type": "object",
            "properties": { "goal": { "type": "string" }, "decided": list, "done": list, "open": list, "files": list, "keep": list },
            "required": ["goal", "decided", "done", "open", "files", "keep"],
            "additionalProperties": false
        })
    }

    /// As the model reads it, at most so many tokens: the oldest of what is done goes first, then
    /// decisions, files, and what is open. What has to be kept stays.
    pub fn render(&self, facts: &Facts, tokens_max: usize) -> String {
        let mut cut = self.clone();
        cut.keep = facts.all().map(str::to_owned).collect();
        loop {
            let text = cut.text();
            if tokens::count(&text) <= tokens_max {
                return text;
            }
            let list = [&mut cut.done, &mut cut.decided, &mut cut.files].into_iter().find(|list| !list.is_empty());
            match list {
                Some(list) => drop(list.drain(..list.len().div_ceil(4))),
                None if !cut.open.is_empty() => cut.open.truncate(cut.open.len() / 2),
                None if !cut.goal.is_empty() => cut.goal.clear(),
                None => return text,
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.goal.is_empty() {
            text.push_str(&format!("Goal: {}\n", self.goal));
        }
        let lists = [
            ("Decided", &self.decided),
            ("Done", &self.done),
            ("Open", &self.open),
            ("Files", &self.files),
            ("Must not be lost", &self.keep),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            text.push_str(&format!("{name}:\n"));
            list.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
        }
        text
    }
}

/// Facts that survive every compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// What people and the job said: never dropped.
    told: Vec<String>,
    /// What the model wanted to be kept.
    own: Vec<String>,
}

impl Facts {
    /// One that people or the job said.
    pub fn tell(&mut self, fact: impl Into<String>) {
        let fact = fact.into();
        if !fact.trim().is_empty() && !self.told.contains(&fact) {
            self.told.push(fact);
        }
    }

    /// Those a model wants to be kept.
    pub fn keep(&mut self, facts: &[String]) {
        for fact in facts {
            let fact = longhaul_common::text::clip_head(fact.trim(), OWN_FACT_BYTES_MAX).to_owned();
            if !fact.is_empty() && self.all().all(|other| other != fact) {
                self.own.push(fact);
            }
        }
        let over = self.own.len().saturating_sub(OWN_FACTS_MAX);
        self.own.drain(..over);
    }

    /// Forgets the oldest of the model's own; `false` when none is left.
    pub fn forget(&mut self) -> bool {
        let any = !self.own.is_empty();
        self.own.drain(..usize::from(any));
        any
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.told.iter().chain(&self.own).map(String::as_str)
    }

    /// Those that a text does not hold, up to white space.
    pub fn missing(&self, text: &str) -> Vec<String> {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = plain(text);
        self.all().filter(|fact| !text.contains(&plain(fact))).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_found_in_words_and_nonsense_is_none() {
        let json = r#"{"goal":"g","open":["a"],"keep":["k"],"more":1}"#;
        for text in [json.to_owned(), format!("Here it is:\n```json\n{json}\n```\nBye.")] {
            let found = Summary::parse(&text).expect("a summary");
            assert_eq!((found.goal.as_str(), found.open.len(), found.keep.len()), ("g", 1, 1));
        }
        for text in ["", "done", "{}", "{broken", "}{", r#"{"goal": 1}"#, r#"{"keep":["x"]}"#] {
            assert_eq!(Summary::parse(text), None, "{text}");
        }
    }

    #[test]
    fn facts_stay_whatever_the_room() {
        let mut facts = Facts::default();
        facts.tell("the port is 4711");
        facts.tell("the port is 4711");
        facts.keep(&["  cargo test -p x  ".into(), "the port is 4711".into(), String::new()]);
        assert_eq!(facts.all().collect::<Vec<_>>(), ["the port is 4711", "cargo test -p x"]);
        let long = |word: &str| (0..200).map(|number| format!("{word} number {number}")).collect::<Vec<_>>();
        let summary =
            Summary { goal: "g".into(), decided: long("d"), done: long("e"), open: long("o"), ..Summary::default() };
        for max in [5_000, 500, 100, 40] {
            let text = summary.render(&facts, max);
            assert!(tokens::count(&text) <= max, "{max}");
            assert_eq!(facts.missing(&text), Vec::<String>::new(), "{max}");
        }
        assert!(facts.missing("the\n port  is 4711") == ["cargo test -p x"]);
        facts.keep(&long("fact"));
        assert_eq!(facts.all().count(), 1 + OWN_FACTS_MAX);
        assert!(facts.missing(&summary.render(&facts, 1)).is_empty());
        assert!((0..OWN_FACTS_MAX).all(|_| facts.forget()) && !facts.forget());
        assert_eq!(facts.all().collect::<Vec<_>>(), ["the port is 4711"], "what people said stays");
    }
}
