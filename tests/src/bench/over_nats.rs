//! The no-op fan-out and chain over a real nats-server: the coordinator (hub, journal, gRPC server)
//! in this process, two worker processes, results up over gRPC. Against a bare trip over the same
//! server, see `bare`; and, harder, the fan-out against as many bare trips under way at once, the
//! chain against a bare trip and what makes a hop durable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use longhaul_common::JobId;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus, BusError, Channel, Link, Message, Subject, Subscription};
use longhaul_common::layout::Layout;
use longhaul_coordinator::hub::{Hub, HubSettings};
use longhaul_coordinator::web::{self, SpoolLimits, Web, WebConfig};
use longhaul_tests::nats::NatsServer;
use tokio_util::sync::CancellationToken;

use super::bare::Bare;
use super::chain;
use super::noop;
use super::noop_worker::{NoopWorkers, config, now_micros};
use super::submit;
use super::table::{Row, median, quantile};

/// Worker processes, on both sides.
const WORKERS: usize = 2;

/// Slots of each: what is under way at once is twice that, on both sides.
const SLOTS: u32 = 128;

const ROUNDS: usize = 5;
const FAN: usize = 10_000;
const CHAIN: usize = 1_000;

/// About what a hop of a chain writes to the journal.
const RECORD_BYTES: usize = 200;

/// Longest time of one round.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// A bus that notes when each assignment was first handed to it: at once after its record was
/// durable, on the same thread.
struct Stamped {
    inner: NatsBus,
    sent: Mutex<Vec<(String, u64)>>,
}

impl Bus for Stamped {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        if message.subject.channel() == Some(Channel::Worker) {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push((message.id.clone(), now_micros()));
        }
        self.inner.publish(message)
    }

    fn subscribe(&self, subject: &Subject) -> Subscription {
        self.inner.subscribe(subject)
    }

    fn link(&self) -> Link {
        self.inner.link()
    }
}

/// Fan-out of independent no-ops.
pub fn fanout() -> anyhow::Result<Vec<Row>> {
    measure("fan-out of 10,000 over NATS, a task", FAN, false)
}

/// A chain of dependent no-ops.
pub fn hops() -> anyhow::Result<Vec<Row>> {
    measure("dependent chain over NATS, per hop", CHAIN, true)
}

fn measure(what: &str, count: usize, chained: bool) -> anyhow::Result<Vec<Row>> {
    longhaul_common::tls::install();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut rig = Rig::start().await?;
        let parallel = if chained { 1 } else { SLOTS * u32::try_from(WORKERS)? };
        let (mut ours, mut alone, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            alone.push(rig.bare.trips(CHAIN, 1).await? / u32::try_from(CHAIN)?);
            floor.push(if chained {
                chain::durable(CHAIN, RECORD_BYTES)?
            } else {
                rig.bare.trips(count, parallel as usize).await? / u32::try_from(count)?
            });
            ours.push(rig.job(&format!("round{round}"), count, chained, parallel).await? / u32::try_from(count)?);
        }
        let (ours, alone, floor) = (median(ours), median(alone), median(floor));
        let (name, floor) =
            if chained { ("bare trip + fdatasync", alone + floor) } else { ("256 bare trips at once, one", floor) };
        let mut rows = vec![
            Row::times(what, ours, "bare trip", alone, "≤ 1.5"),
            Row::times("… against more of what it does", ours, name, floor, "–"),
        ];
        let starts = rig.end().await?;
        let at = |share: f64| format!("{:.2} ms", quantile(&starts, share) as f64 / 1e3);
        let words = format!("p50 {}, p99 {}", at(0.5), at(0.99));
        rows.push(Row::figure("… assignment durable to taken by its worker", words, "–"));
        Ok(rows)
    })
}

struct Rig {
    folder: tempfile::TempDir,
    pack: PathBuf,
    base: Vec<u8>,
    layout: Layout,
    bus: Arc<Stamped>,
    hub: Hub,
    web: Web,
    stop: CancellationToken,
    bare: Bare,
    workers: Vec<NoopWorkers>,
    _nats: NatsServer,
}

