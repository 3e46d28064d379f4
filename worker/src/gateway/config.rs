//! What a gateway is given: providers, an allowance, limits, and where it records.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longhaul_common::price::Prices;

use super::api::Api;
use super::barred::Barred;
use super::calls::Calls;
use super::rate::RateLimiter;
use crate::books::Books;
use crate::config::Held;
use crate::process::Secrets;

/// Output of a call that sets no bound itself, in tokens; the gateway sets it then.
const OUTPUT_TOKENS_MAX: u64 = 32_768;

/// Longest pause between two pieces of an answer.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// How long limits of a provider are waited for within one call.
const LIMIT_WAIT_MAX: Duration = Duration::from_secs(120);

/// A provider that this attempt may use.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the job file.
    pub name: String,
    /// What it speaks.
    pub api: Api,
    /// Its address with the version: `https://api.example.com/v1`.
    pub url: String,
    /// The real key, or none for a server that wants none.
    pub key: Held,
    /// Globs of the models that may be asked.
    pub models: Vec<String>,
    /// The worker's limits for it, shared by all attempts.
    pub rates: Arc<RateLimiter>,
}

/// What an attempt may spend; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Input and output together.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub usd_micros: u64,
}

/// What becomes of each exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Nothing is kept.
    #[default]
    Off,
    /// Kept in this folder.
    On(PathBuf),
    /// Answered from this folder; no provider is asked.
    Replay(PathBuf),
}

/// Settings of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// In order of preference; the first that speaks the format and has the model serves a call.
    pub providers: Vec<Provider>,
    /// Where each call is noted.
    pub calls: Calls,
    /// What the attempt may spend.
    pub allowance: Allowance,
    /// What models cost.
    pub prices: Prices,
    /// Files that may not be sent.
    pub barred: Arc<Barred>,
    /// Recording, or replay.
    pub recording: Recording,
    /// Where what is used is written down as it changes.
    pub books: Option<Books>,
    /// Replaced in everything that is recorded.
    pub secrets: Secrets,
    /// Output of a call that sets no bound itself, in tokens.
    pub output_tokens_max: u64,
    /// Longest pause between two pieces of an answer. There is no limit on the whole.
    pub idle_max: Duration,
    /// How long limits of a provider are waited for within one call; longer ones end the attempt.
    pub limit_wait_max: Duration,
}

impl GatewayConfig {
    /// These providers, no limits, nothing recorded.
    pub fn new(providers: Vec<Provider>) -> Self {
        Self {
            providers,
            calls: Calls::default(),
            allowance: Allowance::default(),
            prices: Prices::default(),
            barred: Arc::default(),
            recording: Recording::default(),
            books: None,
            secrets: Secrets::default(),
            output_tokens_max: OUTPUT_TOKENS_MAX,
            idle_max: IDLE_MAX,
            limit_wait_max: LIMIT_WAIT_MAX,
        }
    }
}

impl Provider {
    /// The key from the variable of this process's environment that the job file names; an error
    /// says which one is missing.
    pub fn key_from(variable: &str) -> Result<Held, String> {
        match std::env::var(variable) {
            Ok(key) if !key.is_empty() => Ok(Held(vec![key])),
            _ => Err(format!("the worker has no {variable} in its environment: set it and start the worker again")),
        }
    }
}
