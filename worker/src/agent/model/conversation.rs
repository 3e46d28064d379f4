//! A conversation with one model: asks, appends the answer, and keeps the window below its limit.

use longhaul_common::tokens;
use tokio_util::sync::CancellationToken;

use super::client::{Client, OnDelta};
use super::history::{Entry, History, Part};
use super::profile::Profile;
use super::summary::{self, Facts, Summary};
use super::window::{self, Window};
use super::wire::{Answer, CallError, Choice, Request, Settings, Tokens, ToolSpec};

/// How often one question is shortened before that is given up.
const SHORTENED_MAX: u32 = 3;

/// How far the provider's count may be from ours.
const RATIO: std::ops::RangeInclusive<f64> = 0.7..=2.5;

/// What a conversation is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What stays the same.
    pub settings: Settings,
    /// The system's text.
    pub system: String,
    /// What the model is given.
    pub profile: Profile,
    /// What it is told first; it opens every generation.
    pub task: Vec<Part>,
    /// What must survive every compaction.
    pub facts: Facts,
}

impl Setup {
    /// Tokens by our count that are left to the task, of what may open a generation.
    pub fn room(&self) -> usize {
        let task = Entry::User { parts: self.task.clone() }.tokens();
        self.window().opening.saturating_sub(self.told().2 + task)
    }

    fn window(&self) -> Window {
        Window::new(self.profile.context_tokens, self.settings.answer_tokens)
    }

    /// The tools, how they are called, and the tokens of that and of the system's text.
    fn told(&self) -> (Vec<ToolSpec>, Choice, usize) {
        let tools = self.profile.specs();
        let choice = if self.profile.by_schema { Choice::Schema(self.profile.schema()) } else { Choice::Any };
        let told = match &choice {
            Choice::Schema(schema) => schema.to_string(),
            _ => serde_json::to_string(&tools).unwrap_or_default(),
        };
        (tools, choice, tokens::count(&self.system) + tokens::count(&told))
    }
}

/// A conversation.
pub struct Conversation {
    client: Client,
    setup: Setup,
    tools: Vec<ToolSpec>,
    choice: Choice,
    window: Window,
    history: History,
    used: Tokens,
    /// The provider's count divided by ours.
    ratio: f64,
    /// Tokens of the system's text and the tools or their schema, by our count.
    fixed: usize,
    /// Tokens of the task, by our count.
    task: usize,
    summaries: u32,
}

impl Conversation {
    /// A new one, or one that goes on from `history`.
    pub fn new(client: Client, setup: Setup, history: Option<History>) -> Self {
        let (tools, choice, fixed) = setup.told();
        let window = setup.window();
        let opening = Entry::User { parts: setup.task.clone() };
        let (task, used) = (opening.tokens(), Tokens::default());
        let history = history.unwrap_or_else(|| History::of(vec![opening], 0));
        Self { client, setup, tools, choice, window, history, used, ratio: 1.0, fixed, task, summaries: 0 }
    }

    /// What was said so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What it cost so far.
    pub fn used(&self) -> Tokens {
        self.used
    }

    /// How often a summary took the place of what was said.
    pub fn summaries(&self) -> u32 {
        self.summaries
    }

    /// What it began anew with after its last summary; empty where there was none.
    pub fn summary(&self) -> &str {
        match self.history.entries().first() {
            Some(Entry::User { parts }) if self.summaries > 0 => match parts.last() {
                Some(Part::Text { text, .. }) => text,
                _ => "",
            },
            _ => "",
        }
    }

    /// What the model is given.
    pub fn profile(&self) -> &Profile {
        &self.setup.profile
    }

    /// What must survive every compaction.
    pub fn facts(&self) -> &Facts {
        &self.setup.facts
    }

    /// Appends what the model is told next.
    pub fn push(&mut self, entry: Entry) {
        self.history.push(entry);
    }

    /// A person's words: appended, and kept for good.
    pub fn tell(&mut self, words: &str) {
        self.setup.facts.tell(words);
        self.history.push(Entry::user(format!("A person says: {words}")));
    }

    /// What people decided, as [`Conversation::tell`] does, unless that was told before.
    pub fn learn(&mut self, words: &str) {
        if !self.setup.facts.all().any(|fact| fact == words) {
            self.tell(words);
        }
    }

    /// A conversation for a piece of this one's work: with the same beginning, and nothing of what was
    /// said since.
    pub fn apart(&self, piece: String) -> Self {
        let mut setup = self.setup.clone();
        setup.task.retain(|part| matches!(part, Part::Text { anchor: true, .. }));
        setup.task.push(Part::text(piece));
        Self::new(self.client.clone(), setup, None)
    }

    /// What a person decided and it was told in another way: kept for good.
    pub fn note(&mut self, words: &str) {
        self.setup.facts.tell(words);
    }

    /// What others used on its behalf.
    pub fn charge(&mut self, used: Tokens) {
        self.used = self.used.plus(used);
    }

    /// The tokens of the next request, as the provider will count them.
    pub fn size(&self) -> usize {
        self.counted(self.history.tokens())
    }

