//! Any agent that speaks the Agent Client Protocol (version 1), as its client.
//!
//! Proven with opencode, codex-acp, claude-agent-acp and gemini at the versions in `docs/agents.md`.
//! The crate of the protocol is used in [`connection`] alone: messages are read from JSON, so that an
//! update that is newer than the crate is passed over and does not end the session.

mod client;
mod connection;
mod read;

pub use client::{Acp, converse};
