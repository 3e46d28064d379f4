//! Following a job: the journal first, then records as they become durable, until the job closes.
//!
//! A watcher that is too slow for the queue of live records reads the journal again from where it
//! is. When the coordinator of the job ends under it, the rest is told from the files; a job that
//! runs again in the meantime is followed further.

use std::sync::Arc;
use std::time::Duration;

use longhaul_common::JobId;
use longhaul_proto as pb;
use longhaul_proto::Record;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::checkpoint::{CheckpointError, each_record, oldest_record};
use crate::driver::Gone;
use crate::effects::Records;
use crate::hub::{AccessError, Hub, JobAccess, off_runtime};
use crate::view;

/// Events a watcher may be behind before its reading of the journal waits for it.
pub(super) const WATCH_BUFFER: usize = 256;

/// Records of the journal described at once.
const GROUP: usize = 512;

/// Groups of records read ahead of a watcher.
const GROUPS_AHEAD: usize = 2;

/// How long one group of records may take to be told before its reading ends, to begin again where
/// the watcher is once he takes more.
const UNREAD_MAX: Duration = Duration::from_secs(5);

/// How a reading of the journal ended.
#[derive(PartialEq, Eq)]
enum Read {
    /// At the journal's end.
    Whole,
    /// The watcher takes nothing.
    Stalled,
}

/// Feeds one watcher.
pub(super) struct Watcher {
    pub hub: Hub,
    pub job: JobId,
    /// The last record that was told.
    pub seen: u64,
    pub events: mpsc::Sender<Result<pb::WatchEvent, Status>>,
}

/// Why no more is told.
enum End {
    /// The watcher left.
    Left,
    /// It is told this.
    Said(Box<Status>),
}

impl From<AccessError> for End {
    fn from(error: AccessError) -> Self {
        Self::Said(Box::new(error.into()))
    }
}

