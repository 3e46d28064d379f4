//! The bus: one contract, kept in memory and over a real nats-server, and what NATS must survive.

mod contract;
mod faults;
mod permissions;
mod proxy;
mod rig;
mod speed;
mod versions;
