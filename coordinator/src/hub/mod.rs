//! The jobs of one server: every open one running, every closed one readable, one bus, one disk.

mod access;

pub use access::{Identity, Role};
