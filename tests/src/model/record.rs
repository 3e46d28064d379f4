//! What was asked, and the cache that a provider would have kept of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::Format;

/// Bytes a provider's cache keeps at least: below it nothing counts as cached.
const CACHED_BYTES_MIN: usize = 64;

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, in lower case; the last one of a name.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte.
    #[serde(with = "as_text")]
    pub body: Vec<u8>,
    /// The tokens of it that were in the cache.
    pub cached_tokens: u64,
    /// When it had come whole, in microseconds since the epoch.
    #[serde(default)]
    pub at_us: u64,
}

impl Recorded {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// What a provider reads as the prompt, in the order it reads it; empty for other requests.
    pub fn prompt(&self) -> Vec<u8> {
        Format::of(self.route()).map(|(format, _)| format.prompt(&self.json())).unwrap_or_default()
    }

    /// Whether this request's prompt begins with the whole prompt of an earlier one.
    pub fn extends(&self, earlier: &Self) -> bool {
        self.prompt().starts_with(&earlier.prompt())
    }
}

/// The bytes two prompts begin with alike.
pub fn common_prefix(one: &[u8], two: &[u8]) -> usize {
    one.iter().zip(two).take_while(|(one, two)| one == two).count()
}

/// The prompts a provider has seen, for each model and key.
#[derive(Debug, Default)]
pub struct Cache {
    prompts: Vec<(String, Vec<u8>)>,
}

impl Cache {
    /// Takes a prompt; gives how many bytes of it earlier ones for the same model began with.
    pub fn take(&mut self, model: &str, prompt: &[u8]) -> usize {
        let same = self.prompts.iter().filter(|(of, _)| of == model);
        let found = same.map(|(_, seen)| common_prefix(seen, prompt)).max().unwrap_or_default();
        self.prompts.push((model.to_owned(), prompt.to_vec()));
        if found < CACHED_BYTES_MIN { 0 } else { found }
    }
}

/// A body as a string where it is UTF-8, as numbers where it is not.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(body: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(body) {
            Ok(text) => text.serialize(to),
            Err(_) => body.serialize(to),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Body::deserialize(from)? {
            Body::Text(text) => text.into_bytes(),
            Body::Bytes(bytes) => bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_as_json_whatever_its_body() {
        for body in [b"{\"a\":1}".to_vec(), vec![0xff, 0x00, b'x']] {
            let one = Recorded {
                method: "POST".into(),
                path: "/v1/responses".into(),
                headers: BTreeMap::from([("accept".into(), "*/*".into())]),
                body,
                cached_tokens: 3,
                at_us: 5,
            };
            let line = serde_json::to_string(&one).expect("JSON");
            assert_eq!(serde_json::from_str::<Recorded>(&line).expect("the same"), one);
        }
    }

    #[test]
    fn the_cache_knows_the_longest_common_beginning() {
        let mut cache = Cache::default();
        let prompt = "a".repeat(100);
        assert_eq!(cache.take("m", prompt.as_bytes()), 0);
        assert_eq!(cache.take("other", prompt.as_bytes()), 0);
        assert_eq!(cache.take("m", format!("{prompt}bc").as_bytes()), 100);
        assert_eq!(cache.take("m", format!("{prompt}bd").as_bytes()), 101);
        assert_eq!(cache.take("m", b"aaab"), 0, "too short to be kept");
    }
}
