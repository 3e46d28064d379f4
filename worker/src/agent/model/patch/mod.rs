//! Patches in the V4A format (`*** Begin Patch` …), which GPT and Codex models write: read, placed
//! by their context, applied all or not at all.

mod apply;
mod parse;
mod seek;

pub use apply::{Change, plan};
pub use parse::{Hunk, parse};
