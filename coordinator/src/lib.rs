//! The coordinator: decides, journals, merges and reports. It never runs a repository's code and
//! never calls a model; that is the workers'.

pub mod capsule;
pub mod checkpoint;
pub mod control;
pub mod coordinator;
pub mod core;
pub mod driver;
pub mod effects;
pub mod engine;
pub mod hub;
pub mod jobs;
pub mod landing;
pub mod plan;
pub mod repos;
pub mod results;
pub mod select;
pub mod view;
pub mod web;
