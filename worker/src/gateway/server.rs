//! The gateway's life: listening, its books, how it ends.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use globset::{Glob, GlobSet, GlobSetBuilder};
use longhaul_common::price::Tokens;
use longhaul_common::text::clip_head;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::calls::Calls;
use super::config::{GatewayConfig, Provider, Recording};
use super::forward;
use super::ledger::{Exceeded, Ledger, Used, Worst};
use super::record::{Entry, Recorder, Replayer, Writing};

/// Random bytes of a throwaway key.
const KEY_BYTES: usize = 24;

/// How long calls under way may take to notice that the gateway ends.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How long a connection to a provider may take.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Refusals of the key in a row that end the attempt: programs that take them for troubles of the
/// moment would ask for ever.
const REFUSED_MAX: u32 = 4;

/// Bytes of a refusal that are shown.
const SAID_BYTES_MAX: usize = 300;

/// Why a gateway ended the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A provider's limit is over only later than is waited for: the attempt parks until then.
    ProviderLimit {
        /// Its name.
        provider: String,
        /// When it is over, in milliseconds since the epoch.
        until_ms: i64,
    },
    /// The allowance does not cover the next call.
    BudgetUsedUp {
        /// What does not fit, in words.
        what: String,
    },
    /// What the agent has read may not be sent to the provider, and all further calls would hold it.
    Barred {
        /// The file.
        path: String,
        /// The provider's name.
        provider: String,
    },
    /// A provider refused every call so far with 401 or 403: asking again is of no use.
    KeyRefused {
        /// Its name.
        provider: String,
        /// The last status, and the beginning of its text.
        said: String,
    },
}

