//! The bus over NATS JetStream: transport between machines, never truth.
//!
//! Nothing here is needed after a restart. Streams live in memory, hold a minute or so, and are
//! made again when they vanish with their server; so are consumers. The connection is mended
//! without end, and what was queued meanwhile is sent then, the newest presence and progress only.
//! What can be lost: progress and presence at any time; an assignment only together with the
//! server that took it, or after [`streams::WORKER_AGE`] unread. The coordinator tells again from
//! its state. What can come twice: whatever was not taken, and a message sent again around a
//! failure longer than the window in which the server knows ids.
//!
//! Order holds per subject while the link is up; a message sent again after a failure may come
//! behind its successors.
//!
//! async-nats changes small things often, so it is used in this folder only.

mod address;
mod backoff;
mod bus;
mod claim;
mod config;
mod feed;
mod lanes;
mod link;
mod publish;
mod streams;

pub use bus::NatsBus;
pub use config::{NatsConfig, NatsError, NatsRole};
