//! The result of a job from the server's git into the user's repository.

use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::Store;
use longhaul_coordinator::landing::{Exported, Origin, Refs, export_from};
use longhaul_proto::JobStatus;

use crate::client::Client;
use crate::exit::Stop;

/// Writes the job's branch into the repository it was submitted from, fast-forward only.
pub fn fetch_branch(client: &Client, status: &JobStatus) -> anyhow::Result<Exported> {
    let server = client.server().ok_or_else(|| Stop::usage("there is no server to fetch from"))?;
    let repo = Path::new(&status.repo_path);
    let base: Oid = status.base.parse()?;
    // A path means something only on the machine that submitted the job.
    if !Store::open(repo).is_ok_and(|store| store.has(base)) {
        return Err(Stop::usage(format!(
            "{} is not the repository the job {} was submitted from (it lacks the base {}): run this where it was, or \
             fetch {} yourself",
            repo.display(),
            status.job,
            base.short(),
            server.at(&format!("git/{}.git", status.job)),
        )));
    }
    let url = server.at(&format!("git/{}.git", status.job));
    let env = server.git_env();
    let origin = Origin { place: url.as_ref(), env: &env };
    let receipts = Refs::of(&status.job).receipts();
    Ok(export_from(&origin, repo, &status.branch, status.tip.parse()?, &receipts)?)
}
