//! Talking to a job: to the server that has it, to its running coordinator on this machine, or to
//! its files when nobody runs it.

mod connect;
mod streams;
pub mod words;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use longhaul_common::JobId;
use longhaul_common::layout::{JobLayout, repo_key};
use longhaul_common::server::ServerAccess;
use longhaul_coordinator::checkpoint::{Index, recover_read_only};
use longhaul_coordinator::control::Control;
use longhaul_coordinator::coordinator::store_of;
use longhaul_coordinator::core::{State, explain};
use longhaul_coordinator::hub::{AccessError, control_files};
use longhaul_coordinator::upkeep::measure;
use longhaul_coordinator::{select, view};
use longhaul_proto as pb;

use crate::context::{Context, JOB_FILE, choose};
use crate::exit::{Exit, Stop};

pub use connect::{Jobs, cards_of, here_on, host_name, remote as server_jobs, remote_jobs};
pub use words::said;

/// A job to ask and to steer.
#[derive(Clone)]
pub struct Client {
    job: JobId,
    context: Context,
    access: Access,
}

#[derive(Clone)]
enum Access {
    Remote(Jobs),
    Live(Jobs),
    Files(Box<State>),
}

impl Client {
    /// Reaches the server or the job's coordinator, or reads its files.
    pub async fn open(context: &Context, job: &JobId) -> anyhow::Result<Self> {
        if let Some(server) = &context.server {
            return Ok(Self::remote(context, job, connect::remote(server)?));
        }
        let access = match connect::local(context.layout.socket(job)).await {
            Some(client) => Access::Live(client),
            None => {
                let recovered = recover_read_only(&context.layout.job(job))
                    .with_context(|| format!("cannot read the job {job}"))?;
                Access::Files(Box::new(recovered.state))
            }
        };
        Ok(Self { job: job.clone(), context: context.clone(), access })
    }

    /// A job of the server at the other end.
    pub fn remote(context: &Context, job: &JobId, jobs: Jobs) -> Self {
        Self { job: job.clone(), context: context.clone(), access: Access::Remote(jobs) }
    }

    /// The job a verb's argument means, opened.
    pub async fn find(context: &Context, wanted: Option<&str>) -> anyhow::Result<Self> {
        let Some(server) = &context.server else { return Self::open(context, &context.find_job(wanted)?).await };
        let mut jobs = connect::remote(server)?;
        let rows = remote_jobs(&mut jobs, &server.url).await?;
        let job = choose(&cards_of(&rows), wanted, here_on(Path::new(JOB_FILE)).as_deref())?;
        Ok(Self::remote(context, &job, jobs))
    }

    /// What a failed request means, in words.
    pub fn said(&self, status: tonic::Status) -> anyhow::Error {
        match &self.access {
            Access::Remote(_) => said(self.url(), status),
            Access::Live(_) | Access::Files(_) => said("", status),
        }
    }

    fn url(&self) -> &str {
        self.context.server.as_ref().map_or("", |server| server.url.as_str())
    }

    /// How its server is reached, where it is not on this machine.
    pub fn server(&self) -> Option<&ServerAccess> {
        match &self.access {
            Access::Remote(_) => self.context.server.as_ref(),
            Access::Live(_) | Access::Files(_) => None,
        }
    }

    /// Its name.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Its folder.
    pub fn layout(&self) -> JobLayout {
        self.context.layout.job(&self.job)
    }

    /// The client of the server or the running coordinator, where there is one.
    pub fn rpc(&self) -> Option<Jobs> {
        match &self.access {
            Access::Remote(client) | Access::Live(client) => Some(client.clone()),
            Access::Files(_) => None,
        }
    }

    /// As [`Client::rpc`], for what cannot be had from files.
    pub fn running(&self) -> anyhow::Result<Jobs> {
        let job = &self.job;
        self.rpc().ok_or_else(|| {
            Stop::failed(format!("nobody runs the job at the moment: `longhaul resume {job}` goes on with it"))
        })
    }

    /// Where it stands.
    pub async fn status(&self) -> anyhow::Result<pb::JobStatus> {
        match &self.access {
            Access::Remote(client) | Access::Live(client) => {
                let request = pb::GetRequest { job: self.job.to_string() };
                Ok(client.clone().get(request).await.map_err(|status| self.said(status))?.into_inner())
            }
            Access::Files(state) => {
                let status = view::job_status(state, state.now_ms(), &view::ProgressMap::new(), false);
                let bytes = Some(measure(&self.layout(), &self.store_of(state)));
                Ok(pb::JobStatus { bytes, ..status })
            }
        }
    }

