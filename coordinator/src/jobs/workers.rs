//! The fleet as people see it, and what can be asked of a worker.

use longhaul_common::JobId;
use longhaul_common::bus::{Link, Message, Subject};
use longhaul_common::server::Connection;
use longhaul_proto as pb;
use longhaul_proto::to_worker;
use longhaul_proto::worker_client::WorkerClient;
use prost::Message as _;
use tonic::Status;

use super::JobsService;
use crate::clock::SystemClock;
use crate::control::Control;
use crate::core::Millis;
use crate::driver::Clock as _;
use crate::fleet::Seen;
use crate::hub::{Identity, JobCard, off_runtime};

impl JobsService {
    /// Every worker heard of.
    pub(super) async fn worker_rows(&self) -> Vec<pb::WorkerRow> {
        let now = SystemClock.now_ms();
        let mut rows: Vec<pb::WorkerRow> =
            self.hub.inner.site.fleet.workers().iter().map(|seen| self.row(seen, now)).collect();
        for running in self.hub.running_jobs() {
            let asked = running.handle.query(|state, now| {
                let ill = state.infirmary.quarantined(now);
                ill.map(|(worker, health)| (worker.to_owned(), health.reason.clone())).collect::<Vec<_>>()
            });
            for (worker, reason) in asked.await.unwrap_or_default() {
                for row in rows.iter_mut().filter(|row| row.worker == worker && row.state == "present") {
                    "quarantined".clone_into(&mut row.state);
                    row.reason = format!("by job {}: {reason}", running.id);
                }
            }
        }
        rows
    }

    /// A client of the worker's own service. Whether it has one is known from the bus, but where it
    /// is and what opens it from the worker itself.
    pub(super) async fn worker_client(&self, presence: &pb::Presence) -> Result<WorkerClient<Connection>, String> {
        if presence.endpoint.is_empty() {
            return Err(format!("{} serves no requests of its own", presence.worker));
        }
        self.hub.inner.introductions.client(&presence.worker).await
    }

    /// Where the worker's own service is, and why it is not spoken to if it is not.
    fn endpoint_of(&self, presence: &pb::Presence) -> (String, String) {
        let announced = presence.endpoint.clone();
        match self.hub.inner.introductions.endpoint(&presence.worker) {
            _ if announced.is_empty() => (announced, String::new()),
            Some(Ok(endpoint)) => (endpoint, String::new()),
            Some(Err(error)) => (announced, error.to_string()),
            None => (announced, "the worker has not said yet how it is reached".to_owned()),
        }
    }

    /// Asks a worker to finish and leave, over the bus: it needs no service of its own.
    pub(super) fn drain(&self, worker: &str) -> Result<pb::ControlReply, Status> {
        let site = &self.hub.inner.site;
        let seen = site.fleet.worker(worker);
        let seen = seen.ok_or_else(|| Status::not_found(format!("no worker is called {worker:?}")))?;
        let row = self.row(&seen, SystemClock.now_ms());
        if row.state == "silent" {
            return Err(Status::unavailable(format!("{worker} cannot be asked: {}", row.reason)));
        }
        if seen.presence.draining {
            return Ok(pb::ControlReply { lines: vec![format!("{worker} drains already")], affected: 0 });
        }
        if let Link::Down { cause } = site.bus.link() {
            return Err(Status::unavailable(format!("{worker} cannot be asked, NATS does not answer: {cause}")));
        }
        let drain = pb::Drain { incarnation: seen.presence.incarnation };
        let payload = pb::ToWorker { message: Some(to_worker::Message::Drain(drain)) }.encode_to_vec().into();
        let id = format!("drain.{}", self.hub.next_send());
        let message = Message { subject: Subject::worker(worker), id, payload };
        site.bus.publish(message).map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(pb::ControlReply { lines: vec![format!("{worker} takes nothing new and leaves")], affected: 1 })
    }

    fn row(&self, seen: &Seen, now: Millis) -> pb::WorkerRow {
        let presence = &seen.presence;
        let (endpoint, unreached) = self.endpoint_of(presence);
        let (state, reason) = if seen.is_silent(now) {
            ("silent", format!("not heard for {} s", (now - seen.seen_ms) / 1000))
        } else if !seen.refused.is_empty() {
            ("refused", seen.refused.clone())
        } else if presence.draining {
            ("draining", String::new())
        } else if !presence.disk_low.is_empty() {
            ("disk low", presence.disk_low.clone())
        } else {
            ("present", String::new())
        };
        pb::WorkerRow {
            worker: presence.worker.clone(),
            state: state.to_owned(),
            reason,
            labels: presence.labels.clone(),
            work_slots: presence.work_slots,
            gate_slots: presence.gate_slots,
            running: u32::try_from(presence.holding.iter().map(|held| held.ids.len()).sum::<usize>())
                .unwrap_or(u32::MAX),
            seen_ms: seen.seen_ms,
            version: presence.version.clone(),
            bytes: presence.bytes,
            endpoint,
            unreached,
        }
    }
}

impl JobsService {
    /// Lets a quarantined worker have work again: of one job, or of every job that runs.
    pub(super) async fn release_worker(
        &self,
        who: &Identity,
        request: pb::ReleaseRequest,
    ) -> Result<pb::ControlReply, Status> {
        let control = |job: &str| {
            let request = pb::ReleaseRequest { job: job.to_owned(), ..request.clone() };
            Control::Release(request, String::new())
        };
        if !request.job.is_empty() {
            return self.control(who, &request.job, control(&request.job)).await;
        }
        let mut all = pb::ControlReply::default();
        for running in self.hub.running_jobs() {
            let worker = request.worker.clone();
            let is_in = running.handle.query(move |state, now| state.infirmary.is_quarantined(&worker, now));
            if !is_in.await.unwrap_or(false) {
                continue;
            }
            let reply = self.control(who, running.id.as_str(), control(running.id.as_str())).await?;
            all.affected += reply.affected;
            all.lines.extend(reply.lines.into_iter().map(|line| format!("{}: {line}", running.id)));
        }
        Ok(all)
    }

    /// One row a job, newest last.
    pub(super) async fn list_jobs(&self) -> Result<pb::JobList, Status> {
        let cards = match &self.hub.inner.only {
            Some(_) => Vec::new(),
            None => {
                let layout = self.hub.inner.site.layout.clone();
                off_runtime(move || Ok(JobCard::all(&layout))).await?
            }
        };
        let mut ids: Vec<JobId> = cards.iter().filter_map(|card| card.job.parse().ok()).collect();
        let running: Vec<JobId> = self.hub.running_jobs().into_iter().map(|running| running.id).collect();
        ids.extend(running.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.hub.find(&id).await {
                Ok(access) => {
                    let bytes = self.hub.bytes_of(&access).await;
                    let held = self.hub.is_held(&access);
                    jobs.push(pb::JobRow { bytes, held, ..job_row(access.status().await?) });
                }
                Err(error) => tracing::warn!(job = %id, %error, "a job cannot be listed"),
            }
        }
        Ok(pb::JobList { jobs })
    }
}

fn job_row(status: pb::JobStatus) -> pb::JobRow {
    pb::JobRow {
        job: status.job,
        goal: status.goal,
        phase: status.phase,
        counts: status.counts,
        started_ms: status.started_ms,
        source_path: status.source_path,
        live: status.live,
        bytes: None,
        held: false,
    }
}
