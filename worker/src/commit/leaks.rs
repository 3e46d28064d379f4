//! Secrets this worker knows, looked for in what a result would carry away.
//!
//! A commit is for ever and goes everywhere: what is in it cannot be taken back. So a difference
//! that adds a known value, in a file, a link or a name, is no result. Only values as they are can
//! be found; one that a program encodes cannot. What the base held already is nobody's new leak.

use longhaul_common::patch::FileChange;
use longhaul_common::sign::Sign;
use longhaul_proto::FailureClass;

use super::stage::StageError;
use crate::failure::{failure, with_paths, with_sign};
use crate::process::Secrets;
use crate::workspace::Slot;

/// What the refusal says.
pub const MESSAGE: &str = "a secret value is in the patch";

/// Mode of a submodule, which has no content of its own here.
const GITLINK: u32 = 0o160_000;

/// Refuses changes that add a secret. Blocks on objects.
pub fn without_secrets(slot: &Slot, changes: &[FileChange], secrets: &Secrets) -> Result<(), StageError> {
    if secrets.is_empty() {
        return Ok(());
    }
    let objects = slot.objects()?;
    let mut found = Vec::new();
    for change in changes.iter().filter(|change| !change.is_deletion() && change.new_mode != GITLINK) {
        let named = change.is_addition() && secrets.added(b"", &change.raw);
        let holds = || -> Result<bool, StageError> {
            let after = objects.blob(change.new)?;
            // Looked up only where something was found: most files hold nothing.
            if !secrets.added(b"", &after) {
                return Ok(false);
            }
            let was_file = !change.old.is_zero() && change.old_mode != GITLINK;
            let before = if was_file { objects.blob(change.old)? } else { Vec::new() };
            Ok(secrets.added(&before, &after))
        };
        if named || holds()? {
            found.push(secrets.redact_text(&change.path));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let refused = with_sign(failure(FailureClass::Result, MESSAGE), Sign::Secret);
    Err(StageError::Refused(Box::new(with_paths(refused, found))))
}
