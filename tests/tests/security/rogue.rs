//! A worker of the test's own, which has a right token and a right key and does with them what it
//! likes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::bus::nats::{NatsBus, NatsConfig, NatsRole};
use longhaul_common::bus::{Bus as _, Message, Subject};
use longhaul_common::server::ServerAccess;
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::{
    Ack, Assignment, Finished, FromWorker, Holding, LogPart, PROTOCOL, Presence, Report, ResultEnd, ResultPart,
    ToWorker, from_worker, report, result_part, to_worker,
};
use prost::Message as _;
use tonic::Status;

/// How often it says that it is there.
const PRESENCE_EVERY: Duration = Duration::from_millis(500);

/// Largest piece of a pack that a decent worker sends.
const PIECE: usize = 1 << 20;

/// How it is set up.
pub struct RogueSpec {
    /// Its own name.
    pub name: &'static str,
    /// The server, with its own token.
    pub access: ServerAccess,
    /// Address of NATS.
    pub nats: String,
    /// Its seed, in a file.
    pub seed: PathBuf,
    /// Subtasks and gates it takes.
    pub slots: (u32, u32),
    /// What it says it can do.
    pub labels: Vec<String>,
    /// Further assignments it says it holds, by job.
    pub claims: BTreeMap<String, Vec<u64>>,
    /// Where it says its own service is; empty for none.
    pub endpoint: String,
}

/// The worker; it announces itself until it is dropped.
pub struct Rogue {
    /// What it runs on.
    pub runtime: tokio::runtime::Runtime,
    /// Its own bus.
    pub bus: Arc<NatsBus>,
    spec: Arc<RogueSpec>,
    got: Arc<Mutex<Vec<Assignment>>>,
    claims: Arc<Mutex<BTreeMap<String, Vec<u64>>>>,
}

impl Rogue {
    /// Connects, announces itself, and collects what it is assigned; gates it answers with `verdict`
    /// at once, where it has one.
    pub fn start(spec: RogueSpec, answer: Option<fn(&Assignment) -> Report>) -> Self {
        longhaul_common::tls::install();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let bus = Arc::new(runtime.block_on(NatsBus::connect(nats_config(&spec))).expect("the settings are right"));
        let claims = Arc::new(Mutex::new(spec.claims.clone()));
        let runtime_of_tasks = runtime.handle().clone();
        let _entered = runtime_of_tasks.enter();
        let rogue = Self { runtime, bus, spec: Arc::new(spec), got: Arc::default(), claims };
        rogue.announce();
        rogue.listen(answer);
        rogue
    }

