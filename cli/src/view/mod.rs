//! What a person sees on a terminal: live progress, events, status pages, the final summary.
//!
//! Everything here is a pure function of messages and a [`canvas::Canvas`] (width, colours, zone, time),
//! so it is tested without a terminal. The exceptions are [`style`], which looks at the process's
//! surroundings, and [`live::Painter`], which writes. Text that came from a repository, an agent
//! or a log passes [`crate::report::plain`] before it is shown.

pub mod canvas;
mod detail;
pub mod events;
mod line;
pub mod live;
mod painter;
mod progress;
pub mod status;
pub mod style;
pub mod summary;
mod table;
pub mod workers;

#[cfg(test)]
mod tests;
