//! Sessions of agents as OpenTelemetry spans, with the conventions for generative AI.
//!
//! A session's trace is its record; when it ends, spans are made of it and sent to a collector, if the
//! `OTEL_*` variables name one. Work never waits for a collector: what it does not take is dropped
//! and counted.

mod export;
mod spans;

pub use export::{Telemetry, TelemetryError};
pub use spans::{About, spans};
