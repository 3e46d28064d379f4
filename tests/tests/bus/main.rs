//! The bus: one contract, kept in memory and over a real nats-server, and what NATS must survive.

mod contract;
mod faults;
mod operator;
mod permissions;
mod proxy;
mod replicas;
mod rig;
mod speed;
mod versions;
