//! Agents: what does the work inside a workspace.

pub mod acp;
pub mod briefing;
pub mod codemod;
pub mod codex;
pub mod command;
pub mod instructions;
pub mod metered;
pub mod model;
pub mod programs;
mod rules;
pub mod skills;
pub mod split;
pub mod stuck;
pub mod talk;