impl Watcher {
    /// Until the job closes, the hub ends or the watcher leaves.
    pub async fn run(mut self) {
        if let Err(End::Said(status)) = self.follow().await {
            // The watcher may be gone.
            drop(self.events.send(Err(*status)).await);
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        loop {
            let access = self.hub.find(&self.job).await?;
            // Subscribed before the journal is read, so that nothing falls between.
            let live = match &access {
                JobAccess::Running(running) => Some((running.records.subscribe(), running.ended.clone())),
                JobAccess::Files(_) => None,
            };
            self.say_retired(&access).await?;
            match (self.read_journal(&access).await, &live) {
                // The driver ended under it: its files have the rest.
                (Err(End::Said(status)), Some((_, ended))) if status.code() == tonic::Code::Unavailable => {
                    let stop = self.hub.stopping();
                    tokio::select! {
                        () = ended.cancelled() => {}
                        () = stop.cancelled() => return self.ending(),
                    }
                    continue;
                }
                (read, _) => read?,
            }
            match live {
                Some((live, ended)) => {
                    let stop = self.hub.stopping();
                    self.live(&access, live, &ended, &stop).await?;
                    drop(access);
                    if stop.is_cancelled() {
                        return self.ending();
                    }
                }
                // Its coordinator ended with the server before it was found: there is more to come.
                None if self.hub.stopping().is_cancelled() && !is_over(&access) => return self.ending(),
                None => return Ok(()),
            }
        }
    }

    /// Events whose records are retired cannot be told any more; that is said instead.
    async fn say_retired(&mut self, access: &JobAccess) -> Result<(), End> {
        let layout = access.layout();
        let first = off_runtime(move || Ok(oldest_record(&layout)?)).await?;
        if let Some(event) = first.and_then(|first| view::retired_event(self.seen, first)) {
            self.seen = event.seq;
            self.events.send(Ok(event)).await.map_err(|_| End::Left)?;
        }
        Ok(())
    }

    /// A server that ends says where to go on; a process of one job ends with it.
    fn ending(&self) -> Result<(), End> {
        if self.hub.runs_one_job() {
            return Ok(());
        }
        let text = format!("the server is ending: watch again after {}", self.seen);
        Err(End::Said(Box::new(Status::unavailable(text))))
    }

    /// Tells live records until the coordinator or the hub ends.
    async fn live(
        &mut self,
        access: &JobAccess,
        mut live: broadcast::Receiver<Records>,
        ended: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        loop {
            let batch = tokio::select! {
                biased;
                batch = live.recv() => batch,
                () = ended.cancelled() => return Ok(()),
                () = stop.cancelled() => break,
                () = self.events.closed() => return Err(End::Left),
            };
            let told = match batch {
                Ok(batch) => self.tell(access, &batch).await,
                // Too slow for the queue: the journal has what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.read_journal(access).await,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            match told {
                // The driver ended: its files have the rest.
                Err(End::Said(status)) if status.code() == tonic::Code::Unavailable => {
                    tokio::select! {
                        () = ended.cancelled() => return Ok(()),
                        () = stop.cancelled() => return Ok(()),
                    }
                }
                told => told?,
            }
        }
        // What was durable before the end is told before it.
        while let Ok(batch) = live.try_recv() {
            self.tell(access, &batch).await?;
        }
        Ok(())
    }

    /// The journal behind what was told, again from there whenever the watcher stalled.
    async fn read_journal(&mut self, access: &JobAccess) -> Result<(), End> {
        while self.read_on(access).await? == Read::Stalled {
            // A place for the next event: it is given back, for nobody else takes it.
            drop(self.events.reserve().await.map_err(|_| End::Left)?);
        }
        Ok(())
    }

    async fn read_on(&mut self, access: &JobAccess) -> Result<Read, End> {
        let (layout, after) = (access.layout(), self.seen);
        let (groups, mut ahead) = mpsc::channel::<Vec<Record>>(GROUPS_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            let mut group = Vec::with_capacity(GROUP);
            let read = each_record(&layout, after, |record| {
                group.push(record);
                if group.len() == GROUP {
                    // A watcher that left is noticed when the rest is told.
                    drop(groups.blocking_send(std::mem::take(&mut group)));
                }
                Ok::<(), CheckpointError>(())
            });
            drop(groups.blocking_send(group));
            read
        });
        while let Some(group) = ahead.recv().await {
            match tokio::time::timeout(UNREAD_MAX, self.tell(access, &Arc::new(group))).await {
                Ok(told) => told?,
                // The thread that reads is not kept for a watcher who does not.
                Err(_) => return Ok(Read::Stalled),
            }
        }
        match reading.await {
            Ok(Ok(())) => Ok(Read::Whole),
            Ok(Err(error)) => Err(AccessError::from(error).into()),
            Err(error) => Err(End::Said(Box::new(Status::internal(error.to_string())))),
        }
    }

    async fn tell(&mut self, access: &JobAccess, batch: &Records) -> Result<(), End> {
        let (from, batch) = (self.seen, Arc::clone(batch));
        let last = batch.last().map_or(from, |record| record.seq).max(from);
        let describe = || {
            let batch = Arc::clone(&batch);
            access.ask(move |state, _| {
                let fresh = batch.iter().filter(|record| record.seq > from);
                fresh.filter_map(|record| view::watch_event(state, record)).collect::<Vec<_>>()
            })
        };
        let described = loop {
            match (describe().await, access) {
                // What is durable is told later: nothing happens meanwhile.
                (Err(AccessError::Gone(Gone::Unwritten { .. })), JobAccess::Running(running)) => tokio::select! {
                    () = running.handle.wait_writable() => {}
                    () = self.events.closed() => return Err(End::Left),
                    () = running.ended.cancelled() => return Err(AccessError::Gone(Gone::Ended).into()),
                },
                (described, _) => break described?,
            }
        };
        for event in described {
            let seq = event.seq;
            self.events.send(Ok(event)).await.map_err(|_| End::Left)?;
            // Cut here, it goes on behind what was told.
            self.seen = seq;
        }
        self.seen = last;
        Ok(())
    }
}

/// Whether nothing more will happen in a job that does not run here.
fn is_over(access: &JobAccess) -> bool {
    matches!(access, JobAccess::Files(files) if files.is_closed())
}
