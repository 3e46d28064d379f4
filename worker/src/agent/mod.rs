//! Agents: what does the work inside a workspace.

pub mod codemod;
pub mod command;
pub mod instructions;
pub mod model;
mod rules;
pub mod skills;
pub mod stuck;
