//! A leaf of a tree that differs.

use crate::Oid;

/// Mode of a symbolic link in a tree.
pub const MODE_SYMLINK: u32 = 0o120_000;

/// Mode of a commit of another repository in a tree.
pub const MODE_GITLINK: u32 = 0o160_000;

/// A leaf that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// From the root; with replacement characters when it is not UTF-8.
    pub path: String,
    /// The path as bytes.
    pub raw: Vec<u8>,
    /// Mode before; 0 for an addition.
    pub old_mode: u32,
    /// Mode after; 0 for a deletion.
    pub new_mode: u32,
    /// Object before; zeros for an addition.
    pub old: Oid,
    /// Object after; zeros for a deletion.
    pub new: Oid,
    /// Lines added and removed; zero for a binary file.
    pub lines: (u64, u64),
}

impl FileChange {
    /// Whether the path can be written in a message.
    pub fn is_utf8(&self) -> bool {
        self.path.as_bytes() == self.raw
    }

    /// Whether it is gone.
    pub fn is_deletion(&self) -> bool {
        self.new_mode == 0
    }

    /// Whether it was not there before.
    pub fn is_addition(&self) -> bool {
        self.old_mode == 0
    }
}
