//! What came of a call of a tool, for the model and for who watches it.

use std::path::Path;

use longhaul_proto::{Part as PartOfWork, Question};

use super::super::history::Part;
use super::exec::{Ran, State};
use super::output::bounded;
use crate::failure::silent;
use crate::process::ProcessEnd;

/// What came of a call.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the model gets.
    pub parts: Vec<Part>,
    /// The call itself was wrong.
    pub failed: bool,
    /// It failed, or the program it ran did.
    pub wrong: bool,
    /// It looked at something that runs: the same again is no repetition.
    pub polled: bool,
    /// The file that holds all of it.
    pub file: Option<String>,
    /// What it changed.
    pub edits: Vec<Edited>,
    /// What the work has to wait for.
    pub asks: Option<Wanted>,
}

/// What ends the turns before the work is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A person's answer.
    Answer(Box<Question>),
    /// That these parts are done first.
    Parts(Vec<PartOfWork>),
}

/// A file that a tool changed, by hashes of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The file.
    pub path: String,
    /// Before.
    pub before: [u8; 32],
    /// After.
    pub after: [u8; 32],
}

impl Outcome {
    /// An error for the model.
    pub fn error(message: impl Into<String>) -> Self {
        Self { parts: vec![Part::text(message)], failed: true, wrong: true, ..Self::default() }
    }

    /// Nothing was done yet: a person is asked.
    pub fn asks(question: Question) -> Self {
        let words = "Not done: a person is asked. You are told the answer before you go on.";
        Self { asks: Some(Wanted::Answer(Box::new(question))), ..Self::said(words) }
    }

    /// Words for the model.
    pub fn said(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::text(text)], ..Self::default() }
    }

    /// The words of it.
    pub fn text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text { text, .. } => text.clone(),
            Part::Image(image) => format!("[a picture of {} x {} pixels]", image.width, image.height),
        };
        self.parts.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}

/// What a command said and how it stands, as Codex says it.
pub(super) fn reported(ran: &Ran, bytes_max: usize) -> Outcome {
    let stands = match &ran.state {
        State::Running(number) => format!("Process running with session ID {number}"),
        State::Ended(ProcessEnd::Exited(code)) => format!("Process exited with code {code}"),
        State::Ended(end) => format!("Process did not end by itself: {}", words(end)),
    };
    let file = ran.file.display().to_string();
    let output = bounded(ran.output.trim_end(), bytes_max, Some(&file));
    let wrong = !matches!(ran.state, State::Running(_) | State::Ended(ProcessEnd::Exited(0)));
    let has_file = Path::new(&file).is_file() && ran.output.len() > 400;
    Outcome { wrong, file: has_file.then_some(file), ..Outcome::said(format!("{stands}\nOutput:\n{output}")) }
}

fn words(end: &ProcessEnd) -> String {
    match end {
        ProcessEnd::Exited(code) => format!("exit code {code}"),
        ProcessEnd::Signalled(signal) => format!("ended by signal {signal}"),
        ProcessEnd::TimedOut => "it took too long and was ended".to_owned(),
        ProcessEnd::Silent(limit) => silent("it", *limit),
        ProcessEnd::Cancelled => "cancelled".to_owned(),
        ProcessEnd::NotStarted(why) => format!("it could not be started: {why}"),
        ProcessEnd::Lost => "it was lost".to_owned(),
        ProcessEnd::OverLimit(what) => format!("it was ended: {what}"),
    }
}
