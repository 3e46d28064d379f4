//! The job file, `longhaul.toml`: everything a job needs to know, in one file a person can read,
//! edit and re-run.
//!
//! [`parse`] turns text into a [`JobFile`] or into every [`Problem`] it finds, each with file,
//! line, column, cause and next step. What needs the repository (empty maps, submodules, a missing
//! base) is found while the plan is expanded and reported as the same [`Problems`], with the same
//! positions: every value an error may point at is an [`At`].
//!
//! The names of keys exist once, in [`model`]; the published JSON [`schema`](fn@schema) is derived
//! from it and the check for unknown keys reads that schema.

mod agents;
mod budget;
mod check;
mod cycle;
mod glob;
mod label;
mod limits;
mod model;
mod models;
mod parse;
mod problem;
mod quantity;
mod schema;
mod shape;
mod suggest;
mod table;
mod value;

#[cfg(test)]
mod tests;

pub use budget::{BREAKER_DEFAULT, BREAKER_OF_MAX, BreakerRule, TimeOfDay};
pub use check::id_char;
pub use cycle::find_cycle;
pub use glob::{folder_glob, id_glob, is_glob, path_glob, path_globs};
pub use label::{LABEL_BYTES_MAX, LABELS_MAX, label};
pub use limits::*;
pub use model::{
    AgentKind, AgentProgram, AgentTable, BudgetTable, CommandDecision, CommandRuleTable, DerivedTable, EnvTable,
    GateTable, JobFile, MapTable, McpTable, Permission, PermissionsTable, PolicyTable, RepoTable, Sandbox,
    ServiceTable, SubtaskBudget, TaskTable, TestsRule, UnchangedRule,
};
pub use models::{ModelRuleTable, PriceTable, ProviderApi, ProviderTable};
pub use parse::{load, parse};
pub use problem::{Problem, Problems, Source, render};
pub use quantity::{Group, Interval, Period, Size};
pub use schema::schema;
pub use suggest::{did_you_mean, listing};
pub use table::{Table, Work, placeholders};
pub use value::{At, CommandLine, StringList};
