//! Why a repository could not be read or written.

use std::path::PathBuf;

use crate::Oid;

/// Why a repository could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No repository there, or one this build cannot read.
    #[error("cannot open the repository {}: {cause}", path.display())]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// gix's word.
        cause: String,
    },
    /// A name that stands for no commit.
    #[error("{rev:?} names no commit in {}", path.display())]
    Unknown {
        /// The repository.
        path: PathBuf,
        /// What was asked for.
        rev: String,
    },
    /// An object is missing, damaged or of another kind.
    #[error("cannot read {what} in {}: {cause}", path.display())]
    Read {
        /// The repository.
        path: PathBuf,
        /// What was asked for.
        what: String,
        /// gix's word.
        cause: String,
    },
    /// An object or ref could not be written.
    #[error("cannot write {what} in {}: {cause}", path.display())]
    Write {
        /// The repository.
        path: PathBuf,
        /// What was to be written.
        what: String,
        /// gix's word.
        cause: String,
    },
    /// A path in a tree that is not UTF-8.
    #[error("the path {path:?} is not UTF-8, which Longhaul needs")]
    PathEncoding {
        /// The path with replacement characters.
        path: String,
    },
    /// A ref is neither at the old nor at the new value.
    #[error("{name} is at {found}, expected {expected}")]
    RefMoved {
        /// The ref.
        name: String,
        /// Where it is; all zeros when it does not exist.
        found: Oid,
        /// Where it was expected.
        expected: Oid,
    },
}
