//! Telling the coordinator how this worker's own service is reached.
//!
//! It goes over the gRPC connection on which the worker is known and the server too: not over the
//! bus, where others may read, nor to a server that clear text leads to. A coordinator keeps it in
//! memory only, so it is said again and again; one that comes up knows it after [`EVERY`].

use std::time::Duration;

use longhaul_common::server::{ServerAccess, ServerError, is_private};
use longhaul_proto::Introduction;
use longhaul_proto::results_client::ResultsClient;
use tokio_util::sync::CancellationToken;

/// Time between two introductions.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long one may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why nobody is told.
#[derive(Debug, thiserror::Error)]
pub enum IntroduceError {
    /// Everyone on the way would read what opens the service.
    #[error(
        "--listen needs a server that is reached by https://, or on this machine: what opens this worker's service \
         would travel in clear text to {url}"
    )]
    Clear {
        /// Of the server.
        url: String,
    },
    /// The connection cannot be set up.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Tells it until `stop`, from a task of its own.
pub fn introduce(
    server: &ServerAccess,
    introduction: Introduction,
    stop: CancellationToken,
) -> Result<(), IntroduceError> {
    if !is_private(&server.url) {
        return Err(IntroduceError::Clear { url: server.url.clone() });
    }
    let mut client = ResultsClient::new(server.connect()?);
    tokio::spawn(async move {
        let mut trouble = String::new();
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            let said = tokio::time::timeout(ANSWER_MAX, client.introduce(introduction.clone())).await;
            let now = match said {
                Ok(Ok(_)) => String::new(),
                Ok(Err(status)) => format!("{}: {}", status.code().description(), status.message()),
                Err(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
            };
            if !now.is_empty() && now != trouble {
                tracing::warn!(cause = now, "the server does not know how this worker is reached; trying again");
            }
            trouble = now;
        }
    });
    Ok(())
}
