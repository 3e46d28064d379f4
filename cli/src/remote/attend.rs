//! Following a job on a server as `run` follows one on this machine: until it is over, stands
//! still, or the person leaves. Leaving changes nothing for the job.

use std::time::Duration;

use longhaul_proto::{GetRequest, JobStatus, SubtaskRow, SubtasksRequest};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::events::{Heard, follow, is_closed, patiently};
use super::fetch::fetch_branch;
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::run::Output;

/// How often a job is asked where it stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks in a row that find nothing to do but what a person must do, before the job counts as
/// standing still: between two of its steps it can look so for a moment.
const STILL_LOOKS: u32 = 3;

/// States whose subtasks the summary names.
const OPEN: [&str; 5] = ["parked", "failed", "skipped", "cancelled", "reverted"];

/// Why one stopped following.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The job is over.
    Over,
    /// It goes on only when a person does something.
    Still,
    /// The person left.
    Left,
}

/// Follows a job from behind `after`, then brings its branch home and says how it ended.
pub async fn attend(context: &Context, client: &Client, after: u64, export: bool) -> anyhow::Result<Exit> {
    let mut output = Output::new(context, after);
    let mut leaving = Leaving::new()?;
    let ending = watch(client, &mut output, after, &mut leaving).await?;
    output.pause();
    let asked = match ending {
        Ending::Left => None,
        Ending::Over | Ending::Still => tokio::select! {
            end = end_of(client, &mut output) => Some(end?),
            () = leaving.asked() => None,
        },
    };
    let Some((mut status, rows)) = asked else {
        let job = client.job();
        output.say("Leaving", &format!("{job} goes on at the server: `longhaul watch {job}` follows it"));
        return Ok(Exit::Interrupted);
    };
    let mut branch = String::new();
    if export && status.landings > 0 {
        match fetch_branch(client, &status) {
            Ok(exported) => branch = exported.branch,
            Err(error) => status.warnings.push(format!("{error:#}")),
        }
    }
    let exit = exit_of(&status, ending);
    output.summary(&status, &rows, &branch, exit);
    Ok(exit)
}

/// Where the job stands at the end and what is left open, however often the connection breaks.
async fn end_of(client: &Client, output: &mut Output) -> anyhow::Result<(JobStatus, Vec<SubtaskRow>)> {
    let mut rpc = client.running()?;
    let mut lost = |cause: &str| output.say("Lost", &format!("the connection to the server ({cause}); trying again"));
    let job = client.job().to_string();
    let get = async || Ok(rpc.get(GetRequest { job: job.clone() }).await?.into_inner());
    let status = patiently(get, &mut lost).await.map_err(|status| client.said(status))?;
    let open = SubtasksRequest { job: job.clone(), states: OPEN.map(str::to_owned).to_vec(), ..Default::default() };
    let list = async || Ok(rpc.subtasks(open.clone()).await?.into_inner().rows);
    let rows = patiently(list, &mut lost).await.map_err(|status| client.said(status))?;
    Ok((status, rows))
}

/// A person's wish to leave, by Ctrl-C or SIGTERM.
struct Leaving {
    interrupt: Signal,
    terminate: Signal,
}

impl Leaving {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// May be dropped and called again without missing one.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn watch(client: &Client, output: &mut Output, after: u64, leaving: &mut Leaving) -> anyhow::Result<Ending> {
    let mut heard = follow(client, after);
    let mut looks = look(client.clone());
    let mut still = StillLooks::default();
    loop {
        tokio::select! {
            () = leaving.asked() => return Ok(Ending::Left),
            next = heard.recv() => match next {
                Some(Heard::Event(event)) => {
                    still = StillLooks::default();
                    output.event(&event);
                }
                Some(Heard::Lost { cause, .. }) => {
                    output.say("Lost", &format!("the connection to the server ({cause}); trying again"));
                }
                Some(Heard::Back) => output.say("Back", "the server answers again"),
                Some(Heard::Failed(error)) => return Err(error),
                Some(Heard::Over) | None => return Ok(Ending::Over),
            },
            Some(status) = looks.recv() => {
                output.warn(&status.warnings);
                output.draw(&status, now_ms());
                if still.at(&status) {
                    return Ok(Ending::Still);
                }
            }
        }
    }
}