    /// Subtasks that match.
    pub async fn subtasks(&self, mut request: pb::SubtasksRequest) -> anyhow::Result<pb::SubtaskList> {
        request.job = self.job.to_string();
        match &self.access {
            Access::Remote(client) | Access::Live(client) => {
                Ok(client.clone().subtasks(request).await.map_err(|status| self.said(status))?.into_inner())
            }
            Access::Files(state) => Ok(view::subtask_list(state, &request)),
        }
    }

    /// One subtask in full.
    pub async fn show(&self, subtask: &str) -> anyhow::Result<pb::SubtaskDetail> {
        match &self.access {
            Access::Remote(client) | Access::Live(client) => {
                let request = pb::ShowRequest { job: self.job.to_string(), subtask: subtask.to_owned() };
                Ok(client.clone().show(request).await.map_err(|status| self.said(status))?.into_inner())
            }
            Access::Files(state) => {
                let node = select::one(state, subtask).map_err(Stop::usage)?;
                let mut detail = view::subtask_detail(state, node);
                let index = Index::open(&self.layout()).ok();
                view::complete_detail(
                    &mut detail,
                    self.job.as_str(),
                    &self.layout(),
                    &self.store_of(state),
                    index.as_ref(),
                );
                Ok(detail)
            }
        }
    }

    /// Why a subtask is not running.
    pub async fn explain(&self, subtask: &str) -> anyhow::Result<pb::Explanation> {
        match &self.access {
            Access::Remote(client) | Access::Live(client) => {
                let request = pb::ExplainRequest { job: self.job.to_string(), subtask: subtask.to_owned() };
                Ok(client.clone().explain(request).await.map_err(|status| self.said(status))?.into_inner())
            }
            Access::Files(state) => {
                let node = select::one(state, subtask).map_err(Stop::usage)?;
                let mut found = explain(state, node, state.now_ms());
                if !matches!(state.job_phase(), longhaul_coordinator::core::JobPhase::Closed { .. }) {
                    found.causes.push("nobody runs the job at the moment".to_owned());
                    found.next.push(format!("longhaul resume {}", self.job));
                }
                Ok(found)
            }
        }
    }

    /// Carries out a request: by the coordinator, or in the files under the job's lock.
    pub async fn control(&self, control: Control) -> anyhow::Result<pb::ControlReply> {
        let Some(mut client) = self.rpc() else { return self.control_files(control) };
        let control = named(control, self.job.as_str());
        let reply = match control {
            Control::Pause(request) => client.pause(request).await,
            Control::Resume(request) => client.resume(request).await,
            Control::Cancel(request) => client.cancel(request).await,
            Control::Retry(request) => client.retry(request).await,
            Control::Approve(request) => client.approve(request).await,
            Control::Revert(request) => client.revert(request).await,
            Control::Answer(request, _) => client.answer(request).await,
            Control::Release(request, _) => client.release(request).await,
        };
        Ok(reply.map_err(|status| self.said(status))?.into_inner())
    }

    fn control_files(&self, control: Control) -> anyhow::Result<pb::ControlReply> {
        control_files(&self.context.layout, &self.job, control).map_err(|error| match error {
            AccessError::Open(error) => error.into(),
            AccessError::Select(_) | AccessError::Refused(_) | AccessError::Store(_) => Stop::usage(error),
            error => error.into(),
        })
    }

    /// The coordinator's bare store of the job's repository, on this machine.
    pub async fn store(&self) -> anyhow::Result<PathBuf> {
        if matches!(self.access, Access::Remote(_)) {
            let text = format!("the repository of the job is with the server {}", self.url());
            return Err(Stop { exit: Exit::Usage, text }.into());
        }
        if let Access::Files(state) = &self.access {
            return Ok(self.store_of(state));
        }
        let status = self.status().await?;
        Ok(self.context.layout.store(&repo_key(status.repo_path.as_ref())))
    }

    fn store_of(&self, state: &State) -> PathBuf {
        store_of(&self.context.layout, &state.plan().repo.clone().unwrap_or_default())
    }
}

/// A request that says which job it is about: a server has many.
fn named(mut control: Control, job: &str) -> Control {
    let name = match &mut control {
        Control::Pause(request) => &mut request.job,
        Control::Resume(request) => &mut request.job,
        Control::Cancel(request) => &mut request.job,
        Control::Retry(request) => &mut request.job,
        Control::Approve(request) => &mut request.job,
        Control::Revert(request) => &mut request.job,
        Control::Answer(request, _) => &mut request.job,
        Control::Release(request, _) => &mut request.job,
    };
    job.clone_into(name);
    control
}
