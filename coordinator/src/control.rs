//! Requests of people, from the names they use to what the core decides: the same for a running
//! coordinator and for a job that nobody runs at the moment.

use std::path::Path;

use longhaul_common::git::{Store, StoreError};
use longhaul_common::{NodeId, Oid, ParkId};
use longhaul_proto as pb;

use crate::core::{Phase, Request, State};
use crate::hub::Role;
use crate::select::{self, SelectError, Selection};

/// A request as the control plane takes it.
#[derive(Clone, PartialEq, Debug)]
pub enum Control {
    /// No new work.
    Pause(pb::PauseRequest),
    /// Go on.
    Resume(pb::ResumeRequest),
    /// Close subtasks, or the job.
    Cancel(pb::CancelRequest),
    /// Try again.
    Retry(pb::RetryRequest),
    /// End parks.
    Approve(pb::ApproveRequest),
    /// Take back a landing.
    Revert(pb::RevertRequest),
    /// Answer a parked question; and who does.
    Answer(pb::AnswerRequest, String),
    /// Let a quarantined worker have work again; and who does.
    Release(pb::ReleaseRequest, String),
}

impl Control {
    /// The verb, for the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Cancel(_) => "cancel",
            Self::Retry(_) => "retry",
            Self::Approve(_) => "approve",
            Self::Revert(_) => "revert",
            Self::Answer(request, _) if request.reject => "reject",
            Self::Answer(..) => "answer",
            Self::Release(..) => "release",
        }
    }

    /// What it names, for the journal.
    pub fn detail(&self) -> String {
        match self {
            Self::Pause(request) => request.reason.clone(),
            Self::Resume(request) => {
                let limits = request.limits.as_ref().map(|limits| format!("limits {limits:?}")).unwrap_or_default();
                if request.write_off { format!("write off {limits}") } else { limits }
            }
            Self::Cancel(request) if request.subtasks.is_empty() => format!("the job: {}", request.reason),
            Self::Cancel(request) => format!("{}: {}", request.subtasks.join(" "), request.reason),
            Self::Retry(request) => {
                let mut words = request.subtasks.clone();
                words.extend((!request.map.is_empty()).then(|| format!("map={}", request.map)));
                words.extend(request.states.iter().map(|state| format!("state={state}")));
                words.join(" ")
            }
            Self::Approve(request) if request.park != 0 => format!("park {}", request.park),
            Self::Approve(request) if !request.map.is_empty() => format!("map={}", request.map),
            Self::Approve(_) => "every pilot".to_owned(),
            Self::Revert(request) => format!("{}: {}", request.subtask, request.reason),
            Self::Answer(request, _) => format!("park {}: {}", request.park, request.text),
            Self::Release(request, _) => request.worker.clone(),
        }
    }

    /// Puts the name of the one who was authenticated where the request says who asks.
    pub fn said_by(mut self, who: &str) -> Self {
        if let Self::Approve(pb::ApproveRequest { by, .. }) | Self::Answer(_, by) | Self::Release(_, by) = &mut self {
            who.clone_into(by);
        }
        self
    }

    /// What the caller must be allowed to.
    pub fn role(&self) -> Role {
        match self {
            Self::Approve(_) | Self::Answer(..) => Role::Approve,
            _ => Role::Submit,
        }
    }
}

/// A request the core can decide, and what to tell the person if it leads to anything.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// For the core.
    pub request: Request,
    /// One line each.
    pub lines: Vec<String>,
}

