//! The end-to-end harness: a world with a real repository, the real binary, and eyes on what is
//! left behind; what tests over networks need: certificates, hosts of their own; and what tests of agents
//! need: a scripted model, agent programs, a network without anyone.

pub mod agents;
pub mod certs;
pub mod chaos;
pub mod fleet;
pub mod goodbye;
pub mod hosts;
pub mod leftovers;
pub mod model;
pub mod namespace;
pub mod nats;
pub mod otlp;
pub mod proxy;
pub mod random;
pub mod world;

pub use world::{Ran, World};
