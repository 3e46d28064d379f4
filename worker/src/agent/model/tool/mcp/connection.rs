//! The conversation with a server, for the protocol's crate: whole lines of a bounded length, and why
//! there are no more.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;

use crate::agent::talk::{Nonsense, TalkError};
use crate::process::talk::{Input, LineError, Lines, Talk};

/// Longest piece of a message that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 300;

/// Why a conversation is over; the crate says no more than that it is.
#[derive(Clone, Debug, Default)]
pub struct Why(Arc<Mutex<Option<TalkError>>>);

impl Why {
    fn set(&self, error: TalkError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// In words; `None` where it ended as others do.
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ToString::to_string)
    }
}

/// A conversation; the server's input ends with it.
pub struct Connection {
    lines: Lines,
    input: Arc<tokio::sync::Mutex<Input>>,
    nonsense: Nonsense,
    why: Why,
}

impl Connection {
    /// Over the pipes of a program.
    pub fn new(talk: Talk, why: Why) -> Self {
        let input = Arc::new(tokio::sync::Mutex::new(talk.input));
        Self { lines: talk.lines, input, nonsense: Nonsense::default(), why }
    }

    async fn next(&mut self) -> Result<Option<RxJsonRpcMessage<RoleClient>>, TalkError> {
        while let Some(line) = self.lines.next().await? {
            let Ok(message) = self.nonsense.read(&line)? else { continue };
            if let Some(message) = read(message)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// A message as the crate knows it; `None` for one of a kind that it does not. An answer that cannot be
/// read is the end, for somebody waits for it.
fn read(message: Value) -> Result<Option<RxJsonRpcMessage<RoleClient>>, TalkError> {
    let answers = message.get("method").is_none();
    let shown = || longhaul_common::text::clip_head(&message.to_string(), SHOWN_BYTES_MAX).to_owned();
    match serde::Deserialize::deserialize(&message) {
        Ok(message) => Ok(Some(message)),
        Err(error) if answers => Err(TalkError::Broken { cause: error.to_string(), line: shown() }),
        Err(error) => {
            tracing::debug!(%error, "a message of an mcp server is passed over");
            Ok(None)
        }
    }
}

impl Transport<RoleClient> for Connection {
    type Error = LineError;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), LineError>> + Send + 'static {
        let input = Arc::clone(&self.input);
        async move {
            let line = serde_json::to_string(&message).map_err(io::Error::from)?;
            input.lock().await.write_line(&line).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        match self.next().await {
            Ok(message) => message,
            Err(error) => {
                self.why.set(error);
                None
            }
        }
    }

    async fn close(&mut self) -> Result<(), LineError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_of_no_known_kind_is_passed_over_and_a_broken_answer_is_not() {
        let call = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "x"}]}});
        assert!(read(call).is_ok_and(|message| message.is_some()));
        let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        assert!(read(changed).is_ok_and(|message| message.is_some()));
        assert!(read(json!({"method": 7})).is_ok_and(|message| message.is_none()));
        for answer in [json!({"jsonrpc": "1.0", "id": 1, "result": {}}), json!({"id": 1}), json!({})] {
            assert!(matches!(read(answer), Err(TalkError::Broken { .. })));
        }
    }
}
