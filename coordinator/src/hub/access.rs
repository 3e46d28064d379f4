//! Who asks, and what they may do.

use std::collections::BTreeSet;

/// What a caller may do. There is no order between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Read jobs, logs, diffs and repositories.
    Read,
    /// Open jobs, and steer them: pause, resume, cancel, retry, revert.
    Submit,
    /// End parks: approve and answer.
    Approve,
    /// Be a worker of the caller's name: fetch what it is assigned, deliver its results.
    Work,
}

/// A caller whom the server has authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Name of the token or of the certificate; a worker's own name for [`Role::Work`].
    pub name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Identity {
    /// The user of this machine, over a unix socket or an open loopback port: may do everything,
    /// and be any worker.
    pub fn local() -> Self {
        Self { name: "local".to_owned(), roles: [Role::Read, Role::Submit, Role::Approve, Role::Work].into() }
    }

    /// Whether it may.
    pub fn may(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
