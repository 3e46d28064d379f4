//! The end-to-end harness: a world with a real repository, the real binary, and eyes on what is
//! left behind.

pub mod leftovers;
pub mod nats;
pub mod proxy;
pub mod world;

pub use world::{Ran, World};
