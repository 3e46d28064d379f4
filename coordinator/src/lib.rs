//! The coordinator: decides, journals, merges and reports. It never runs a repository's code and
//! never calls a model; that is the workers'.

pub mod capsule;
mod capsules;
pub mod carried;
mod changes;
pub mod checkpoint;
pub mod clock;
pub mod control;
pub mod coordinator;
pub mod core;
mod dispatch;
pub mod driver;
pub mod effects;
pub mod engine;
pub mod fleet;
pub mod handle;
pub mod hub;
pub mod introductions;
pub mod job;
pub mod jobs;
pub mod landing;
pub mod plan;
pub mod repos;
pub mod results;
pub mod room;
pub mod select;
pub mod sessions;
mod shares;
pub mod upkeep;
pub mod vet;
pub mod view;
pub mod web;
