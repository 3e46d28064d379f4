//! Requests that change a job: prepared from the names in them, decided by its driver, answered
//! when durable. A closed job is opened for the request and runs again if it led to anything.

use longhaul_common::JobId;
use longhaul_common::bus::{Message, Subject};
use longhaul_proto as pb;
use longhaul_proto::agent::Kind;
use longhaul_proto::{SteerWork, ToWorker, to_worker};
use prost::Message as _;
use tonic::Status;

use super::JobsService;
use super::guard::{audited, role_name};
use crate::control::{Control, Prepared, prepare};
use crate::coordinator::{Job, Running};
use crate::core::{JobPhase, State};
use crate::hub::{AccessError, Hub, Identity, JobAccess, Role, control_job, off_runtime};
use crate::select::{self, SelectError};

impl JobsService {
    /// Carries a control out for somebody who may: to its end, also when the caller leaves.
    pub(super) async fn control(
        &self,
        who: &Identity,
        job: &str,
        control: Control,
    ) -> Result<pb::ControlReply, Status> {
        let (service, who, job) = (self.clone(), who.clone(), job.to_owned());
        self.hub.to_its_end(async move { service.carry_out(&who, &job, control).await }).await?
    }

    async fn carry_out(&self, who: &Identity, job: &str, control: Control) -> Result<pb::ControlReply, Status> {
        let access = self.access(job).await?;
        // Whoever is on this machine may say more of himself than that he is.
        let control = if *who == Identity::local() { control } else { control.said_by(&who.name) };
        let asked = audited(who, control.role(), control.name(), control.detail());
        tracing::info!(who = asked.who, what = asked.what, detail = asked.detail, job = %access.id(), "asked");
        Ok(match access {
            JobAccess::Running(running) => {
                // Names become numbers here, and a new plan would number subtasks anew.
                let _turn = self.hub.turn().await?;
                control_running(&running, control, asked).await?
            }
            JobAccess::Files(files) => {
                let id: JobId = files.state().job().parse().map_err(|_| Status::internal("a job without a name"))?;
                drop(files);
                self.hub.control_closed(&id, control, asked).await?
            }
        })
    }

    /// Words for the agent at work.
    pub(super) async fn steer_agent(
        &self,
        who: &Identity,
        request: pb::SteerRequest,
    ) -> Result<pb::ControlReply, Status> {
        if request.text.is_empty() || request.text.len() > STEER_BYTES_MAX {
            return Err(Status::invalid_argument(format!("1 to {STEER_BYTES_MAX} bytes of text are expected")));
        }
        let access = self.access(&request.job).await?;
        let JobAccess::Running(running) = access else {
            return Err(Status::failed_precondition("nobody works on the job at the moment"));
        };
        let wanted = request.subtask.clone();
        let found =
            running.handle.query(move |state, _| Ok::<_, SelectError>(listener(state, select::one(state, &wanted)?)));
        let (id, worker) =
            found.await.map_err(AccessError::from)?.map_err(AccessError::from)?.map_err(Status::failed_precondition)?;
        let steer = SteerWork { job: running.id.to_string(), id, text: request.text };
        let payload = ToWorker { message: Some(to_worker::Message::Steer(steer)) }.encode_to_vec().into();
        let message_id = format!("{}.{id}.steer.{}", running.id, self.hub.next_send());
        let message = Message { subject: Subject::worker(&worker), id: message_id, payload };
        running.site.bus.publish(message).map_err(|error| Status::unavailable(error.to_string()))?;
        tracing::info!(who = who.name, role = role_name(Role::Submit), job = %running.id, id, "steered");
        Ok(pb::ControlReply { lines: vec![format!("told attempt {id} on {worker}")], affected: 1 })
    }
}

/// Words for an agent are short.
const STEER_BYTES_MAX: usize = 64 << 10;

/// The live attempt of a subtask and its worker, if its agent listens; otherwise why not.
fn listener(state: &State, node: longhaul_common::NodeId) -> Result<(u64, String), String> {
    let name = &state.node(node).id;
    let live = state.attempts().iter().find(|(_, live)| live.node == node);
    let Some((id, live)) = live else { return Err(format!("{name} is not being worked on")) };
    let ladder = state.task(node).ladder.iter().filter_map(|&agent| state.plan().agents.get(agent as usize));
    if !ladder.clone().any(|agent| listens(agent.kind.as_ref())) {
        let names: Vec<&str> = ladder.map(|agent| agent.name.as_str()).collect();
        let names = names.join(", ");
        return Err(format!("no agent of {name} takes words ({names}); use `longhaul retry --remark`"));
    }
    Ok((id.0, live.worker.clone()))
}

fn listens(kind: Option<&Kind>) -> bool {
    match kind {
        Some(Kind::Model(_) | Kind::Acp(_) | Kind::Codex(_)) => true,
        Some(Kind::Codemod(_) | Kind::Command(_)) | None => false,
    }
}

async fn control_running(
    running: &Running,
    control: Control,
    asked: pb::Audited,
) -> Result<pb::ControlReply, AccessError> {
    let store = running.store.clone();
    let prepared = running.handle.query(move |state, _| prepare(state, &store, control)).await?;
    let Prepared { request, lines } = prepared?;
    let led = running.handle.request_by(asked, request).await?;
    let events = led.map_err(AccessError::Refused)?;
    let affected = u32::try_from(events).unwrap_or(u32::MAX);
    Ok(pb::ControlReply { lines: if events == 0 { Vec::new() } else { lines }, affected })
}

impl Hub {
    /// A request to a job that does not run here: carried out under its lock; then it runs, if it
    /// is open.
    async fn control_closed(
        &self,
        id: &JobId,
        control: Control,
        asked: pb::Audited,
    ) -> Result<pb::ControlReply, AccessError> {
        let _turn = self.turn().await?;
        if let Some(running) = self.running(id) {
            return control_running(&running, control, asked).await;
        }
        self.forget_files(id);
        let (layout, job) = (self.inner.site.layout.clone(), id.clone());
        let done = off_runtime(move || {
            let mut job = Job::open(&layout, &job)?;
            let reply = control_job(&mut job, &layout, control, Some(&asked))?;
            Ok((job, reply))
        });
        let (job, reply) = done.await?;
        if !matches!(job.state().job_phase(), JobPhase::Closed { .. }) {
            self.run(job).await?;
        }
        Ok(reply)
    }
}
