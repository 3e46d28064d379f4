//! End to end: the real binary, real git, real processes.

mod characterise;
mod coverage;
mod docs;
mod job;
mod kill;
mod landing;
mod plan_edits;
mod ripgrep;
mod split;
mod tidy;
mod verbs;
