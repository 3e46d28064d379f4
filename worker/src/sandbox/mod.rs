//! The sandbox: what the programs of a job may do, and who holds them to it.
//!
//! Everything a job brings along (agents, fixes, checks, gates, set-up, services) starts through the
//! shim, and the shim starts it inside a boundary of layers that do not know of one another:
//!
//! - namespaces ([`namespaces`], [`mounts`], [`sockets`]): its own process ids, mounts, System V objects and network;
//! - Landlock ([`paths`], [`carve`]): paths it may read and write, whom signals reach;
//! - seccomp ([`calls`]): system calls that only an escape needs;
//! - limits ([`limits`]): what it may use up;
//! - one way out ([`space`], [`proxy`]): a proxy with a list of hosts.
//!
//! [`boundary`] decides, [`rules`] is the decision, [`inside`] carries it out in the shim, and
//! [`probe`] finds out what the machine grants. A layer that was found and then fails means that the
//! command does not start; one that was not found is named in every attempt's record.

mod boundary;
mod calls;
mod carve;
mod homes;
pub(crate) mod inside;
pub(crate) mod limits;
mod loopback;
mod mounts;
pub(crate) mod namespaces;
pub(crate) mod paths;
mod probe;
mod proxy;
mod rules;
mod sockets;
pub(crate) mod space;

pub use boundary::{Boundary, Enclosed, Enforcement, OFF, Place, SandboxSettings};
pub use probe::{Found, Missing, probe};
pub use rules::{Layers, Limits, Rules};
pub use space::{GATEWAY_PORT, PROXY_PORT, Space};
