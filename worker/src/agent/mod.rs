//! Agents: what does the work inside a workspace.

pub mod acp;
pub mod codemod;
pub mod codex;
pub mod command;
pub mod programs;
mod rules;
pub mod talk;
