//! What a person sees on a terminal: live progress, events, status pages, the final summary.
//!
//! Everything here is a pure function of messages and a [`Canvas`] (width, colours, zone, time),
//! so it is tested without a terminal. The exceptions are [`style`], which reads the environment
//! once, and [`painter`], which writes. Text that came from a repository, an agent or a log passes
//! [`crate::report::plain`] before it is shown.

mod canvas;
mod detail;
mod events;
mod line;
mod live;
mod painter;
mod progress;
mod status;
mod style;
mod summary;
mod table;

#[cfg(test)]
mod tests;

pub use canvas::Canvas;
pub use detail::{explanation, subtask};
pub use events::{event, is_notable, timed_event};
pub use live::Live;
pub use painter::Painter;
pub use status::{list, status, subtasks};
pub use style::{Style, Tone, columns_rows};
pub use summary::summary;
