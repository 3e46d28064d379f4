//! One turn: what is said, what is said into it, how it is ended, and the compaction between two.

use serde_json::json;

use super::{ANSWER_MAX, COMPACT_ABOVE_PERCENT, Client, input, message};
use crate::agent::talk::{AgentEvent, CANCEL_MAX, Setting, TalkError, TurnEnd, Waiting, waited};

impl Client<'_> {
    /// One turn, from what is said to its end.
    pub(super) async fn turn(
        &mut self,
        setting: &mut Setting,
        text: String,
        steers: bool,
    ) -> Result<TurnEnd, TalkError> {
        let mut params = json!({"threadId": self.thread, "input": input(&text)});
        if !self.codex.effort.is_empty() {
            params["effort"] = self.codex.effort.clone().into();
        }
        self.witness.tell(&AgentEvent::Told { text, steers });
        (self.turn, self.ended) = (None, None);
        let limit = setting.idle.map_or(ANSWER_MAX, |idle| idle.min(ANSWER_MAX));
        let started = self.call("turn/start", params, limit).await.map_err(|error| match error {
            TalkError::NoAnswer { limit, .. } if setting.idle == Some(limit) => TalkError::Silent(limit),
            other => other,
        })?;
        if self.ended.is_none() {
            self.turn = started["turn"]["id"].as_str().map(str::to_owned);
        }
        let mut listening = true;
        let mut waiting: Option<Waiting> = None;
        loop {
            if waiting.is_none() {
                waiting = self.next_question(setting).await?;
            }
            if let Some(question) = self.asked.take() {
                self.leave_turn().await;
                return Err(TalkError::Asked(question));
            }
            if let Some(end) = self.ended.take() {
                self.open.clear();
                return Ok(end);
            }
            let silence = self.witness.silence(setting.idle.filter(|_| waiting.is_none()));
            tokio::select! {
                biased;
                () = setting.cancel.cancelled() => {
                    self.interrupt().await;
                    return Err(TalkError::Cancelled);
                }
                waited = waited(&mut waiting) => {
                    waiting = None;
                    self.witness.heard();
                    self.witness.tell(&waited.event());
                    if let Some(words) = self.waited(waited).await? {
                        self.steer(words).await?;
                    }
                }
                message = message(&mut self.lines, &mut self.nonsense, self.witness) => self.take(message?).await?,
                words = setting.words.recv(), if listening => match words {
                    Some(words) => self.steer(words).await?,
                    None => listening = false,
                },
                limit = silence => {
                    self.interrupt().await;
                    return Err(TalkError::Silent(limit));
                }
            }
        }
    }

    /// Words into the running turn; if it ended meanwhile, they are a turn of their own.
    async fn steer(&mut self, words: String) -> Result<(), TalkError> {
        let params = json!({"threadId": self.thread, "expectedTurnId": self.turn, "input": input(&words)});
        self.witness.tell(&AgentEvent::Told { text: words.clone(), steers: true });
        match self.call("turn/steer", params, ANSWER_MAX).await {
            Ok(_) => Ok(()),
            Err(TalkError::Answered { .. }) if self.ended.is_some() => {
                let params = json!({"threadId": self.thread, "input": input(&words)});
                (self.turn, self.ended) = (None, None);
                let started = self.call("turn/start", params, ANSWER_MAX).await?;
                self.turn = started["turn"]["id"].as_str().map(str::to_owned);
                Ok(())
            }
            Err(TalkError::Answered { message, .. }) => {
                let message = format!("the words were not taken: {message}");
                self.witness.tell(&AgentEvent::Warning { message });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Stops the turn; whether that worked, the end of the process shows anyway.
    async fn interrupt(&mut self) {
        let Some(turn) = self.turn.clone() else { return };
        let params = json!({"threadId": self.thread, "turnId": turn});
        let stopping = async {
            self.call("turn/interrupt", params, CANCEL_MAX).await?;
            while self.ended.is_none() {
                let next = message(&mut self.lines, &mut self.nonsense, self.witness).await?;
                self.take(next).await?;
            }
            Ok::<_, TalkError>(())
        };
        let stopped = matches!(tokio::time::timeout(CANCEL_MAX, stopping).await, Ok(Ok(())));
        if let Some(end) = self.ended.take().filter(|_| stopped) {
            self.witness.tell(&AgentEvent::TurnEnded { end });
        }
    }

    /// Waits a moment for the end of a turn that was told to end.
    async fn leave_turn(&mut self) {
        let ending = async {
            while self.ended.is_none() {
                let next = message(&mut self.lines, &mut self.nonsense, self.witness).await?;
                self.take(next).await?;
            }
            Ok::<_, TalkError>(())
        };
        match tokio::time::timeout(CANCEL_MAX, ending).await {
            Ok(_) => {
                if let Some(end) = self.ended.take() {
                    self.witness.tell(&AgentEvent::TurnEnded { end });
                }
            }
            Err(_) => self.interrupt().await,
        }
    }

    /// Compacts the history between two turns when it is due.
    pub(super) async fn compact(&mut self, setting: &Setting) -> Result<(), TalkError> {
        let (filled, window) = self.filled;
        if window == 0 || filled.saturating_mul(100) <= window.saturating_mul(COMPACT_ABOVE_PERCENT) {
            return Ok(());
        }
        (self.turn, self.ended) = (None, None);
        self.call("thread/compact/start", json!({"threadId": self.thread}), ANSWER_MAX).await?;
        while self.ended.take().is_none() {
            let silence = self.witness.silence(setting.idle);
            tokio::select! {
                biased;
                () = setting.cancel.cancelled() => return Err(TalkError::Cancelled),
                next = message(&mut self.lines, &mut self.nonsense, self.witness) => self.take(next?).await?,
                limit = silence => return Err(TalkError::Silent(limit)),
            }
        }
        Ok(())
    }
}
