//! The gRPC service `Results`: a worker's result, streamed in, checked, and handed on; and its word
//! for how it is reached.
//!
//! The answer comes when the result is durable. A stream that is cut, stalls or lies about its
//! pack leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use longhaul_common::room::says_out_of_room;
use longhaul_proto::results_server::{Results, ResultsServer};
use longhaul_proto::{
    Ack, Failure, FailureClass, Finished, Introduced, Introduction, Report, ResultEnd, ResultPart, finished, report,
    result_part,
};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::backend::Backend;
use super::seats::Seats;
use super::spool::{PackRoom, Room, Spool};
use crate::hub::{HubError, Identity, IntroduceError, Role};
use crate::results::Delivery;

/// Largest piece of a pack or log, and largest report, in bytes.
pub const PART_BYTES_MAX: usize = 1 << 20;

/// Room for a message's own fields around a piece, in bytes.
const ENVELOPE_BYTES: usize = 64 << 10;

/// How long the next piece of a delivery may take.
pub const PART_WAIT: Duration = Duration::from_secs(60);

/// Deliveries at once, of which one worker has some at most.
pub const DELIVERIES_MAX: usize = 64;
/// Deliveries at once of one worker.
pub const DELIVERIES_OF_ONE_MAX: usize = 8;

/// Deliveries at once that bring a report and no files, which cost no disk.
const LIGHT_MAX: usize = 512;
/// Such deliveries at once of one worker.
const LIGHT_OF_ONE_MAX: usize = 256;

/// How long a delivery waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// The service over a backend.
pub(super) struct ResultsService {
    backend: Arc<dyn Backend>,
    spool: Spool,
    seats: Seats,
    light: Seats,
}

impl ResultsService {
    pub(super) fn new(backend: Arc<dyn Backend>, spool: Spool) -> Self {
        let seats = Seats::new(DELIVERIES_MAX, DELIVERIES_OF_ONE_MAX, TURN_WAIT);
        let light = Seats::new(LIGHT_MAX, LIGHT_OF_ONE_MAX, TURN_WAIT);
        Self { backend, spool, seats, light }
    }

    /// A full disk is told to people too, not only to the worker.
    fn note(&self, error: &Status) {
        if says_out_of_room(error.message()) {
            self.backend.out_of_room();
        }
    }

    /// With its limit on a message's size.
    pub(super) fn server(self) -> ResultsServer<Self> {
        ResultsServer::new(self).max_decoding_message_size(PART_BYTES_MAX + ENVELOPE_BYTES)
    }
}

#[tonic::async_trait]
impl Results for ResultsService {
    async fn deliver(&self, request: Request<Streaming<ResultPart>>) -> Result<Response<Ack>, Status> {
        let who = worker(&request)?;
        let mut parts = Parts(request.into_inner());
        let report = parts.report().await?;
        // The local user is every worker of its machine.
        let caller = if who == Identity::local() { &report.worker } else { &who.name };
        if report.worker != *caller {
            return Err(Status::permission_denied("a worker delivers its own results only"));
        }
        // A report alone needs no files, and is most of what a fleet says.
        let first = parts.next().await?;
        let seats = if matches!(first, result_part::Part::End(_)) { &self.light } else { &self.seats };
        let seat = seats.take(caller).await.ok_or_else(|| {
            Status::unavailable("too many results are on their way in at once: try again in a moment")
        })?;
        let (delivery, room) = match first {
            result_part::Part::End(end) => {
                check(&end, 0, None)?;
                (Delivery { report, pack: None, logs: Vec::new() }, None)
            }
            first => {
                let mut room = self.spool.room().inspect_err(|error| self.note(error))?;
                let received = receive(&mut parts, report, first, &mut room, self.spool.pack_bytes_max()).await;
                (received.inspect_err(|error| self.note(error))?, Some(room))
            }
        };
        let taken = self.backend.deliver(who, delivery);
        // Goes on when the caller leaves: its files must not vanish while they are read.
        let task = tokio::spawn(async move {
            let taken = taken.await;
            drop((room, seat));
            taken
        });
        let taken = task.await.map_err(|error| Status::unavailable(format!("taking the result failed: {error}")))?;
        taken.map(Response::new).map_err(|error| status(&error))
    }

