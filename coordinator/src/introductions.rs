//! How workers' own services are reached: what each handed over for its own, and nothing else.
//!
//! An endpoint, the token that opens it and the certificate it is known by come together, from the
//! worker itself, over the connection on which it is known. What is sent to an endpoint opens that
//! one service and no other, so a worker that names another's endpoint learns nothing and opens
//! nothing. Kept in memory only: workers say it again every few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longhaul_common::WorkerName;
use longhaul_common::server::{Connection, connect_to_worker, is_private};
use longhaul_common::text::without_user;
use longhaul_proto::Introduction;
use longhaul_proto::worker_client::WorkerClient;
use tokio::sync::watch;

use crate::fleet::WORKERS_MAX;

/// How long a worker that says it has a service may take to introduce it: longer than it waits
/// between two times.
const INTRODUCED_MAX: Duration = Duration::from_secs(8);

/// Longest endpoint and token in bytes.
const WORD_BYTES_MAX: usize = 512;

/// Longest certificate in bytes.
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Why an introduction is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionError {
    /// Clear text on the network.
    #[error(
        "{endpoint} is plain text on the network: nothing is sent there; restart the worker, which makes its own TLS"
    )]
    Clear {
        /// As given, without a user.
        endpoint: String,
    },
    /// TLS without a certificate to know it by.
    #[error("{endpoint} comes without its certificate: anybody could answer there")]
    Unknown {
        /// As given, without a user.
        endpoint: String,
    },
    /// Without a token its service is open to everybody.
    #[error("{endpoint} comes without a token: its service would let anybody in")]
    Open {
        /// As given, without a user.
        endpoint: String,
    },
    /// Not what any worker of ours says.
    #[error("it is no introduction: {0}")]
    Malformed(String),
    /// There are as many as there may be.
    #[error("{WORKERS_MAX} workers have introduced themselves already")]
    TooMany,
}

type Known = BTreeMap<String, Result<Introduction, IntroductionError>>;

/// What workers said of their services; clones share it.
#[derive(Clone, Debug)]
pub struct Introductions(Arc<watch::Sender<Known>>);

impl Default for Introductions {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Known::new())))
    }
}

impl Introductions {
    /// Takes a worker's word for its own service; the caller has made sure that it is the worker's.
    /// One that is refused replaces what was known before: the old one is not there any more.
    pub fn note(&self, introduction: Introduction) -> Result<(), IntroductionError> {
        let worker = introduction.worker.clone();
        if worker.parse::<WorkerName>().is_err() {
            return Err(IntroductionError::Malformed("the worker's name is none".to_owned()));
        }
        let checked = check(&introduction);
        let mut full = false;
        self.0.send_modify(|known| {
            full = known.len() >= WORKERS_MAX && !known.contains_key(&worker);
            if !full {
                known.insert(worker, checked.clone().map(|()| introduction));
            }
        });
        if full { Err(IntroductionError::TooMany) } else { checked }
    }

    /// Where a worker's service is, or why nothing is sent to it; `None` before it said anything.
    pub fn endpoint(&self, worker: &str) -> Option<Result<String, IntroductionError>> {
        let known = self.0.borrow();
        known.get(worker).map(|said| said.as_ref().map(|said| said.endpoint.clone()).map_err(Clone::clone))
    }

    /// A client of a worker's own service, waiting a little for one that has just come, or for its
    /// next word to a coordinator that has. The error says why there is none.
    pub async fn client(&self, worker: &str) -> Result<WorkerClient<Connection>, String> {
        let mut known = self.0.subscribe();
        let said = tokio::time::timeout(INTRODUCED_MAX, known.wait_for(|known| known.contains_key(worker))).await;
        let said = said.ok().and_then(Result::ok).and_then(|known| known.get(worker).cloned());
        let said = said.ok_or_else(|| format!("{worker} has not said how its own service is reached"))?;
        let said = said.map_err(|error| format!("{worker}'s own service is not spoken to: {error}"))?;
        let connection = connect_to_worker(&said.endpoint, &said.token, &said.certificate);
        Ok(WorkerClient::new(connection.map_err(|error| error.to_string())?))
    }
}

fn check(said: &Introduction) -> Result<(), IntroductionError> {
    let long = |text: &str| text.len() > WORD_BYTES_MAX;
    if long(&said.endpoint) || long(&said.token) || said.certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(IntroductionError::Malformed("it is too long".to_owned()));
    }
    let endpoint = without_user(&said.endpoint);
    if !is_private(&said.endpoint) {
        return Err(IntroductionError::Clear { endpoint });
    }
    if said.endpoint.starts_with("https://") && said.certificate.is_empty() {
        return Err(IntroductionError::Unknown { endpoint });
    }
    if said.token.is_empty() {
        return Err(IntroductionError::Open { endpoint });
    }
    connect_to_worker(&said.endpoint, &said.token, &said.certificate)
        .map(drop)
        .map_err(|error| IntroductionError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(endpoint: &str, token: &str) -> Introduction {
        Introduction { worker: "w".into(), endpoint: endpoint.into(), token: token.into(), certificate: String::new() }
    }

    #[tokio::test]
    async fn nothing_is_sent_in_clear_text_or_to_whom_nobody_knows() {
        longhaul_common::tls::install();
        let all = Introductions::default();
        assert_eq!(all.endpoint("w"), None);
        assert_eq!(all.note(said("http://127.0.0.1:1", "t")), Ok(()));
        assert_eq!(all.endpoint("w"), Some(Ok("http://127.0.0.1:1".to_owned())));
        all.client("w").await.expect("known");
        let far = IntroductionError::Clear { endpoint: "http://10.0.0.1:1".into() };
        assert_eq!(all.note(said("http://ada:x@10.0.0.1:1", "t")), Err(far.clone()));
        assert_eq!(all.endpoint("w"), Some(Err(far)), "it takes the place of what was there");
        let words = all.client("w").await.expect_err("not spoken to");
        assert!(words.contains("plain text") && !words.contains("ada"), "{words}");
        let unknown = all.note(said("https://10.0.0.1:1", "t")).expect_err("no certificate");
        assert!(matches!(unknown, IntroductionError::Unknown { .. }));
        assert!(matches!(all.note(said("http://127.0.0.1:1", "")), Err(IntroductionError::Open { .. })));
        let long = all.note(said("http://127.0.0.1:1", &"t".repeat(600)));
        assert!(matches!(long, Err(IntroductionError::Malformed(_))));
        let nobody = Introduction { worker: "../w".into(), ..said("http://127.0.0.1:1", "t") };
        assert!(matches!(all.note(nobody), Err(IntroductionError::Malformed(_))));
    }

    #[tokio::test]
    async fn one_who_has_just_come_is_waited_for() {
        longhaul_common::tls::install();
        let all = Introductions::default();
        let (client, noted) = tokio::join!(all.client("w"), async {
            tokio::task::yield_now().await;
            all.note(said("http://127.0.0.1:1", "t"))
        });
        assert!(client.is_ok() && noted.is_ok());
    }
}