impl Rig {
    async fn start() -> anyhow::Result<Self> {
        let folder = noop::folder()?;
        let (repo, base) = noop::repository(folder.path())?;
        let pack = submit::pack(folder.path(), &repo, &base)?;
        let nats = NatsServer::start(&[])?;
        let inner = NatsBus::connect(config(&nats.url(), NatsRole::Coordinator)).await?;
        let mut presences = inner.subscribe(&Subject::presences());
        inner.subscribed().await;
        let bus = Arc::new(Stamped { inner, sent: Mutex::default() });
        let layout = Layout::new(folder.path().join("state"));
        let hub = Hub::open(layout.clone(), Arc::<Stamped>::clone(&bus), HubSettings::default()).await?;
        let stop = CancellationToken::new();
        let settings = WebConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
            access: None,
            spool: folder.path().join("spool"),
            limits: SpoolLimits::default(),
        };
        let web = web::start(settings, hub.clone(), stop.clone()).await?;
        hub.call_workers();
        let server = format!("http://{}", web.addr);
        let prefixes = (0..WORKERS).map(|n| format!("p{n}-"));
        let workers: Vec<NoopWorkers> = prefixes
            .map(|prefix| NoopWorkers::start(&nats.url(), &server, &prefix, 1, SLOTS))
            .collect::<anyhow::Result<_>>()?;
        let mut missing: Vec<String> = (0..WORKERS).map(|n| format!("p{n}-0")).collect();
        while !missing.is_empty() {
            let heard = tokio::time::timeout(ROUND_MAX, presences.next()).await?.context("the bus ended")?;
            missing.retain(|name| heard.subject.worker_name() != Some(name.as_str()));
        }
        let bare = Bare::start(&nats.url(), WORKERS).await?;
        Ok(Self { folder, pack, base, layout, bus, hub, web, stop, bare, workers, _nats: nats })
    }

    /// Runs a job to its end; from its first assignment on.
    async fn job(&self, name: &str, count: usize, chained: bool, parallel: u32) -> anyhow::Result<Duration> {
        let id: JobId = name.parse()?;
        let plan = submit::plan(self.base.clone(), name, count, chained, parallel);
        submit::submit(&format!("http://{}", self.web.addr), plan, &self.pack).await?;
        if let Some(running) = self.hub.running(&id) {
            let mut pulse = running.pulse.clone();
            drop(running);
            // An error is its end as well.
            let _closed = tokio::time::timeout(ROUND_MAX, pulse.wait_for(|pulse| pulse.closed)).await?;
        }
        submit::span(&self.layout.job(&id))
    }

    /// Ends everything; gives the times from durable to taken, sorted, in microseconds.
    async fn end(self) -> anyhow::Result<Vec<u64>> {
        let mut taken = BTreeMap::new();
        for workers in self.workers {
            taken.extend(workers.end()?);
        }
        drop(self.bare);
        self.stop.cancel();
        self.hub.stop().await;
        self.web.task.await?;
        self.bus.inner.flushed().await;
        let sent = std::mem::take(&mut *self.bus.sent.lock().unwrap_or_else(PoisonError::into_inner));
        let mut first: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for (id, at) in sent {
            let mut parts = id.split('.');
            if let (Some(job), Some(Ok(number))) = (parts.next(), parts.next().map(str::parse)) {
                first.entry((job.to_owned(), number)).or_insert(at);
            }
        }
        let waited = |(key, at): (&(String, u64), &u64)| Some(taken.get(key)?.saturating_sub(*at));
        let mut starts: Vec<u64> = first.iter().filter_map(waited).collect();
        starts.sort_unstable();
        anyhow::ensure!(!starts.is_empty(), "no assignment was taken");
        drop(self.folder);
        Ok(starts)
    }
}
