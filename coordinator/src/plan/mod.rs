//! From a job file to a plan: the dependency graph of subtasks with everything that determines a
//! result inlined, pinned to one commit of the user's repository.
//!
//! [`expand`] reads the repository and never its checkout, so that what lies uncommitted there has
//! no say. The same job file at the same commit gives the same plan, node for node and key for
//! key. Limits are those of [`longhaul_common::spec`]; everything that can be wrong is reported at
//! its place in the job file before anything is spent.
//!
//! [`PlanView`] shows a plan as text, Graphviz, Mermaid or JSON.

mod after;
mod agents;
mod attributes;
mod base;
mod carry;
mod characterise;
mod draft;
mod expand;
mod judging;
mod key;
mod map;
mod models;
mod pilot;
mod render;
mod runners;
mod scan;
mod settings;
mod trust;
mod withheld;

#[cfg(test)]
mod tests;

pub use expand::{ExpandOptions, digest, expand};
pub use render::{PlanView, Totals};
pub use settings::next_time;
