//! What the loop around a model does its work with: the tools, the checks, the workspace, the record.

use std::sync::Arc;

use longhaul_common::question::{decided, wants_words};
use longhaul_common::text::clip_head;
use longhaul_proto::{Answer, Failure, FailureClass, Question};

use crate::agent::model::{Call, Conversation, Does, Hands, Note, Outcome, SessionFile, Tokens, Toolbox, Wanted};
use crate::agent::talk::{AgentEvent, ToolKind, Totals, Witness};
use crate::asking::Waited;
use crate::commit::{Snapshot, StageError, snapshot_aside};
use crate::execute::checking::{Bench, left};
use crate::execute::{Attempt, told_of};
use crate::session::Told;
use crate::wip::Saver;
use crate::workspace::Slot;

/// Longest part of what a tool is given that is shown to watchers, in bytes.
const TITLE_BYTES_MAX: usize = 200;

/// What the loop does its work with: the tools, the checks, the workspace.
pub(super) struct Workshop<'a> {
    pub(super) agent: &'a str,
    /// Decisions that the conversation does not keep yet.
    pub(super) learned: Vec<String>,
    pub(super) bench: Bench<'a>,
    pub(super) left: Option<&'a regex::bytes::Regex>,
    pub(super) toolbox: Toolbox,
    pub(super) witness: Witness,
    pub(super) totals: Totals,
    pub(super) session: &'a mut SessionFile,
    /// Of people, while it works.
    pub(super) words: tokio::sync::mpsc::Receiver<String>,
    /// Something may have changed since the diff was taken.
    pub(super) touched: bool,
    pub(super) diff: [u8; 32],
    pub(super) turn: u32,
}

impl Workshop<'_> {
    /// Waits for a person with a question, and does the call with the answer; `None` when there is none.
    async fn ask(&mut self, does: Does, call: &Call, question: &Question) -> Option<Outcome> {
        let asks = self.bench.execution.asks.clone();
        asks.patience()?;
        let question = Question { agent: self.agent.to_owned(), ..question.clone() };
        self.witness.tell(&asks.event(&question));
        let waited = asks.ask(question.clone()).await;
        self.witness.tell(&waited.event());
        let decision = match waited {
            Waited::Told(decision) => decision,
            Waited::Late => return None,
            Waited::Cancelled => return Some(Outcome::error("not done: it was ended")),
        };
        self.toolbox.learn(&decision);
        let words = decided(&decision);
        self.learned.push(words.clone());
        // A yes lets it be done; words are the answer to words, and advice to all else.
        let goes_on = wants_words(&question) || decision.answer() == Answer::Yes;
        Some(if goes_on { self.toolbox.call(does, call).await } else { Outcome::error(format!("not done: {words}")) })
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Box<Failure>> {
        let (base, exclusions) = (self.bench.execution.base, self.bench.execution.exclusions());
        let taken = move |slot: &Slot| snapshot_aside(slot, "loop-index", base, &exclusions);
        let taken = self.bench.execution.blocking(taken);
        match taken.await.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok(snapshot) => Ok(snapshot),
            Err(StageError::Refused(failure)) => Err(failure),
            Err(StageError::Broken(error)) => Err(Box::new(error.into())),
        }
    }
}

