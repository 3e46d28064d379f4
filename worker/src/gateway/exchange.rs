//! One call under way: what it reserved, what passes, and its settlement however it ends.

use std::sync::Arc;
use std::time::Instant;

use longhaul_common::price::{Price, Tokens};

use super::config::Provider;
use super::ledger::Worst;
use super::record::{Entry, Writing};
use super::refusal::Refusal;
use super::server::Shared;
use super::usage::Meter;

/// A call that has reserved its worst case. Dropping it settles it: at what the provider said it
/// used, or else, when it was sent, at the worst case. So it is settled too when the agent hangs
/// up, the gateway ends, or a provider breaks off.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    call: u64,
    worst: Worst,
    price: Option<Price>,
    provider: Provider,
    meter: Meter,
    entry: Entry,
    began: Instant,
    request: Option<Writing>,
    response: Option<Writing>,
    /// The rate limiter let it pass.
    pub passed: bool,
    /// It may have reached the provider.
    pub sent: bool,
}

/// What a call is, before it is made.
pub(super) struct Asked {
    pub provider: Provider,
    pub model: String,
    pub streams: bool,
    pub digest: String,
    pub worst: Worst,
    pub price: Option<Price>,
}

impl Exchange {
    /// Reserves the worst case of a call.
    pub fn open(shared: &Arc<Shared>, asked: Asked, body: &[u8]) -> Result<Self, Refusal> {
        let Asked { provider, model, streams, digest, worst, price } = asked;
        let call = shared.reserve(worst).map_err(|exceeded| Refusal::Budget(exceeded.to_string()))?;
        let api = provider.api;
        let entry = Entry {
            at_ms: jiff::Timestamp::now().as_millisecond(),
            provider: provider.name.clone(),
            api: api.name().to_owned(),
            model,
            digest,
            ..Entry::default()
        };
        let mut exchange = Self {
            shared: Arc::clone(shared),
            call,
            worst,
            price,
            provider,
            meter: Meter::new(api, streams),
            entry,
            began: Instant::now(),
            request: shared.writing(),
            response: shared.writing(),
            passed: false,
            sent: false,
        };
        keep(&mut exchange.request, body);
        Ok(exchange)
    }

    /// The answer began.
    pub fn begins(&mut self, status: u16, content_type: &str) {
        self.entry.status = status;
        content_type.clone_into(&mut self.entry.content_type);
    }

    /// Bytes of the answer pass.
    pub fn passes(&mut self, bytes: &[u8]) {
        self.meter.push(bytes);
        keep(&mut self.response, bytes);
    }

    /// The answer came to its end.
    pub fn ends(mut self) {
        self.entry.whole = true;
        if self.entry.status < 300 {
            self.shared.troubled(None);
        }
    }

    /// It broke off on the way; the error is for the agent.
    pub fn breaks(&self, how: &str) -> std::io::Error {
        self.shared.troubled(Some(format!("{}: {how}", self.provider.name)));
        std::io::Error::other(how.to_owned())
    }

    /// Longest pause of its answer.
    pub fn idle_max(&self) -> std::time::Duration {
        self.shared.config.idle_max
    }

    /// When the gateway ends.
    pub fn stop(&self) -> tokio_util::sync::CancellationToken {
        self.shared.stop.clone()
    }

    /// What to book, and whether it is only assumed.
    fn used(&self) -> (Tokens, bool) {
        let failed = self.entry.status >= 300;
        match self.meter.used(self.entry.whole) {
            Some(tokens) => (tokens, false),
            // Providers bill neither errors nor redirects.
            None if failed => (Tokens::default(), false),
            None => {
                let worst = Tokens { input: self.worst.input, output: self.worst.output, ..Tokens::default() };
                (worst.larger(self.meter.seen()), true)
            }
        }
    }
}

/// A body that cannot be compressed is not recorded; the call goes on.
fn keep(writing: &mut Option<Writing>, bytes: &[u8]) {
    if let Some(body) = writing
        && let Err(error) = body.push(bytes)
    {
        tracing::warn!(%error, "a body is not recorded");
        *writing = None;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let reserved = self.worst.input.saturating_add(self.worst.output);
        if !self.sent {
            if self.passed {
                self.provider.rates.give_back(reserved);
            }
            self.shared.release(self.call);
            return;
        }
        let (tokens, assumed) = self.used();
        let usd_micros = match (&self.price, assumed) {
            (Some(price), false) => price.cost(&tokens),
            (Some(price), true) => price.cost(&tokens).max(self.worst.usd_micros),
            (None, _) => 0,
        };
        if self.passed {
            self.provider.rates.give_back(reserved.saturating_sub(tokens.total()));
        }
        self.shared.settle(self.call, tokens, usd_micros);
        let entry = Entry {
            input_tokens: tokens.input,
            cached_tokens: tokens.cached,
            cache_write_tokens: tokens.cache_write,
            output_tokens: tokens.output,
            reasoning_tokens: tokens.reasoning,
            assumed,
            usd_micros,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..std::mem::take(&mut self.entry)
        };
        self.shared.config.calls.push(&entry);
        self.shared.record(entry, self.request.take(), self.response.take());
    }
}
