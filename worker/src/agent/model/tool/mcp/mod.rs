//! Servers of tools that a job gives to a loop: the Model Context Protocol over stdin and stdout.
//!
//! Each is a program of the attempt, started through the shim and inside its sandbox, and gone with it.
//! What it offers is data of somebody else's: names are cleaned, number and size are bounded, and the
//! order is by name, so that a prompt does not differ from one attempt to the next. What a call answers
//! is bounded as the output of any other tool.

mod answer;
mod connection;
mod offer;
mod server;
mod servers;

pub use servers::Servers;
