//! Refs: where they are, and moving one from where it is expected.

use gix::bstr::ByteSlice as _;

use super::{Store, StoreError};
use crate::Oid;

impl Store {
    /// Where a ref is, if it exists.
    pub fn reference(&self, name: &str) -> Result<Option<Oid>, StoreError> {
        let found = self.repo.try_find_reference(name).map_err(|error| self.read_error(name, error))?;
        match found {
            None => Ok(None),
            Some(mut reference) => {
                let id = reference.peel_to_id().map_err(|error| self.read_error(name, error))?;
                Ok(Some(id.detach().into()))
            }
        }
    }

    /// All refs below a prefix such as `refs/longhaul/`, sorted by name.
    pub fn references(&self, prefix: &str) -> Result<Vec<(String, Oid)>, StoreError> {
        let platform = self.repo.references().map_err(|error| self.read_error("refs", error))?;
        let found = platform.prefixed(prefix).map_err(|error| self.read_error(prefix, error))?;
        let mut refs = Vec::new();
        for reference in found {
            // What is not seen is taken for gone by whoever clears up.
            let reference = reference.map_err(|error| self.read_error(prefix, error))?;
            if let Some(id) = reference.try_id() {
                refs.push((reference.name().as_bstr().to_str_lossy().into_owned(), id.detach().into()));
            }
        }
        refs.sort();
        Ok(refs)
    }

    /// Moves a ref from `old` (zeros: it must not exist) to `new`. Repeating a move that was made
    /// is a success; anything else than `old` or `new` is [`StoreError::RefMoved`].
    pub fn move_reference(&self, name: &str, old: Oid, new: Oid) -> Result<(), StoreError> {
        use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit};
        let found = self.reference(name)?.unwrap_or(Oid::ZERO);
        if found == new {
            return Ok(());
        }
        if found != old {
            return Err(StoreError::RefMoved { name: name.to_owned(), found, expected: old });
        }
        let expected = if old.is_zero() {
            PreviousValue::MustNotExist
        } else {
            PreviousValue::MustExistAndMatch(gix::refs::Target::Object(old.into()))
        };
        let full_name = name.try_into().map_err(|error| self.write_error(name, error_text(error)))?;
        let edit = RefEdit {
            change: Change::Update { log: LogChange::default(), expected, new: gix::refs::Target::Object(new.into()) },
            name: full_name,
            deref: false,
        };
        self.repo.edit_reference(edit).map_err(|error| self.write_error(name, error))?;
        Ok(())
    }
}

fn error_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
