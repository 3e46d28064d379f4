//! Results on their way in: objects first, then the record, then the ack.
//!
//! Deliveries that arrive together are imported one after the other and made durable by one
//! barrier, before any of their records is written (invariant 1).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use longhaul_common::git::{Store, sync_objects};
use longhaul_common::layout::JobLayout;
use longhaul_common::room::says_out_of_room;
use longhaul_common::{AttemptId, GateId, Oid};
use longhaul_proto::{Ack, Failure, FailureClass, Finished, Report, Wip, finished, report};
use tokio::sync::{Semaphore, oneshot};

use crate::core::{Input, SESSION_BYTES_MAX};
use crate::driver::{Gone, Handle};
use crate::repos::{Incoming, import};
use crate::room::Room;
use crate::sessions::Sessions;
use crate::vet::{Measure, vet};

/// Deliveries made durable by one barrier at most.
pub const GROUP_MAX: usize = 64;

/// Deliveries of one job on their way in at the same time; more wait outside, where their pack and
/// logs lie on the disk.
pub const DELIVERIES_MAX: usize = 256;

/// A finished assignment as its worker hands it over.
#[derive(Debug)]
pub struct Delivery {
    /// The report; its body is `finished`.
    pub report: Report,
    /// The thin pack, where there are new objects.
    pub pack: Option<PathBuf>,
    /// Name and file of each log.
    pub logs: Vec<(String, PathBuf)>,
}

/// Why a delivery was not taken. The worker keeps it and tries again.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The coordinator is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The result could not be stored: disk or a damaged store.
    #[error("the result cannot be stored: {0}")]
    Store(String),
}

struct Waiting {
    delivery: Delivery,
    reply: oneshot::Sender<Result<Input, DeliverError>>,
}

/// The receiving side of the data plane.
#[derive(Clone)]
pub struct Results {
    handle: Handle,
    imports: Sender<Waiting>,
    places: Arc<Semaphore>,
    job: String,
    room: Room,
}

impl Results {
    /// Starts the importing thread over a job's store.
    pub fn start(handle: Handle, layout: JobLayout, store: PathBuf, job: String, room: Room) -> std::io::Result<Self> {
        let (imports, waiting) = channel();
        let (bases, of_job) = (handle.clone(), job.clone());
        std::thread::Builder::new().name("longhaul-import".to_owned()).spawn(move || {
            let sessions = Sessions::of(&layout);
            import_all(&waiting, &Importer { job: of_job, layout, sessions, store, handle: bases });
        })?;
        Ok(Self { handle, imports, places: Arc::new(Semaphore::new(DELIVERIES_MAX)), job, room })
    }

    /// Takes a result in; returns when its record is durable.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Ack, DeliverError> {
        let taken = self.take(delivery).await;
        match &taken {
            Ok(_) => self.room.taken(),
            Err(DeliverError::Store(cause)) if says_out_of_room(cause) => self.room.refused(),
            Err(_) => {}
        }
        taken
    }

    async fn take(&self, delivery: Delivery) -> Result<Ack, DeliverError> {
        if delivery.report.job != self.job {
            // Another job's store answers for its attempts.
            return Err(DeliverError::Store(format!("it is a result of the job {:?}", delivery.report.job)));
        }
        let _place = self.places.acquire().await.map_err(|_| Gone::Ended)?;
        // Sooner than after its pack and logs were taken in.
        self.handle.writable()?;
        if let Some(input) = without_objects(&delivery) {
            return self.record(input).await;
        }
        let (reply, imported) = oneshot::channel();
        self.imports.send(Waiting { delivery, reply }).map_err(|_| Gone::Ended)?;
        let input = imported.await.map_err(|_| Gone::Ended)??;
        self.record(input).await
    }

    async fn record(&self, input: Input) -> Result<Ack, DeliverError> {
        let disposition = self.handle.deliver(input).await?;
        Ok(Ack { disposition: disposition.as_str().to_owned() })
    }
}

