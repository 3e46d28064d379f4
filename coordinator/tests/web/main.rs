//! The coordinator's server, spoken to by real clients: tonic, git and bare sockets.

mod door;
mod fetch;
mod results;
mod tls;
mod world;
