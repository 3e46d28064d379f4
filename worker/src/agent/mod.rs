//! Agents: what does the work inside a workspace.

pub mod codemod;
pub mod command;
mod rules;
