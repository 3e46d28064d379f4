//! What a model can do in its workspace. Programs run as everything else does, through the worker's
//! process shim and within its limits; files are read and written only inside the workspace.

mod editor;
mod exec;
mod files;
mod image;
mod mcp;
mod outcome;
mod output;
mod patch;
mod place;
mod plan;
mod search;
mod toolbox;

pub use mcp::Servers;
pub use outcome::{Edited, Outcome, Wanted};
pub use toolbox::Toolbox;
