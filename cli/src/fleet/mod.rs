//! What the long-running processes of a fleet (a server, a worker) have in common: how they reach
//! NATS, say that they are ready, speak on stderr, and are told to end.

mod nats;
mod ready;
mod signals;
mod voice;

pub use nats::{last_words, nats_config, nats_flags};
pub use ready::ReadyFile;
pub use signals::{Asked, Signals};
pub use voice::Voice;
