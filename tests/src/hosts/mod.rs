//! Several hosts on one machine: network namespaces with addresses of their own, behind one switch.
//!
//! Everything is within namespaces, the switch included, so nothing of the machine's own network is
//! touched. A host's processes get SIGKILL when the thread that started them ends, and the
//! namespaces go when the test ends, by a panic too; what a killed test process left is swept by
//! the next one. Limits: root and Linux only, one /24, at most [`HOSTS_MAX`] hosts; the hosts share
//! the machine's clock and disk.

mod host;
mod net;
mod process;

pub use host::Host;
pub use net::{HOSTS_MAX, Net, missing};
pub use process::Process;
