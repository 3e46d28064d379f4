//! The sandbox as a worker draws it: every way out that is tried fails, and ordinary work goes on.

mod enforced;
mod escapes;
mod judges;
mod trust;
mod world;
