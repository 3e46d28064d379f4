//! The script: what is answered at each step of each turn, and how that goes wrong.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

/// A whole script: `{"turns":[[STEP,…],…]}`, or `{"steps":[STEP,…]}` for one turn.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The steps of each turn; the last turn serves all later ones too.
    #[serde(default)]
    pub turns: Vec<Vec<Step>>,
    /// The steps of a script of one turn.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Scripts for some conversations only; the first that fits answers instead of the rest.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// What calls beside the conversation are answered.
    #[serde(default)]
    pub sides: Sides,
}

/// A script for the conversations that contain a text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The text, anywhere in the request.
    pub when: String,
    /// The steps of each turn, as in a [`Script`].
    #[serde(default)]
    pub turns: Vec<Vec<Step>>,
    /// The steps of a case of one turn.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Answers to the calls that agent programs make beside the conversation.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sides {
    /// To a request for a title.
    pub title: String,
    /// To a request to compact the conversation.
    pub summary: String,
    /// To a review of a planned action, as JSON.
    pub review: String,
    /// To any other request without tools.
    pub other: String,
}

impl Default for Sides {
    fn default() -> Self {
        Self {
            title: "a scripted title".to_owned(),
            summary: "summary: compacted by the script".to_owned(),
            review: r#"{"risk_level":"low","user_authorization":"high","outcome":"allow","rationale":"scripted"}"#
                .to_owned(),
            other: concat!(
                r#"{"next_speaker":"user","reasoning":"done","complexity_reasoning":"scripted","#,
                r#""complexity_score":1,"model_choice":"flash"}"#
            )
            .to_owned(),
        }
    }
}

/// One answer. Without a failure named it is a good one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Text that ends the turn.
    pub text: Option<String>,
    /// Text before calls.
    pub say: Option<String>,
    /// Reasoning before everything else; it travels encrypted or signed, as the format has it.
    pub reasoning: Option<String>,
    /// One call: the tool's name.
    pub tool: Option<String>,
    /// Its arguments.
    pub args: Option<Value>,
    /// Its arguments as they are, which may be broken JSON.
    pub arguments: Option<String>,
    /// Its input, for a freeform tool.
    pub input: Option<String>,
    /// The namespace of its tool.
    pub namespace: Option<String>,
    /// Several calls in one answer.
    pub tools: Vec<Call>,
    /// What is reported as used; counted from the request and the answer when left out.
    pub usage: Option<Usage>,
    /// Text of this many bytes, in deltas of a kibibyte, instead of `text`.
    pub text_bytes: Option<usize>,

    /// An HTTP status instead of an answer.
    pub status: Option<u16>,
    /// Its body; one in the provider's shape when left out.
    pub error: Option<Value>,
    /// Further headers of the answer, such as `retry-after`.
    pub headers: BTreeMap<String, String>,
    /// The failure happens only for the first so many requests with the same body; always when left
    /// out. The answer after that is the step without its failure.
    pub times: Option<usize>,
    /// The stream is cut before its last event.
    pub drop: bool,
    /// The stream is cut in the middle of the event with this number, from 0.
    pub cut: Option<usize>,
    /// Bytes that are no event stand in the middle.
    pub garbage: bool,
    /// Bytes that are no UTF-8 stand inside the text.
    pub invalid_utf8: bool,
    /// The text never ends.
    pub endless: bool,

    /// Seconds before the first byte of the body.
    pub delay: f64,
    /// Seconds between two events.
    pub delta_delay: f64,
    /// Nothing is answered until the test opens the gate of this name.
    pub gate: Option<String>,
    /// Nothing follows the first half of the events until the test opens the gate of this name.
    pub gate_middle: Option<String>,
}

/// One of several calls.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Option<Value>,
    /// Its arguments as they are, which may be broken JSON.
    #[serde(default)]
    pub arguments: Option<String>,
    /// Its input, for a freeform tool.
    #[serde(default)]
    pub input: Option<String>,
    /// The namespace of its tool.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// Tokens as the script wants them reported: `[input, output]`, or by name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Usage {
    /// Input and output.
    Pair(u64, u64),
    /// By name.
    Named {
        /// Of the request, cached ones included.
        input: u64,
        /// Of them from the cache.
        #[serde(default)]
        cached: u64,
        /// Of them written to the cache.
        #[serde(default)]
        cache_write: u64,
        /// Of the answer, reasoning included.
        output: u64,
        /// Of them reasoning.
        #[serde(default)]
        reasoning: u64,
    },
}

impl Script {
    /// From JSON.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("not a script of a model")
    }

    /// From a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// One turn with these steps.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// The same with every `{{cwd}}` replaced.
    pub fn within(text: &str, cwd: &Path) -> Result<Self> {
        let quoted = serde_json::to_string(&cwd.to_string_lossy())?;
        Self::parse(&text.replace("{{cwd}}", quoted.trim_matches('"')))
    }

    /// The answer to a request at a turn and a step of its conversation, both from 0.
    pub fn pick(&self, request: &str, turn: usize, step: usize) -> Step {
        let case = self.cases.iter().find(|case| request.contains(&case.when));
        let (turns, steps) = case.map_or((&self.turns, &self.steps), |case| (&case.turns, &case.steps));
        let steps = turns.get(turn).or(turns.last()).unwrap_or(steps);
        let exhausted = || Step::text(format!("done (the script has no step {step} in turn {turn})"));
        steps.get(step).cloned().unwrap_or_else(exhausted)
    }

    /// Whether it is for agents that offer tools.
    pub fn has_calls(&self) -> bool {
        let cases = self.cases.iter().flat_map(|case| case.turns.iter().flatten().chain(&case.steps));
        let all = self.turns.iter().flatten().chain(&self.steps).chain(cases);
        all.into_iter().any(|step| !step.calls().is_empty())
    }
}

impl Step {
    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// One call.
    pub fn call(tool: impl Into<String>, args: Value) -> Self {
        Self { tool: Some(tool.into()), args: Some(args), ..Self::default() }
    }

    /// An HTTP status.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The same with a header of the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Its calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        let one = self.tool.clone().map(|tool| Call {
            tool,
            args: self.args.clone(),
            arguments: self.arguments.clone(),
            input: self.input.clone(),
            namespace: self.namespace.clone(),
        });
        one.into_iter().chain(self.tools.iter().cloned()).collect()
    }

    /// The same step when its failure is over.
    pub fn recovered(self) -> Self {
        Self {
            status: None,
            error: None,
            headers: BTreeMap::new(),
            drop: false,
            cut: None,
            garbage: false,
            invalid_utf8: false,
            endless: false,
            ..self
        }
    }
}

impl Call {
    /// Its arguments as the text that travels.
    pub fn arguments_text(&self) -> String {
        let made = || self.args.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
        self.arguments.clone().unwrap_or_else(made)
    }

    /// Its arguments as a value; broken JSON travels as a string where a format has only values.
    pub fn arguments_value(&self) -> Value {
        match (&self.arguments, &self.input) {
            (Some(text), _) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
            (None, Some(input)) => serde_json::json!({ "input": input }),
            (None, None) => self.args.clone().unwrap_or_else(|| serde_json::json!({})),
        }
    }
}