    /// What it was assigned so far.
    pub fn assigned(&self) -> Vec<Assignment> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says from now on that it holds this as well.
    pub fn claim(&self, job: &str, id: u64) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.entry(job.to_owned()).or_default().push(id);
    }

    fn announce(&self) {
        let (bus, spec) = (Arc::clone(&self.bus), Arc::clone(&self.spec));
        let (got, claims) = (Arc::clone(&self.got), Arc::clone(&self.claims));
        self.runtime.spawn(async move {
            let mut every = tokio::time::interval(PRESENCE_EVERY);
            loop {
                every.tick().await;
                let mut holding = claims.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for held in got.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    holding.entry(held.job.clone()).or_default().push(held.id);
                }
                let presence = Presence {
                    worker: spec.name.to_owned(),
                    work_slots: spec.slots.0,
                    gate_slots: spec.slots.1,
                    labels: spec.labels.clone(),
                    protocol: PROTOCOL,
                    version: "0".to_owned(),
                    incarnation: 1,
                    endpoint: spec.endpoint.clone(),
                    holding: holding.into_iter().map(|(job, ids)| Holding { job, ids }).collect(),
                    ..Presence::default()
                };
                say(&bus, &Subject::presence(spec.name), from_worker::Message::Presence(presence));
            }
        });
    }

    fn listen(&self, answer: Option<fn(&Assignment) -> Report>) {
        let mut told = self.bus.subscribe(&Subject::worker(self.spec.name));
        let (got, access) = (Arc::clone(&self.got), self.spec.access.clone());
        self.runtime.spawn(async move {
            while let Some(incoming) = told.next().await {
                let Ok(ToWorker { message: Some(to_worker::Message::Assign(work)) }) =
                    ToWorker::decode(incoming.taken())
                else {
                    continue;
                };
                got.lock().unwrap_or_else(PoisonError::into_inner).push(work.clone());
                if let Some(answer) = answer {
                    let parts = vec![part(result_part::Part::Report(answer(&work))), end(&[])];
                    send(&access, parts).await.expect("its own assignment is its to answer");
                    got.lock().unwrap_or_else(PoisonError::into_inner).retain(|held| held.id != work.id);
                }
            }
        });
    }

    /// Delivers whatever it is given.
    pub fn deliver(&self, parts: Vec<ResultPart>) -> Result<Ack, Status> {
        self.runtime.block_on(send(&self.spec.access, parts))
    }

    /// Delivers a pack that is made up while it is sent: so many pieces of a MiB.
    pub fn deliver_endless(&self, report: Report, pieces: usize) -> Result<Ack, Status> {
        let piece = vec![7_u8; PIECE];
        let pack = futures::stream::iter(0..pieces).map(move |_| part(result_part::Part::Pack(piece.clone())));
        let parts = futures::stream::iter([part(result_part::Part::Report(report))]).chain(pack);
        self.runtime.block_on(async {
            let connection = self.spec.access.connect().expect("a connection");
            ResultsClient::new(connection).deliver(parts).await.map(tonic::Response::into_inner)
        })
    }
}

fn nats_config(spec: &RogueSpec) -> NatsConfig {
    NatsConfig {
        urls: vec![spec.nats.clone()],
        fleet: "default".to_owned(),
        name: spec.name.to_owned(),
        replicas: 1,
        ca: spec.access.ca.clone(),
        cert: None,
        key: None,
        creds: None,
        nkey_seed: Some(spec.seed.clone()),
        token: None,
        role: NatsRole::Worker(spec.name.parse().expect("a name")),
    }
}

/// Says something on any subject.
pub fn say(bus: &NatsBus, subject: &Subject, message: from_worker::Message) {
    let payload = FromWorker { message: Some(message) }.encode_to_vec().into();
    bus.publish(Message { subject: subject.clone(), id: String::new(), payload }).expect("room");
}

async fn send(access: &ServerAccess, parts: Vec<ResultPart>) -> Result<Ack, Status> {
    let connection = access.connect().expect("a connection");
    ResultsClient::new(connection).deliver(futures::stream::iter(parts)).await.map(tonic::Response::into_inner)
}

/// A part of a delivery.
pub fn part(part: result_part::Part) -> ResultPart {
    ResultPart { part: Some(part) }
}

/// A log of one piece.
pub fn log(name: &str, data: &[u8]) -> ResultPart {
    part(result_part::Part::Log(LogPart { name: name.to_owned(), data: data.to_vec() }))
}

/// The end of a delivery with this pack.
pub fn end(pack: &[u8]) -> ResultPart {
    let hash = if pack.is_empty() { Vec::new() } else { blake3::hash(pack).as_bytes().to_vec() };
    part(result_part::Part::End(ResultEnd { pack_bytes: pack.len() as u64, pack_hash: hash }))
}

/// A finished report in anybody's name.
pub fn finished(job: &str, id: u64, worker: &str, outcome: Finished) -> Report {
    let body = Some(report::Body::Finished(outcome));
    Report { job: job.to_owned(), id, worker: worker.to_owned(), body }
}

/// A whole delivery.
pub fn whole(report: Report, pack: &[u8]) -> Vec<ResultPart> {
    let mut parts = vec![part(result_part::Part::Report(report))];
    parts.extend(pack.chunks(PIECE).map(|piece| part(result_part::Part::Pack(piece.to_vec()))));
    parts.push(end(pack));
    parts
}
