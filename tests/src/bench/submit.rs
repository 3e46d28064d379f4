//! Plans handed to a server as the command line does it, and what its journal says became of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use longhaul_common::Oid;
use longhaul_common::layout::JobLayout;
use longhaul_common::server::ServerAccess;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_proto as pb;
use longhaul_proto::jobs_client::JobsClient;
use longhaul_proto::submit_part;

use super::noop;

/// Name of the repository's store on the server.
pub const KEY: &str = "bench";

/// How often a journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A plan of no-ops for a server.
pub fn plan(base: Vec<u8>, job: &str, count: usize, chained: bool, parallel: u32) -> pb::Plan {
    let mut plan = noop::plan(Path::new("/nowhere"), base, count, chained, parallel);
    plan.job = job.to_owned();
    if let Some(repo) = &mut plan.repo {
        repo.key = KEY.to_owned();
    }
    plan
}

/// A pack with the whole history of a commit, as a file in `folder`.
pub fn pack(folder: &Path, repo: &Path, base: &[u8]) -> anyhow::Result<PathBuf> {
    let path = folder.join("base.pack");
    let tip = folder.join("base.tip");
    std::fs::write(&tip, format!("{}\n", Oid::from_bytes(base)?))?;
    let status = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(["pack-objects", "--revs", "--stdout", "--quiet"])
        .stdin(Stdio::from(std::fs::File::open(&tip)?))
        .stdout(Stdio::from(std::fs::File::create(&path)?))
        .status()?;
    anyhow::ensure!(status.success(), "git pack-objects ended with {status}");
    Ok(path)
}

/// Submits over gRPC.
pub async fn submit(server: &str, plan: pb::Plan, pack: &Path) -> anyhow::Result<()> {
    let access = ServerAccess { url: server.to_owned(), ..ServerAccess::default() };
    let header = pb::SubmitHeader { plan: Some(plan), new_job: true };
    let parts = [submit_part::Part::Header(header), submit_part::Part::Pack(std::fs::read(pack)?)];
    let parts = futures::stream::iter(parts.map(|part| pb::SubmitPart { part: Some(part) }));
    JobsClient::new(access.connect()?).max_encoding_message_size(64 << 20).submit(parts).await?;
    Ok(())
}

/// Waits until a record behind `after` is what is looked for, at most so long; gives what it finds
/// and the record's time in milliseconds since the epoch.
pub fn wait_for<T>(
    job: &JobLayout,
    mut after: u64,
    most: Duration,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> anyhow::Result<(T, u64, i64)> {
    let begun = Instant::now();
    while begun.elapsed() < most {
        for record in read_records(job, after)? {
            after = record.seq;
            if let Some(found) = record.event.as_ref().and_then(&mut wanted) {
                return Ok((found, record.seq, record.at_ms));
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    anyhow::bail!("it did not happen within {} s", most.as_secs())
}

/// From the first assignment of a job to its end, which must be a good one.
pub fn span(job: &JobLayout) -> anyhow::Result<Duration> {
    let (mut first, mut last) = (None, None);
    for record in read_records(job, 0)? {
        match record.event {
            Some(Event::Assigned(_)) => first = first.or(Some(record.at_ms)),
            Some(Event::JobClosed(closed)) => {
                anyhow::ensure!(closed.outcome() == pb::JobOutcome::Done, "the job ended badly: {closed:?}");
                last = Some(record.at_ms);
            }
            _ => {}
        }
    }
    let ms = last.context("the job did not end")? - first.context("nothing was assigned")?;
    Ok(Duration::from_millis(u64::try_from(ms)?))
}