impl Hands for Workshop<'_> {
    async fn call(&mut self, does: Does, call: &Call) -> Outcome {
        self.witness.tell(&AgentEvent::ToolStarted {
            id: call.id.clone(),
            kind: kind_of(does),
            title: format!("{} {}", call.name, clip_head(call.input.text(), TITLE_BYTES_MAX)),
            input: call.input.object(),
        });
        let mut outcome = self.toolbox.call(does, call).await;
        while let Some(Wanted::Answer(question)) = &outcome.asks {
            let question = question.clone();
            match self.ask(does, call, &question).await {
                Some(answered) => outcome = answered,
                None => break,
            }
        }
        let runs = matches!(does, Does::Exec | Does::WriteStdin | Does::Shell | Does::Bash | Does::Mcp);
        self.touched |= runs || !outcome.edits.is_empty();
        let (id, failed) = (call.id.clone(), outcome.failed);
        self.witness.tell(&AgentEvent::ToolEnded { id, failed, output: outcome.text() });
        outcome
    }

    async fn check(&mut self) -> Result<Option<String>, Box<Failure>> {
        // A server left running would hold the ports that checks want.
        self.toolbox.close().await;
        let changed = match self.snapshot().await {
            Ok(snapshot) => Attempt::changed_files(&snapshot),
            Err(failure) => return report(told_of(Err(failure))),
        };
        let left = left(self.bench.execution, self.bench.work, self.left).await;
        let left = left.map_err(|error| Box::new(Failure::from(error)))?;
        if !left.is_empty() {
            let report = format!("The work is not done: these files still match what had to go: {}", left.join(", "));
            self.witness.tell(&AgentEvent::CheckFailed { report: report.clone() });
            return Ok(Some(report));
        }
        for number in 0..self.bench.checks() {
            if let Some(report) = report(self.bench.check(number, changed.clone()).await)? {
                self.witness.tell(&AgentEvent::CheckFailed { report: report.clone() });
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    async fn diff(&mut self) -> Result<[u8; 32], Box<Failure>> {
        if std::mem::take(&mut self.touched) {
            self.diff = match self.snapshot().await {
                Ok(snapshot) => *blake3::hash(&snapshot.tree.0).as_bytes(),
                // What cannot be a tree is refused at the end, with its reason; here it is a change.
                Err(failure) if failure.class() == FailureClass::Result => {
                    *blake3::hash(failure.message.as_bytes()).as_bytes()
                }
                Err(failure) => return Err(failure),
            };
        }
        Ok(self.diff)
    }

    fn turn_ended(&mut self, conversation: &Conversation) {
        self.turn += 1;
        meter(&mut self.witness, &mut self.totals, conversation.used());
        let slot: &Arc<Slot> = &self.bench.execution.slot;
        let written = self.session.write(conversation.history(), conversation.facts());
        let noted = written.and_then(|()| Saver::note_turn(slot, &self.turn.to_string()));
        if let Err(error) = noted {
            tracing::warn!(%error, "the conversation of a loop is not kept");
        }
    }

    fn note(&mut self, note: Note<'_>) {
        let told = |text: &str| AgentEvent::Told { text: text.to_owned(), steers: false };
        match note {
            Note::Said(text) => self.witness.tell(&AgentEvent::Text { text: text.to_owned() }),
            Note::Told(text) => self.witness.tell(&told(text)),
            Note::Folded => self.witness.tell(&AgentEvent::Folded),
            Note::Summarised(text) => {
                self.witness.tell(&AgentEvent::Compacted);
                self.witness.tell(&told(text));
            }
        }
    }

    fn learned(&mut self) -> Vec<String> {
        std::mem::take(&mut self.learned)
    }

    fn heard(&mut self) -> Vec<String> {
        let heard: Vec<String> = std::iter::from_fn(|| self.words.try_recv().ok()).collect();
        for words in &heard {
            self.witness.tell(&AgentEvent::Told { text: words.clone(), steers: true });
        }
        heard
    }
}

fn kind_of(does: Does) -> ToolKind {
    match does {
        Does::Exec | Does::WriteStdin | Does::Shell | Does::Bash => ToolKind::Execute,
        Does::ApplyPatch | Does::TextEditor | Does::Edit => ToolKind::Edit,
        Does::ReadFile | Does::Search | Does::ViewImage => ToolKind::Read,
        Does::UpdatePlan | Does::Delegate | Does::Ask | Does::Split | Does::Finish | Does::Mcp => ToolKind::Other,
    }
}

/// What was used since the last time, if anything was.
pub(super) fn meter(witness: &mut Witness, totals: &mut Totals, all: Tokens) {
    let since = totals.take(all);
    if since != Tokens::default() {
        witness.tell(&AgentEvent::Usage(since));
    }
}

/// What a model is told of a check; `None` when it passed.
fn report(told: Told) -> Result<Option<String>, Box<Failure>> {
    match told {
        Told::Done => Ok(None),
        Told::Broken(failure) => Err(failure),
        Told::Refused(failure) => {
            let words = "The work is not done yet. A check of the task fails:";
            Ok(Some(format!("{words}\n{}\n\n{}", failure.message, failure.detail)))
        }
    }
}
