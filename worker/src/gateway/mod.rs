//! The model gateway: the one way from an attempt to a model.
//!
//! One runs for each attempt, on loopback, with a throwaway key. It holds the providers' real keys,
//! so that no agent ever sees one; it reserves the worst case of a call before it forwards it and
//! settles what was really used; it keeps rate limits, waits out short limits of providers and ends
//! the attempt for long ones; it records, and can answer from a record instead of a provider.
//!
//! What it does not do: it knows a call only by what goes through it, so a login of a subscription
//! that bypasses it is not counted. A provider that reports more than was reserved is believed,
//! and the overrun is shown. Bodies pass through unchanged but for a missing bound on the output
//! and, for Chat Completions, the wish for usage: without them no worst case would hold.

mod api;
mod barred;
mod beyond;
mod calls;
mod config;
mod estimate;
mod exchange;
mod forward;
mod ledger;
mod rate;
mod rates;
mod record;
mod refusal;
mod reset;
mod scan;
mod server;
mod usage;

pub use api::Api;
pub use barred::Barred;
pub use calls::Calls;
pub use config::{Allowance, GatewayConfig, Provider, Recording};
pub use ledger::{Ledger, Used};
pub use rate::{RateLimiter, RateShare};
pub use rates::Rates;
pub use record::Entry;
pub use server::{Gateway, GatewayError, Outcome, Waiting};
