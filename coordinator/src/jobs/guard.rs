//! Who may ask for what, and how an error is said over the wire.

use longhaul_common::JobId;
use longhaul_proto::Audited;
use tonic::{Extensions, Status};

use crate::coordinator::OpenError;
use crate::engine::FeedError;
use crate::hub::{AccessError, Identity, Role, SubmitError};

/// The caller, if it may. A unix socket has no identities: whoever reaches it is the user.
pub(super) fn allow(extensions: &Extensions, role: Role) -> Result<Identity, Status> {
    let who = extensions.get::<Identity>().cloned().unwrap_or_else(Identity::local);
    if who.may(role) {
        return Ok(who);
    }
    tracing::warn!(who = who.name, role = role_name(role), "a request was refused");
    Err(Status::permission_denied(format!("{:?} may not do this: it needs the role {:?}", who.name, role_name(role))))
}

/// The name of a role, as the tokens file has it.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Submit => "submit",
        Role::Approve => "approve",
        Role::Work => "work",
    }
}

/// Who asked for what, for the journal.
pub(crate) fn audited(who: &Identity, role: Role, what: &str, detail: String) -> Audited {
    let detail = longhaul_common::text::clip_head(&detail, DETAIL_BYTES_MAX).to_owned();
    Audited { who: who.name.clone(), role: role_name(role).to_owned(), what: what.to_owned(), detail }
}

/// What a request named is kept up to this many bytes.
const DETAIL_BYTES_MAX: usize = 1_000;

pub(super) fn job_id(job: &str) -> Result<JobId, Status> {
    job.parse().map_err(|error: longhaul_common::id::BadJobId| Status::invalid_argument(error.to_string()))
}

/// What people read when the server's disk is full.
pub(super) fn full(cause: &str) -> String {
    format!("the server's disk is full, nothing was changed: {cause}. Make room there and try again")
}

impl From<AccessError> for Status {
    fn from(error: AccessError) -> Self {
        let text = error.to_string();
        if error.is_disk_full() {
            return Self::unavailable(full(&text));
        }
        match error {
            AccessError::Unknown(_) | AccessError::Select(_) => Self::not_found(text),
            AccessError::Gone(_) => Self::unavailable(text),
            AccessError::Stalled { .. } => Self::resource_exhausted(text),
            AccessError::Refused(_) => Self::failed_precondition(text),
            AccessError::Open(OpenError::Locked { .. } | OpenError::Feed(FeedError::Refused(_))) => {
                Self::failed_precondition(text)
            }
            AccessError::Checkpoint(_) => Self::data_loss(text),
            AccessError::Open(_) | AccessError::Store(_) => Self::internal(text),
        }
    }
}

impl From<SubmitError> for Status {
    fn from(error: SubmitError) -> Self {
        let text = error.to_string();
        match error {
            SubmitError::Admit(_) => Self::invalid_argument(text),
            SubmitError::Exists(_) => Self::already_exists(text),
            SubmitError::Base(error) if error.is_disk_full() => Self::unavailable(full(&text)),
            SubmitError::Base(crate::hub::BaseError::Missing { .. })
            | SubmitError::OtherRepository { .. }
            | SubmitError::NotServed => Self::failed_precondition(text),
            SubmitError::Base(_) => Self::internal(text),
            SubmitError::Access(error) => error.into(),
        }
    }
}