/// What a delivery without files and new objects is to the core; there is nothing to import.
fn without_objects(delivery: &Delivery) -> Option<Input> {
    let id = delivery.report.id;
    let Some(report::Body::Finished(finished)) = &delivery.report.body else { return None };
    let objects = match &finished.outcome {
        Some(finished::Outcome::Patch(_)) => true,
        Some(finished::Outcome::Gate(result)) => !result.derived_commit.is_empty(),
        _ => false,
    };
    if objects || delivery.pack.is_some() || !delivery.logs.is_empty() {
        return None;
    }
    Some(Input::Finished { id, finished: Box::new(finished.clone()) })
}

/// What a delivery is to the core whose reading ended in a defect of ours.
struct Unread {
    id: u64,
    wip: bool,
}

fn unread(report: &Report) -> Unread {
    Unread { id: report.id, wip: matches!(report.body, Some(report::Body::Wip(_))) }
}

impl Unread {
    /// A failure that is nobody's; of work in progress nothing.
    fn told(self) -> Input {
        tracing::error!(id = self.id, "a result could not be read, which is a defect of Longhaul");
        if self.wip {
            return Input::Wip { id: 0, wip: Box::default() };
        }
        let failure = Failure {
            class: FailureClass::Infrastructure.into(),
            message: "its result could not be read, which is a defect of Longhaul".to_owned(),
            ..Failure::default()
        };
        let finished = Finished { outcome: Some(finished::Outcome::Failure(failure)), ..Finished::default() };
        Input::Finished { id: self.id, finished: Box::new(finished) }
    }
}

struct Importer {
    job: String,
    layout: JobLayout,
    sessions: Sessions,
    store: PathBuf,
    handle: Handle,
}

fn import_all(waiting: &Receiver<Waiting>, importer: &Importer) {
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        // What brings no files has nothing to be made durable but its record.
        let brings_files =
            group.iter().any(|waiting| waiting.delivery.pack.is_some() || !waiting.delivery.logs.is_empty());
        let results: Vec<_> = group
            .into_iter()
            .map(|Waiting { delivery, reply }| {
                let unread = unread(&delivery.report);
                // A defect in reading one result must not end the import of all, nor bring it again for ever.
                let taken = catch_unwind(AssertUnwindSafe(|| importer.take(delivery)));
                (reply, taken.unwrap_or_else(|_| Ok(unread.told())))
            })
            .collect();
        let synced = match brings_files {
            true => sync_objects(&importer.store.join("objects")).map_err(|error| error.to_string()),
            false => Ok(()),
        };
        for (reply, result) in results {
            let result = match &synced {
                Ok(()) => result,
                Err(error) => Err(DeliverError::Store(error.clone())),
            };
            // The worker may be gone; its outbox still has the result.
            drop(reply.send(result));
        }
    }
}

impl Importer {
    fn take(&self, delivery: Delivery) -> Result<Input, DeliverError> {
        let id = delivery.report.id;
        self.keep_logs(id, &delivery.logs)?;
        let mut finished = match delivery.report.body {
            Some(report::Body::Finished(finished)) => finished,
            Some(report::Body::Wip(wip)) => return self.take_wip(id, wip, delivery.pack.as_deref()),
            _ => Finished::default(),
        };
        if let Some((commit, tree, base)) = self.new_commit(id, &finished) {
            let refused = match (&delivery.pack, Oids::of(&commit, &tree, &base)) {
                (Some(pack), Some(oids)) => self.import(id, pack, &oids)?,
                _ => Some("it names a commit and brings no pack".to_owned()),
            };
            if refused.is_none()
                && let Some(measure) = self.ask(move |state| Measure::of(state, id))
            {
                let vetted = Store::open_own(&self.store).and_then(|store| vet(&store, &measure, &mut finished));
                vetted.map_err(|error| DeliverError::Store(error.to_string()))?;
            }
            if let Some(cause) = refused {
                finished.outcome = Some(finished::Outcome::Failure(Failure {
                    class: FailureClass::Infrastructure.into(),
                    message: "its result could not be taken into the store".to_owned(),
                    detail: cause,
                    ..Failure::default()
                }));
            }
        }
        Ok(Input::Finished { id, finished: Box::new(finished) })
    }

