//! A submission as a stream: the header, then the pack in pieces, kept in a file until it is whole.

use std::path::PathBuf;
use std::sync::Arc;

use longhaul_common::room::is_out_of_room;
use longhaul_proto as pb;
use longhaul_proto::submit_part::Part;
use tokio::io::AsyncWriteExt as _;
use tonic::{Status, Streaming};

use super::JobsService;
use super::guard::{audited, full};
use crate::hub::{Identity, IncomingPack, PACK_BYTES_MAX, PACKS_MAX, Role, Submission};
use crate::web::STALL_MAX;

impl JobsService {
    pub(super) async fn take_submission(
        &self,
        who: &Identity,
        mut parts: Streaming<pb::SubmitPart>,
    ) -> Result<pb::SubmitReply, Status> {
        let first = parts.message().await?.and_then(|part| part.part);
        let Some(Part::Header(pb::SubmitHeader { plan: Some(plan), new_job })) = first else {
            return Err(Status::invalid_argument("the first part must be a header with a plan"));
        };
        // What cannot be used is said before its history is sent.
        crate::hub::admit(&plan).map_err(|error| Status::from(crate::hub::SubmitError::from(error)))?;
        let pack = self.take_pack(parts).await?;
        let asked = audited(who, Role::Submit, "submit", format!("{} subtasks: {}", plan.nodes.len(), plan.goal));
        tracing::info!(who = asked.who, job = plan.job, "a plan is submitted");
        let (job, note) = self.hub.submit(Submission { plan, pack, new_job, asked }).await?;
        Ok(pb::SubmitReply { job: job.to_string(), note })
    }

    /// The pack's pieces in a file that goes with the value. `None` when none came.
    async fn take_pack(&self, mut parts: Streaming<pb::SubmitPart>) -> Result<Option<IncomingPack>, Status> {
        let mut pack: Option<(IncomingPack, tokio::fs::File)> = None;
        let mut bytes = 0_u64;
        while let Some(part) = tokio::time::timeout(STALL_MAX, parts.message()).await.map_err(|_| stalled())?? {
            let Some(Part::Pack(piece)) = part.part else {
                return Err(Status::invalid_argument("only pieces of a pack may follow the header"));
            };
            bytes += piece.len() as u64;
            if bytes > PACK_BYTES_MAX {
                return Err(Status::resource_exhausted(format!(
                    "the pack is over the limit of {PACK_BYTES_MAX} bytes"
                )));
            }
            if pack.is_none() {
                pack = Some(self.new_pack()?);
            }
            if let Some((_, file)) = &mut pack {
                file.write_all(&piece).await.map_err(not_written)?;
            }
        }
        match pack {
            Some((pack, mut file)) => {
                file.flush().await.map_err(not_written)?;
                Ok(Some(pack))
            }
            None => Ok(None),
        }
    }

    fn new_pack(&self) -> Result<(IncomingPack, tokio::fs::File), Status> {
        let place = Arc::clone(&self.hub.inner.packs).try_acquire_owned().map_err(|_| crowded())?;
        let folder: PathBuf = self.hub.incoming();
        let make = || {
            std::fs::create_dir_all(&folder)?;
            let named = tempfile::Builder::new().prefix("submission-").suffix(".pack").tempfile_in(&folder)?;
            let file = tokio::fs::File::from_std(named.reopen()?);
            Ok((named.into_temp_path(), file))
        };
        let (path, file) = make().map_err(not_written)?;
        Ok((IncomingPack { path, place }, file))
    }
}

fn stalled() -> Status {
    Status::deadline_exceeded(format!("nothing of the submission came for {} s: submit again", STALL_MAX.as_secs()))
}

fn crowded() -> Status {
    Status::unavailable(format!("{PACKS_MAX} submissions are coming in already: try again when one is through"))
}

fn not_written(error: std::io::Error) -> Status {
    match is_out_of_room(&error) {
        true => Status::unavailable(full(&error.to_string())),
        false => Status::internal(format!("the pack cannot be kept: {error}")),
    }
}
