//! The coordinator's store: hostile packs, consolidation and pruning beside imports, and what
//! 100,000 attempts cost.

mod cost;
mod expire;
mod import;
mod maintenance;
mod prune;
mod world;
