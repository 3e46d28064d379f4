//! Requests for approval: answered by the policy, or by a person while the turn waits.

use longhaul_common::question::decided;
use longhaul_proto::{Answer as Said, Decision};
use serde_json::{Value, json};

use super::super::read::{ELICITATION, approval};
use super::{Client, Open};
use crate::agent::talk::{AgentEvent, Answer, Ruled, Setting, TalkError, Waiting};
use crate::asking::Waited;

impl Client<'_> {
    /// Answers a request of the server: a question of permission by the policy, all else with no.
    pub(super) async fn answer(&mut self, method: &str, request: &Value) -> Result<(), TalkError> {
        let elicited = method == ELICITATION;
        let Some((id, asked, title)) = approval(method, &request["params"]) else {
            let message = format!("longhaul does not answer {method}");
            self.witness.tell(&AgentEvent::Warning { message: message.clone() });
            if elicited {
                // A server of tools wants a form filled in, for which nobody is there.
                return self.write(&json!({"id": request["id"], "result": {"action": "decline"}})).await;
            }
            return self.write(&json!({"id": request["id"], "error": {"code": -32601, "message": message}})).await;
        };
        self.witness.tell(&AgentEvent::PermissionAsked { id: id.clone(), kind: asked.kind, title: title.clone() });
        let ruled = self.policy.answer(&asked, &title);
        let open = Open { request: request["id"].clone(), elicited, id, asked, title };
        if ruled.question.is_some() && self.asks.patience().is_some() {
            self.open.push_back(open);
            return Ok(());
        }
        self.reply(open, ruled).await
    }

    async fn reply(&mut self, open: Open, ruled: Ruled) -> Result<(), TalkError> {
        let Ruled { answer, why, question } = ruled;
        let decision = match answer {
            Answer::Allow => "accept",
            // The turn goes on and the model is told.
            Answer::Reject => "decline",
            // The turn ends.
            Answer::Ask => "cancel",
        };
        if question.is_some() {
            self.asked = question;
        }
        self.witness.tell(&AgentEvent::PermissionAnswered { id: open.id, answer, why });
        let result = if open.elicited { json!({"action": decision}) } else { json!({"decision": decision}) };
        self.write(&json!({"id": open.request, "result": result})).await
    }

    /// Asks a person what is open first; what was decided meanwhile is answered.
    pub(super) async fn next_question(&mut self, setting: &Setting) -> Result<Option<Waiting>, TalkError> {
        while let Some(open) = self.open.pop_front() {
            let ruled = self.policy.answer(&open.asked, &open.title);
            let Some(question) = ruled.question.as_ref().filter(|_| self.asks.patience().is_some()) else {
                self.reply(open, ruled).await?;
                continue;
            };
            let question = setting.question(question);
            self.open.push_front(open);
            self.witness.tell(&self.asks.event(&question));
            let asks = self.asks.clone();
            return Ok(Some(Box::pin(async move { asks.ask(question).await })));
        }
        Ok(None)
    }

    /// What came of asking; words that have to be said to it.
    pub(super) async fn waited(&mut self, waited: Waited) -> Result<Option<String>, TalkError> {
        match waited {
            Waited::Told(decision) => self.told(&decision).await,
            Waited::Late => {
                // The session ends with the first; nobody is asked for the others.
                for open in std::mem::take(&mut self.open).into_iter().rev() {
                    let ruled = self.policy.answer(&open.asked, &open.title);
                    self.reply(open, ruled).await?;
                }
                Ok(None)
            }
            // So is the session.
            Waited::Cancelled => Ok(None),
        }
    }

    async fn told(&mut self, decision: &Decision) -> Result<Option<String>, TalkError> {
        self.policy.learn(decision);
        let refused = if decision.answer() == Said::Yes { None } else { self.open.pop_front() };
        let Some(open) = refused else { return Ok(None) };
        self.reply(open, Ruled::refused(decision)).await?;
        // A bare no is an answer that it understands by itself.
        Ok((!decision.text.is_empty()).then(|| decided(decision)))
    }
}