/// Why a request means nothing in this job.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It names nothing there is.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// What it names could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Resolves the names in a request against the state; `store` is the coordinator's bare store.
pub fn prepare(state: &State, store: &Path, control: Control) -> Result<Prepared, ControlError> {
    Ok(match control {
        Control::Pause(request) => Prepared {
            request: Request::Pause { reason: or(request.reason, "paused on request") },
            lines: vec!["no new work is handed out; what runs is finished".to_owned()],
        },
        Control::Resume(request) => {
            let mut lines = vec!["going on".to_owned()];
            let doubts = state.spend.in_doubt().len();
            if request.write_off && doubts > 0 {
                lines.push(format!("what {doubts} attempts may have used is written off"));
            }
            let write_off = if request.write_off { "request".to_owned() } else { String::new() };
            Prepared { request: Request::Resume { limits: request.limits, write_off }, lines }
        }
        Control::Cancel(request) => cancel(state, request)?,
        Control::Retry(request) => {
            let wanted = Selection { subtasks: request.subtasks, map: request.map, states: request.states };
            let nodes = select::nodes(state, &wanted)?;
            Prepared { lines: names(state, &nodes), request: Request::Retry { nodes, remark: request.remark } }
        }
        Control::Approve(request) => {
            let scope = request.scope();
            let parks = select::parks(state, &request);
            // One that was woken before is done with, which is no mistake.
            if request.park != 0 && parks.is_empty() && !state.had_park(ParkId(request.park)) {
                return Err(SelectError::NoPark(request.park).into());
            }
            let asking = parks.iter().map(|&park| state.askers(park, scope).len().max(1)).sum::<usize>();
            let lines = vec![format!("{asking} subtasks may go on")];
            Prepared { request: Request::Approve { parks, scope, by: or(request.by, "request") }, lines }
        }
        Control::Revert(request) => revert(state, store, request)?,
        Control::Release(request, by) => Prepared {
            lines: vec![format!("{} may have work again", request.worker)],
            request: Request::Release { worker: request.worker, by: or(by, "request") },
        },
        Control::Answer(request, by) => answer(state, request, or(by, "request"))?,
    })
}

/// The text becomes a remark and the park ends.
fn answer(state: &State, request: pb::AnswerRequest, by: String) -> Result<Prepared, ControlError> {
    let waits = |node: &NodeId| match state.subtask(*node).phase() {
        Phase::Parked { park, .. } => park.0 == request.park,
        _ => state.asks(*node).is_some_and(|(park, _)| park.0 == request.park),
    };
    let node = state.nodes().find(waits).ok_or(SelectError::NoPark(request.park))?;
    let (park, scope) = (ParkId(request.park), request.scope());
    let askers = state.askers(park, scope);
    let lines = names(state, if askers.is_empty() { std::slice::from_ref(&node) } else { &askers });
    Ok(match request.reject {
        true => Prepared { request: Request::Reject { park, reason: request.text, scope, by }, lines },
        false => Prepared { request: Request::Answer { park, text: request.text, scope, by }, lines },
    })
}

fn cancel(state: &State, request: pb::CancelRequest) -> Result<Prepared, ControlError> {
    let whole_job = request.subtasks.is_empty();
    let reason = or(request.reason, "cancelled on request");
    let nodes = if whole_job {
        Vec::new()
    } else {
        select::nodes(state, &Selection { subtasks: request.subtasks, ..Selection::default() })?
    };
    let lines = if whole_job { vec!["every open subtask is cancelled".to_owned()] } else { names(state, &nodes) };
    Ok(Prepared { request: Request::Cancel { nodes, whole_job, reason }, lines })
}

fn revert(state: &State, store: &Path, request: pb::RevertRequest) -> Result<Prepared, ControlError> {
    let (node, commit) = select::landed_commit(state, &request.subtask)?;
    let store = Store::open_own(store)?;
    let parent = store.parents_of(commit)?.first().copied().unwrap_or(Oid::ZERO);
    let parent_tree = store.tree_of(parent)?;
    let reason = or(request.reason, "reverted on request");
    Ok(Prepared { request: Request::Revert { node, parent, parent_tree, reason }, lines: names(state, &[node]) })
}

fn names(state: &State, nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(|&node| state.node(node).id.clone()).collect()
}

fn or(given: String, otherwise: &str) -> String {
    if given.is_empty() { otherwise.to_owned() } else { given }
}