    async fn introduce(&self, request: Request<Introduction>) -> Result<Response<Introduced>, Status> {
        let who = worker(&request)?;
        match self.backend.introduce(&who, request.into_inner()) {
            Ok(()) => Ok(Response::new(Introduced {})),
            Err(error @ IntroduceError::NotYours) => Err(Status::permission_denied(error.to_string())),
            Err(IntroduceError::Refused(error)) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

/// The caller, who has to be a worker.
fn worker<T>(request: &Request<T>) -> Result<Identity, Status> {
    let who = request.extensions().get::<Identity>().cloned();
    let who = who.ok_or_else(|| Status::unauthenticated("nobody said who speaks"))?;
    match who.may(Role::Work) {
        true => Ok(who),
        false => Err(Status::permission_denied("the caller's roles do not include work")),
    }
}

fn status(error: &HubError) -> Status {
    match error {
        HubError::UnknownJob => Status::not_found(error.to_string()),
        HubError::NotYours => Status::permission_denied(error.to_string()),
        HubError::Unavailable(_) | HubError::NotKept(_) => Status::unavailable(error.to_string()),
    }
}

struct Parts(Streaming<ResultPart>);

impl Parts {
    async fn next(&mut self) -> Result<result_part::Part, Status> {
        let cut = || Status::aborted("the stream ended before its last part: nothing of it was taken");
        let next = tokio::time::timeout(PART_WAIT, self.0.message()).await;
        let next = next.map_err(|_| Status::aborted("no part came for too long: nothing of it was taken"))?;
        next?.and_then(|part| part.part).ok_or_else(cut)
    }

    async fn report(&mut self) -> Result<Report, Status> {
        match self.next().await? {
            result_part::Part::Report(report) if report.encoded_len() > PART_BYTES_MAX => {
                Err(Status::invalid_argument(format!("the report is over {PART_BYTES_MAX} bytes")))
            }
            result_part::Part::Report(report) => match report.body {
                Some(report::Body::Finished(_) | report::Body::Wip(_)) => Ok(report),
                _ => Err(Status::invalid_argument("the report tells of no result")),
            },
            _ => Err(Status::invalid_argument("a delivery begins with its report")),
        }
    }
}

/// Reads a delivery to its end and checks it.
async fn receive(
    parts: &mut Parts,
    mut report: Report,
    first: result_part::Part,
    room: &mut Room,
    pack_max: u64,
) -> Result<Delivery, Status> {
    let mut part = first;
    let end = loop {
        match part {
            result_part::Part::Report(_) => return Err(Status::invalid_argument("a second report")),
            result_part::Part::Pack(data) => {
                in_size(data.len())?;
                if room.pack(&data).await? == PackRoom::Over {
                    // Told at once, and recorded: sending it again would not make it smaller.
                    report.body = Some(too_large(report.body, pack_max)?);
                    return Ok(Delivery { report, pack: None, logs: Vec::new() });
                }
            }
            result_part::Part::Log(log) => {
                in_size(log.data.len())?;
                room.log(&log.name, &log.data).await?;
            }
            result_part::Part::End(end) => break end,
        }
        part = parts.next().await?;
    };
    let (bytes, hash) = room.finish().await?;
    check(&end, bytes, hash)?;
    Ok(Delivery { report, pack: room.pack_file(), logs: room.log_files() })
}

fn in_size(bytes: usize) -> Result<(), Status> {
    match bytes <= PART_BYTES_MAX {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!("a piece is over {PART_BYTES_MAX} bytes"))),
    }
}

fn check(end: &ResultEnd, bytes: u64, hash: Option<blake3::Hash>) -> Result<(), Status> {
    let same = match hash {
        Some(hash) => end.pack_hash == hash.as_bytes(),
        None => end.pack_hash.is_empty(),
    };
    match same && end.pack_bytes == bytes {
        true => Ok(()),
        false => Err(Status::data_loss(format!(
            "the pack arrived damaged: {bytes} bytes came, {} were sent; nothing of it was taken",
            end.pack_bytes
        ))),
    }
}

/// What is recorded of a result whose pack is over the limit; a mere save of work in progress is
/// refused, as nothing is lost with it.
fn too_large(body: Option<report::Body>, max: u64) -> Result<report::Body, Status> {
    let message = format!("the result's pack is over the limit of {max} bytes");
    match body {
        Some(report::Body::Finished(finished)) => Ok(report::Body::Finished(Finished {
            outcome: Some(finished::Outcome::Failure(Failure {
                class: FailureClass::Result.into(),
                message,
                ..Failure::default()
            })),
            logs: Vec::new(),
            ..finished
        })),
        _ => Err(Status::resource_exhausted(message)),
    }
}
