//! Workers that do nothing, in a process of their own: assignments come over a real NATS bus,
//! results go up over gRPC, as a real worker's do. One process may stand for a thousand.
//!
//! It ends when its input closes, and then prints when it took what: one line an assignment, its
//! id and the wall clock in microseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use longhaul_common::bus::nats::{NatsBus, NatsConfig, NatsRole};
use longhaul_common::bus::{Bus as _, Incoming, Message, Subject, Subscription};
use longhaul_common::server::ServerAccess;
use longhaul_proto as pb;
use longhaul_proto::{assignment, finished, from_worker, report, to_worker};
use longhaul_worker::uplink::GrpcSink;
use longhaul_worker::{Delivery, ResultSink as _};
use prost::Message as _;
use tokio::sync::mpsc;

/// Argument that makes the bench binary such a process.
pub const ARGUMENT: &str = "__noop-worker";

/// Time between two announcements of one worker, as in the product.
const PRESENCE_EVERY: Duration = Duration::from_secs(2);

/// Pause before a delivery that was not taken is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Settings of a bus for a server without secrets.
pub fn config(url: &str, role: NatsRole) -> NatsConfig {
    NatsConfig {
        urls: vec![url.to_owned()],
        fleet: "default".to_owned(),
        name: "bench".to_owned(),
        replicas: 1,
        ca: None,
        cert: None,
        key: None,
        creds: None,
        nkey_seed: None,
        token: None,
        role,
    }
}

/// The wall clock in microseconds: the same for all processes of a machine.
pub fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A process of such workers, as its parent sees it.
pub struct NoopWorkers(Child);

impl NoopWorkers {
    /// Starts `count` workers called `<prefix>0`, `<prefix>1` …
    pub fn start(nats: &str, server: &str, prefix: &str, count: usize, slots: u32) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, nats, server, prefix, &count.to_string(), &slots.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Ends it; gives when it took which assignment, of each job.
    pub fn end(mut self) -> anyhow::Result<BTreeMap<(String, u64), u64>> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().context("piped")?.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        anyhow::ensure!(status.success(), "the workers' process ended with {status}");
        let line = |line: &str| {
            let mut parts = line.split(' ');
            let job = parts.next()?.to_owned();
            Some(((job, parts.next()?.parse().ok()?), parts.next()?.parse().ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }
}

impl Drop for NoopWorkers {
    fn drop(&mut self) {
        // One that was ended already is only reaped.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The process: bus address, server address, prefix, count, slots.
pub fn child(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let [nats, server, prefix, count, slots] = words[..] else { anyhow::bail!("five arguments are expected") };
    longhaul_common::tls::install();
    let (count, slots) = (count.parse()?, slots.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let taken = runtime.block_on(work(nats, server, prefix, count, slots))?;
    let lines: String = taken.iter().map(|(job, id, at)| format!("{job} {id} {at}\n")).collect();
    print!("{lines}");
    Ok(())
}

type Taken = Vec<(String, u64, u64)>;

async fn work(nats: &str, server: &str, prefix: &str, count: usize, slots: u32) -> anyhow::Result<Taken> {
    let bus = NatsBus::connect(config(nats, NatsRole::Worker(prefix.parse()?))).await?;
    let sink = GrpcSink::new(&ServerAccess { url: server.to_owned(), ..ServerAccess::default() })?;
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}{n}")).collect();
    let everyone = bus.subscribe(&Subject::everyone());
    let own = names.iter().map(|name| bus.subscribe(&Subject::worker(name)));
    let mut messages: SelectAll<Subscription> = select_all(own.chain([everyone]));
    bus.subscribed().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut desk = Desk { bus, sink, tell, slots, held: BTreeMap::new(), seen: BTreeSet::new(), taken: Vec::new() };
    let mut presence = tokio::time::interval(PRESENCE_EVERY / u32::try_from(count.max(1))?);
    let mut ended = parent_left();
    let mut turn = 0;
    loop {
        tokio::select! {
            _ = &mut ended => return Ok(desk.taken),
            Some((worker, key)) = told.recv() => desk.acknowledged(&worker, &key),
            Some(incoming) = messages.next() => {
                if desk.take(incoming) {
                    names.iter().for_each(|name| desk.announce(name));
                }
            }
            _ = presence.tick() => {
                desk.announce(&names[turn % names.len()]);
                turn += 1;
            }
        }
    }
}

/// Comes when this process's input closes.
pub fn parent_left() -> tokio::sync::oneshot::Receiver<()> {
    let (tell, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        tell.send(())
    });
    ended
}

type Key = (String, u64);

struct Desk {
    bus: NatsBus,
    sink: GrpcSink,
    tell: mpsc::UnboundedSender<(String, Key)>,
    slots: u32,
    held: BTreeMap<String, BTreeSet<Key>>,
    seen: BTreeSet<Key>,
    taken: Taken,
}

impl Desk {
    fn acknowledged(&mut self, worker: &str, key: &Key) {
        if let Some(held) = self.held.get_mut(worker) {
            held.remove(key);
        }
    }

    fn announce(&self, name: &str) {
        let mut holding: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (job, id) in self.held.get(name).into_iter().flatten() {
            holding.entry(job).or_default().push(*id);
        }
        let presence = pb::Presence {
            worker: name.to_owned(),
            work_slots: self.slots,
            gate_slots: 1,
            protocol: pb::PROTOCOL,
            holding: holding.into_iter().map(|(job, ids)| pb::Holding { job: job.to_owned(), ids }).collect(),
            incarnation: u64::from(std::process::id()),
            ..pb::Presence::default()
        };
        let message = pb::FromWorker { message: Some(from_worker::Message::Presence(presence)) };
        let payload = message.encode_to_vec().into();
        // The next one says the same.
        drop(self.bus.publish(Message { subject: Subject::presence(name), id: String::new(), payload }));
    }

    /// Whether a coordinator calls.
    fn take(&mut self, incoming: Incoming) -> bool {
        let assignment = match pb::ToWorker::decode(incoming.taken()) {
            Ok(pb::ToWorker { message: Some(to_worker::Message::Assign(assignment)) }) => assignment,
            Ok(pb::ToWorker { message: Some(to_worker::Message::Hello(_)) }) => return true,
            _ => return false,
        };
        let key = (assignment.job.clone(), assignment.id);
        if !self.seen.insert(key.clone()) {
            return false;
        }
        self.taken.push((key.0.clone(), key.1, now_micros()));
        self.held.entry(assignment.worker.clone()).or_default().insert(key.clone());
        let (sink, tell) = (self.sink.clone(), self.tell.clone());
        let report = report(assignment);
        tokio::spawn(async move {
            let delivery = || Delivery { report: report.clone(), pack: None, logs: Vec::new() };
            while sink.deliver(delivery()).await.is_err() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            tell.send((report.worker, key))
        });
        false
    }
}

fn report(assignment: pb::Assignment) -> pb::Report {
    let outcome = match assignment.kind {
        Some(assignment::Kind::Gate(_)) => {
            finished::Outcome::Gate(pb::GateResult { verdict: pb::Verdict::Green.into(), ..pb::GateResult::default() })
        }
        _ => finished::Outcome::Unchanged(pb::Unchanged::default()),
    };
    let finished = pb::Finished { outcome: Some(outcome), ..pb::Finished::default() };
    pb::Report {
        job: assignment.job,
        id: assignment.id,
        worker: assignment.worker,
        body: Some(report::Body::Finished(finished)),
    }
}