    /// Work in progress: its commit stands on the base of its live attempt, or it is dropped.
    fn take_wip(&self, id: u64, mut wip: Wip, pack: Option<&Path>) -> Result<Input, DeliverError> {
        let base = self.ask(move |state| state.attempts().get(&AttemptId(id)).map(|live| live.base));
        let oids = base.and_then(|base| Oids::of(&wip.commit, &wip.tree, &base.to_vec()));
        let refused = match (oids, pack) {
            (Some(oids), Some(pack)) => self.import(id, pack, &oids)?,
            _ => Some("its attempt is not live, or it brings no pack".to_owned()),
        };
        match refused {
            // An id nobody has: the core answers `closed`.
            Some(cause) => {
                tracing::warn!(id, cause, "work in progress was dropped");
                Ok(Input::Wip { id: 0, wip: Box::default() })
            }
            // Too large: the core takes no note of it.
            None if wip.session.len() > SESSION_BYTES_MAX => Ok(Input::Wip { id, wip: Box::new(wip) }),
            None => {
                let kept = self.sessions.keep(&mut wip);
                kept.map_err(|error| DeliverError::Store(format!("{}: {error}", self.layout.sessions().display())))?;
                Ok(Input::Wip { id, wip: Box::new(wip) })
            }
        }
    }

    /// Asks the state from this thread.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::core::State) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = channel();
        self.handle.input_query(Box::new(move |state, _| {
            let _asker_left = reply.send(question(state));
        }));
        answer.recv().ok().flatten()
    }

    /// The commit a report brings, with its tree and parent.
    fn new_commit(&self, id: u64, finished: &Finished) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        match finished.outcome.as_ref()? {
            finished::Outcome::Patch(patch) => Some((patch.commit.clone(), patch.tree.clone(), patch.base.clone())),
            finished::Outcome::Gate(result) if !result.derived_commit.is_empty() => {
                let gated = self.ask(move |state| state.landing.gates.get(&GateId(id)).map(|run| run.commit))?;
                Some((result.derived_commit.clone(), result.derived_tree.clone(), gated.to_vec()))
            }
            _ => None,
        }
    }

    /// Why the result is no good, if it is not; an error when it could not be looked at.
    fn import(&self, id: u64, pack: &Path, oids: &Oids) -> Result<Option<String>, DeliverError> {
        let incoming = Incoming { job: &self.job, id, pack, commit: oids.commit, tree: oids.tree, base: oids.base };
        match import(&self.store, &incoming) {
            Ok(()) => Ok(None),
            Err(error) if error.blames_result() => Ok(Some(error.to_string())),
            Err(error) => Err(DeliverError::Store(error.to_string())),
        }
    }

    fn keep_logs(&self, id: u64, logs: &[(String, PathBuf)]) -> Result<(), DeliverError> {
        let folder = self.layout.logs(id);
        let failed = |error: std::io::Error| DeliverError::Store(format!("{}: {error}", folder.display()));
        if !logs.is_empty() {
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        for (name, file) in logs {
            // A name is a file name, never a path.
            let Some(name) = Path::new(name).file_name() else { continue };
            match std::fs::copy(file, folder.join(name)) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

struct Oids {
    commit: Oid,
    tree: Oid,
    base: Oid,
}

impl Oids {
    fn of(commit: &[u8], tree: &[u8], base: &[u8]) -> Option<Self> {
        Some(Self {
            commit: Oid::from_bytes(commit).ok()?,
            tree: Oid::from_bytes(tree).ok()?,
            base: Oid::from_bytes(base).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_cannot_be_read_is_told_and_does_not_come_for_ever() {
        let report = |body| Report { id: 7, body: Some(body), ..Report::default() };
        let finished = unread(&report(report::Body::Finished(Finished::default()))).told();
        let Input::Finished { id: 7, finished } = finished else { panic!("{finished:?}") };
        let Some(finished::Outcome::Failure(failure)) = &finished.outcome else { panic!("{finished:?}") };
        assert_eq!(failure.class(), FailureClass::Infrastructure);
        let wip = unread(&report(report::Body::Wip(Wip::default()))).told();
        assert!(matches!(wip, Input::Wip { id: 0, .. }), "{wip:?}");
    }
}