    /// Tokens of a request with so many of ours in its messages, as the provider will count them.
    fn counted(&self, messages: usize) -> usize {
        ((messages + self.fixed) as f64 * self.ratio).ceil() as usize
    }

    /// Asks, and appends the answer.
    pub async fn ask(&mut self, cancel: &CancellationToken, on: OnDelta<'_>) -> Result<Answer, CallError> {
        self.make_room(cancel).await?;
        let mut shortened = 0;
        loop {
            let counted = self.history.tokens() + self.fixed;
            let body = self.render(&self.choice, &self.history);
            match self.client.call(body, cancel, &mut *on).await {
                Ok(answer) => {
                    self.account(&answer, counted);
                    self.history.push(Entry::Answer { items: answer.items.clone() });
                    return Ok(answer);
                }
                Err(CallError::TooLong { .. }) if shortened < SHORTENED_MAX => {
                    // The window is smaller than its family's, or its tokens are.
                    shortened += 1;
                    self.window = Window { room: self.window.room / 2, ..Window::new(self.window.room as u64, 0) };
                    self.summarise(cancel).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn render(&self, choice: &Choice, history: &History) -> Vec<u8> {
        let (settings, system) = (&self.setup.settings, self.setup.system.as_str());
        self.client.api().render(&Request { settings, system, tools: &self.tools, choice, history })
    }

    fn account(&mut self, answer: &Answer, counted: usize) {
        self.used = self.used.plus(answer.tokens);
        if answer.tokens.input > 0 && counted > 0 {
            self.ratio = (answer.tokens.input as f64 / counted as f64).clamp(*RATIO.start(), *RATIO.end());
        }
    }

    async fn make_room(&mut self, cancel: &CancellationToken) -> Result<(), CallError> {
        // Else each answer would be followed by a summary, and every result be gone before it is read.
        let (needs, room) = (self.counted(self.task), self.window.opening);
        if needs > room {
            return Err(CallError::NoRoom { needs, room });
        }
        if self.size() > self.window.fold_at
            && let Some(folded) = window::fold(&self.history, self.window.room)
        {
            self.history.begin(folded);
        }
        if self.size() > self.window.summarise_at { self.summarise(cancel).await } else { Ok(()) }
    }

    /// Begins anew with the task, a summary, and every fact that must be kept.
    async fn summarise(&mut self, cancel: &CancellationToken) -> Result<(), CallError> {
        let summary = match self.ask_for_summary(cancel).await {
            Ok(summary) => summary,
            Err(CallError::TooLong { .. } | CallError::Endless(_)) => None,
            Err(error) => return Err(error),
        };
        let summary = summary.unwrap_or_else(|| self.mechanical());
        self.setup.facts.keep(&summary.keep);
        let mut opening = self.opening(&summary);
        // What the model itself wanted kept goes first, the oldest of it; what people and the job said stays.
        while self.counted(opening.tokens()) > self.window.summarise_at && self.setup.facts.forget() {
            opening = self.opening(&summary);
        }
        self.history.begin(vec![opening]);
        self.summaries += 1;
        let (needs, room) = (self.size(), self.window.summarise_at);
        if needs > room { Err(CallError::NoRoom { needs, room }) } else { Ok(()) }
    }

    /// What a new generation begins with: the task, the summary, and every fact that must be kept.
    fn opening(&self, summary: &Summary) -> Entry {
        let limit = (self.window.summary as f64 / self.ratio) as usize;
        let mut text = summary.render(&self.setup.facts, limit);
        let missing = self.setup.facts.missing(&text);
        if !missing.is_empty() {
            text.push_str(&format!("- {}\n", missing.join("\n- ")));
        }
        let mut parts = self.setup.task.clone();
        parts.push(Part::text(format!(
            "You have worked on this before; this is what you wrote down, the rest of the conversation is gone. Files are as \
             you left them. Go on.\n\n{text}"
        )));
        Entry::User { parts }
    }

    /// What the model writes; `None` if that is no summary.
    async fn ask_for_summary(&mut self, cancel: &CancellationToken) -> Result<Option<Summary>, CallError> {
        let mut asked = self.history.clone();
        asked.push(Entry::user(summary::ASK));
        let choice = if self.setup.profile.by_schema { Choice::Schema(Summary::schema()) } else { Choice::Words };
        let body = self.render(&choice, &asked);
        let answer = self.client.call(body, cancel, &mut |_| {}).await?;
        self.used = self.used.plus(answer.tokens);
        Ok(Summary::parse(&answer.text()))
    }

    /// Without the model: its last words, and the paths its calls named.
    fn mechanical(&self) -> Summary {
        let mut summary = Summary::default();
        for entry in self.history.entries().iter().rev() {
            let Entry::Answer { items } = entry else { continue };
            for item in items {
                match item {
                    super::history::Item::Text { text } if summary.done.len() < 10 => {
                        summary.done.insert(0, longhaul_common::text::clip_head(text, 500).to_owned());
                    }
                    super::history::Item::Call(call) => {
                        let path = call.input.object()["path"].as_str().map(str::to_owned);
                        summary.files.extend(path.filter(|path| !summary.files.contains(path)));
                    }
                    _ => {}
                }
            }
        }
        summary.files.truncate(50);
        summary
    }
}
