//! Sets of repository paths, as the rules of patches read them.

pub use longhaul_common::patch::{PathSet, is_at_or_below};