/// A call waits for a limit: progress for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The provider's name.
    pub provider: String,
    /// Until about when, in milliseconds since the epoch.
    pub until_ms: i64,
    /// Whether the provider said so; otherwise it is the worker's share of its limits.
    pub said_by_provider: bool,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No port of loopback.
    #[error("cannot listen on loopback: {0}")]
    Listen(#[source] std::io::Error),
    /// No client to reach providers with.
    #[error("cannot set up the way to providers: {0}")]
    Client(#[source] reqwest::Error),
    /// No source of randomness.
    #[error("cannot make a key: {0}")]
    Key(#[source] std::io::Error),
    /// The record cannot be used.
    #[error("cannot use the record: {0}")]
    Record(#[source] std::io::Error),
    /// A model's pattern is no glob.
    #[error("the provider {provider} has a pattern for models that is none: {source}")]
    Models {
        /// The provider's name.
        provider: String,
        /// What is wrong.
        source: globset::Error,
    },
}

/// One attempt's way to models; it ends when it is dropped, calls under way included.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

/// What calls share.
pub(super) struct Shared {
    pub config: GatewayConfig,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
    pub replayer: Option<Replayer>,
    models: Vec<GlobSet>,
    key: String,
    recorder: Option<Recorder>,
    ledger: Mutex<Ledger>,
    used: watch::Sender<Used>,
    waiting: watch::Sender<Option<Waiting>>,
    ended: watch::Sender<Option<Outcome>>,
    /// Refusals of the key in a row.
    refused: AtomicU32,
    /// How a provider failed at the last call that came to an end.
    trouble: Mutex<Option<String>>,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1 with a key of its own.
    pub async fn start(config: GatewayConfig) -> Result<Self, GatewayError> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(GatewayError::Listen)?;
        Self::serve(config, listener)
    }

    /// Answers on a listener of loopback, which may be another network's.
    pub fn serve(mut config: GatewayConfig, listener: std::net::TcpListener) -> Result<Self, GatewayError> {
        longhaul_common::tls::install();
        let client = client(&config.providers).map_err(GatewayError::Client)?;
        let key = throwaway_key().map_err(GatewayError::Key)?;
        let real = config.providers.iter().flat_map(|provider| provider.key.0.clone());
        config.secrets = config.secrets.with(real.chain([key.clone()]));
        let (recorder, replayer) = match &config.recording {
            Recording::Off => (None, None),
            Recording::On(folder) => (Some(Recorder::open(folder).map_err(GatewayError::Record)?), None),
            Recording::Replay(folder) => (None, Some(Replayer::open(folder).map_err(GatewayError::Record)?)),
        };
        let models = config.providers.iter().map(models).collect::<Result<_, _>>()?;
        listener.set_nonblocking(true).map_err(GatewayError::Listen)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(GatewayError::Listen)?;
        let address = listener.local_addr().map_err(GatewayError::Listen)?;
        let shared = Arc::new(Shared {
            ledger: Mutex::new(Ledger::new(config.allowance)),
            config,
            client,
            stop: CancellationToken::new(),
            replayer,
            models,
            key,
            recorder,
            used: watch::Sender::default(),
            waiting: watch::Sender::default(),
            ended: watch::Sender::default(),
            refused: AtomicU32::new(0),
            trouble: Mutex::default(),
        });
        let router = axum::Router::new().fallback(forward::handle).with_state(Arc::clone(&shared));
        let stop = shared.stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
                tracing::warn!(%error, "the gateway ended");
            }
        });
        Ok(Self { address, shared, serving })
    }

    /// Where agents reach it, without a version: `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls it made, as they end.
    pub fn calls(&self) -> Calls {
        self.shared.config.calls.clone()
    }

    /// The key that agents show. It opens this gateway and nothing else.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// What was used, as it changes.
    pub fn usage(&self) -> watch::Receiver<Used> {
        self.shared.used.subscribe()
    }

    /// Whether a call waits for a limit.
    pub fn waiting(&self) -> watch::Receiver<Option<Waiting>> {
        self.shared.waiting.subscribe()
    }

    /// Why the attempt has to end, once it has to.
    pub fn ended(&self) -> watch::Receiver<Option<Outcome>> {
        self.shared.ended.subscribe()
    }

    /// How a provider failed, if it did at the last call that came to an end.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, with all calls under way; gives what was used in the end.
    pub async fn stop(mut self) -> Used {
        self.shared.stop.cancel();
        if tokio::time::timeout(STOP_MAX, &mut self.serving).await.is_err() {
            tracing::warn!("an agent still holds a connection to its gateway");
        }
        *self.shared.used.borrow()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Whether a key is this gateway's; takes as long for any of the same length.
    pub fn opens(&self, key: &str) -> bool {
        bool::from(key.as_bytes().ct_eq(self.key.as_bytes()))
    }

    /// The provider that serves a model over a format.
    pub fn provider(&self, api: Api, model: &str) -> Option<&Provider> {
        let both = self.config.providers.iter().zip(&self.models);
        both.filter(|(provider, models)| provider.api == api && models.is_match(model)).map(|(found, _)| found).next()
    }

    /// The end of the attempt, if it is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.borrow().clone()
    }

    /// Decides it; the first reason stays.
    pub fn end(&self, outcome: Outcome) {
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            if is_first {
                *ended = Some(outcome);
            }
            is_first
        });
    }

    /// A call came to an end: whole, or by what a provider did.
    pub fn troubled(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// A provider answered; its text where that is an error.
    pub fn answered(&self, provider: &str, status: u16, error: &str) {
        match status {
            401 | 403 => {
                let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
                if refused >= REFUSED_MAX {
                    let said = format!("{status}: {}", clip_head(error.trim(), SAID_BYTES_MAX));
                    self.end(Outcome::KeyRefused { provider: provider.to_owned(), said });
                }
            }
            // Whether it comes to a good end is not known yet.
            200..=299 => self.refused.store(0, Ordering::Relaxed),
            500.. => self
                .troubled(Some(format!("{provider} answered {status}: {}", clip_head(error.trim(), SAID_BYTES_MAX)))),
            // It is there, and says what is wrong with the request.
            _ => self.troubled(None),
        }
    }

    /// A call waits, or no longer.
    pub fn waits(&self, waiting: Option<Waiting>) {
        self.waiting.send_replace(waiting);
    }

    pub fn reserve(&self, worst: Worst) -> Result<u64, Exceeded> {
        let reserved = self.book(|ledger| ledger.reserve(worst));
        if let Err(exceeded) = &reserved
            && self.used.borrow().reserved_tokens == 0
        {
            // Nothing under way can give anything back.
            self.end(Outcome::BudgetUsedUp { what: exceeded.to_string() });
        }
        reserved
    }

    pub fn settle(&self, call: u64, tokens: Tokens, usd_micros: u64) {
        self.book(|ledger| ledger.settle(call, tokens, usd_micros));
    }

    pub fn release(&self, call: u64) {
        self.book(|ledger| ledger.release(call));
    }

    fn book<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut ledger);
        // Under the lock, so that the books are published in order.
        self.used.send_replace(ledger.used());
        if let Some(books) = &self.config.books {
            books.write(&ledger.used());
        }
        result
    }

    /// A body to record, where that is wanted.
    pub fn writing(&self) -> Option<Writing> {
        self.recorder.as_ref()?;
        Writing::new(&self.config.secrets).inspect_err(|error| tracing::warn!(%error, "a body is not recorded")).ok()
    }

    pub fn record(&self, entry: Entry, request: Option<Writing>, response: Option<Writing>) {
        if let Some(recorder) = &self.recorder
            && let Err(error) = recorder.write(entry, request, response)
        {
            tracing::warn!(%error, "an exchange with a model is not recorded");
        }
    }
}

fn models(provider: &Provider) -> Result<GlobSet, GatewayError> {
    let wrong = |source| GatewayError::Models { provider: provider.name.clone(), source };
    let mut set = GlobSetBuilder::new();
    for pattern in &provider.models {
        set.add(Glob::new(pattern).map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

/// A client that goes nowhere on its own: a redirect would take the key along.
fn client(providers: &[Provider]) -> Result<reqwest::Client, reqwest::Error> {
    let is_local = |provider: &Provider| {
        let uri: Option<Uri> = provider.url.parse().ok();
        uri.is_some_and(|uri| matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]")))
    };
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(CONNECT_MAX);
    // A proxy of the environment is for the world, not for what runs on this machine.
    if providers.iter().all(is_local) { builder.no_proxy().build() } else { builder.build() }
}

fn throwaway_key() -> std::io::Result<String> {
    let mut bytes = [0_u8; KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold("lh-".to_owned(), |key, byte| key + &format!("{byte:02x}")))
}
