//! Opening a job on a server: the plan first, then the part of its base's history that the server
//! lacks.

use longhaul_common::Oid;
use longhaul_common::git::Store;
use longhaul_proto::{HaveRequest, Plan, SubmitHeader, SubmitPart, SubmitReply, submit_part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::pack::{self, Wanted};
use crate::client::{Jobs, said};

/// Pieces of the pack that wait for the network.
const PIECES_AHEAD_MAX: usize = 4;

/// Submits a plan; returns when the job is open and durable.
pub async fn submit(jobs: &mut Jobs, url: &str, plan: Plan, new_job: bool) -> anyhow::Result<SubmitReply> {
    let repo = plan.repo.clone().unwrap_or_default();
    let base = Oid::from_bytes(&repo.base)?;
    let request = HaveRequest { repo_key: repo.key.clone(), commits: vec![base.to_vec()] };
    let have = jobs.have(request).await.map_err(|status| said(url, status))?.into_inner();
    let oids = |list: Vec<Vec<u8>>| list.iter().filter_map(|oid| Oid::from_bytes(oid).ok()).collect::<Vec<_>>();
    let wanted = if oids(have.commits).contains(&base) {
        None
    } else {
        let git_dir = Store::open(repo.path.as_ref())?.common_dir();
        pack::refuse_shallow(&git_dir)?;
        Some(Wanted { git_dir, base, has: oids(have.tips) })
    };
    let (parts, stream) = mpsc::channel(PIECES_AHEAD_MAX);
    let header = SubmitHeader { plan: Some(plan), new_job };
    let sending = async move {
        let header = SubmitPart { part: Some(submit_part::Part::Header(header)) };
        if parts.send(header).await.is_ok()
            && let Some(wanted) = &wanted
            && let Err(error) = pack::send(wanted, &parts).await
        {
            // The stream stays open until the call is dropped: the server sees a broken call.
            return Some((error, parts));
        }
        None
    };
    let call = jobs.submit(ReceiverStream::new(stream));
    tokio::pin!(call);
    tokio::pin!(sending);
    let mut sent = false;
    loop {
        tokio::select! {
            reply = &mut call => return Ok(reply.map_err(|status| said(url, status))?.into_inner()),
            failed = &mut sending, if !sent => {
                if let Some((error, _held)) = failed {
                    return Err(error);
                }
                sent = true;
            }
        }
    }
}