/// How often in a row a job was seen to stand still, without an event in between.
#[derive(Default)]
pub struct StillLooks(u32);

impl StillLooks {
    /// Takes a look; whether the job stands still for good.
    pub fn at(&mut self, status: &JobStatus) -> bool {
        self.0 = if stands_still(status) { self.0 + 1 } else { 0 };
        self.0 >= STILL_LOOKS
    }
}

/// Asks where the job stands, from a task of its own: a slow answer holds up no event.
pub fn look(client: Client) -> mpsc::Receiver<JobStatus> {
    let (sender, statuses) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            // A broken connection is the follower's to tell.
            if let Ok(status) = client.status().await
                && sender.send(status).await.is_err()
            {
                return;
            }
        }
    });
    statuses
}

/// Whether nothing runs or is about to, and a person's word is missing.
pub fn stands_still(status: &JobStatus) -> bool {
    if is_closed(&status.phase) {
        // The follower ends by itself once every event was told.
        return false;
    }
    let counts = status.counts.unwrap_or_default();
    let busy = counts.running + counts.landing + counts.ready + counts.backoff > 0 || !status.gates.is_empty();
    let halted = status.phase == "halted" && counts.running == 0 && status.gates.is_empty();
    let paused = status.phase == "paused" && counts.running == 0 && status.gates.is_empty();
    halted || paused || (!busy && counts.parked > 0)
}

/// The exit code of a job that is over or stands still: the same for a job on this machine and for
/// one on a server, for `run` and for `watch --exit-status`.
pub fn exit_of(status: &JobStatus, ending: Ending) -> Exit {
    match (status.phase.as_str(), ending) {
        (_, Ending::Left) => Exit::Interrupted,
        ("done", _) => Exit::Done,
        ("failed" | "cancelled", _) => Exit::Failed,
        ("paused", _) if status.paused_by_budget => Exit::Budget,
        ("paused", _) => Exit::Interrupted,
        _ => Exit::Partial,
    }
}

fn now_ms() -> i64 {
    use longhaul_coordinator::driver::Clock as _;
    longhaul_coordinator::clock::SystemClock.now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;
    use longhaul_proto::{Counts, GateRow};

    fn status(phase: &str, counts: Counts) -> JobStatus {
        JobStatus { phase: phase.to_owned(), counts: Some(counts), ..JobStatus::default() }
    }

    #[test]
    fn a_job_stands_still_when_only_a_person_can_move_it() {
        let parked = Counts { total: 3, parked: 1, waiting: 2, ..Counts::default() };
        assert!(stands_still(&status("running", parked)));
        assert!(!stands_still(&status("running", Counts { ready: 1, ..parked })), "no worker yet is no standstill");
        assert!(!stands_still(&status("running", Counts { landing: 1, ..parked })));
        let gated = JobStatus { gates: vec![GateRow::default()], ..status("running", parked) };
        assert!(!stands_still(&gated));
        assert!(stands_still(&status("paused", Counts { ready: 4, ..Counts::default() })));
        assert!(!stands_still(&status("paused", Counts { running: 1, ..Counts::default() })));
        assert!(!stands_still(&status("partial", parked)), "its end is told by the follower");
    }

    #[test]
    fn exit_codes_are_those_of_a_job_on_this_machine() {
        let budget = JobStatus {
            phase_reason: "the deadline has passed".to_owned(),
            paused_by_budget: true,
            ..status("paused", Counts::default())
        };
        assert_eq!(exit_of(&budget, Ending::Still), Exit::Budget);
        assert_eq!(exit_of(&status("paused", Counts::default()), Ending::Still), Exit::Interrupted, "by a person");
        for (phase, exit) in
            [("done", Exit::Done), ("partial", Exit::Partial), ("failed", Exit::Failed), ("running", Exit::Partial)]
        {
            assert_eq!(exit_of(&status(phase, Counts::default()), Ending::Over), exit, "{phase}");
        }
    }
}
