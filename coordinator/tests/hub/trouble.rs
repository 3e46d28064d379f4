//! What a server says and does while something is missing: workers, the bus, space on its disk, or
//! records that are no longer kept.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use longhaul_common::bus::{Bus, BusError, Link, MemoryBus, Message, Subject, Subscription};
use longhaul_coordinator::checkpoint::{JournalLimits, Store as _, recover_within};
use longhaul_coordinator::core::Event;
use longhaul_coordinator::hub::{Hub, HubError, HubSettings};
use longhaul_coordinator::results::Delivery;
use longhaul_proto as pb;
use tonic::Code;

use crate::world::{FakeWorker, Place, Server, WAIT_MAX, journal, soon};
use crate::{closed, id};

/// How often something that has to happen is looked for.
const LOOK: Duration = Duration::from_millis(50);

async fn status(server: &Server, job: &str) -> pb::JobStatus {
    let request = pb::GetRequest { job: job.to_owned() };
    server.client().await.get(request).await.expect("it answers whatever happens").into_inner()
}

async fn explained(server: &Server, job: &str, subtask: &str) -> Vec<String> {
    let request = pb::ExplainRequest { job: job.to_owned(), subtask: subtask.to_owned() };
    server.client().await.explain(request).await.expect("answers").into_inner().causes
}

/// Polls until a look finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < WAIT_MAX, "{what} did not happen");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_can_run_says_so() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut plan = place.plan("one", &["a"]);
    plan.gate = Some(pb::GateSpec { batch: 8, labels: vec!["trusted".into()], ..pb::GateSpec::default() });
    server.submit(&place, plan).await.expect("taken");
    let said = status(&server, "one").await.warnings;
    assert_eq!(said, ["nobody can run the gate: no worker has been heard of; see `longhaul workers`"]);
    let causes = explained(&server, "one", "a").await;
    assert!(causes.iter().any(|cause| cause == "no worker has been heard of"), "{causes:?}");
    let worker = FakeWorker::new(&server, "w", 1);
    let said = until("another warning", async || {
        let said = status(&server, "one").await.warnings.join("\n");
        said.contains("labels").then_some(said)
    });
    let said = said.await;
    assert!(said.contains("nobody can run the gate: the only worker there has not the labels trusted"), "{said}");
    let causes = explained(&server, "one", "a").await;
    assert!(causes.iter().any(|cause| cause.contains("labels trusted")), "{causes:?}");
    drop(worker);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_shown_with_their_bounds() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let _worker = FakeWorker::new(&server, "w", 2).work(server.hub.clone());
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    closed(&server, "one").await;
    let bytes = status(&server, "one").await.bytes.expect("measured");
    assert!(bytes.journal > 0 && bytes.journal < bytes.journal_max, "{bytes:?}");
    assert!(bytes.store > 0 && bytes.free > 0 && bytes.logs <= bytes.logs_max, "{bytes:?}");
    let jobs = server.client().await.list(pb::ListRequest {}).await.expect("listed").into_inner().jobs;
    assert!(jobs[0].bytes.is_some_and(|bytes| bytes.journal > 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_records_that_are_no_longer_kept_is_told_so() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let _worker = FakeWorker::new(&server, "w", 2).work(server.hub.clone());
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    closed(&server, "one").await;
    server.stop().await;
    let limits = JournalLimits { segment_bytes: 500, journal_bytes: 1_000, ..JournalLimits::default() };
    let (recovered, mut store) = recover_within(&place.layout().job(&id("one")), limits).expect("opens");
    let mut state = recovered.state;
    for round in 0..120_u64 {
        let asked = pb::Audited { who: "al".into(), detail: "x".repeat(40), ..pb::Audited::default() };
        let (seq, at_ms, event) = (state.seq() + 1, state.now_ms(), Event::Audited(asked));
        state.apply(seq, at_ms, &event).expect("applies");
        store.append(&[pb::Record { seq, at_ms, event: Some(event) }]).expect("appended");
        store.sync().expect("synced");
        if round % 40 == 39 {
            store.snapshot(&state).expect("written");
        }
    }
    drop(store);
    let server = Server::start(&place).await;
    let events = server.watch("one", 0).await;
    assert_eq!(events[0].event, "retired");
    assert!(events[0].text.starts_with(&format!("events 1 to {} are no longer kept", events[0].seq)), "{events:?}");
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no gap behind it: {seqs:?}");
    assert_eq!(seqs.last(), Some(&state.seq()));
    let rest = server.watch("one", events[0].seq).await;
    assert_eq!(rest.len(), events.len() - 1, "nothing is missing from here");
    server.stop().await;
}

/// A bus in memory whose link the test takes down; what is said meanwhile gets lost.
#[derive(Clone, Default)]
struct Fragile {
    inner: MemoryBus,
    down: Arc<AtomicBool>,
}

impl Bus for Fragile {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        if self.down.load(Ordering::Acquire) { Ok(()) } else { self.inner.publish(message) }
    }

    fn subscribe(&self, subject: &Subject) -> Subscription {
        self.inner.subscribe(subject)
    }

    fn link(&self) -> Link {
        match self.down.load(Ordering::Acquire) {
            true => Link::Down { cause: "the test took it".to_owned() },
            false => Link::Up,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_bus_costs_no_lease_and_silence_does() {
    let place = Place::new();
    let fragile = Fragile::default();
    let bus: Arc<dyn Bus> = Arc::new(fragile.clone());
    let lease_ms = 5_000;
    let server = Server::with(&place, bus, HubSettings { lease_ms, ..HubSettings::default() }).await;
    let (_worker, _attempt) = FakeWorker::at_work(&server, &place).await;
    let lost = || journal(&place, "one").iter().any(|event| matches!(event, Event::LeaseExpired(_)));
    fragile.down.store(true, Ordering::Release);
    let begun = Instant::now();
    let told = until("a warning", async || {
        let warnings = status(&server, "one").await.warnings;
        warnings.into_iter().find(|warning| warning.contains("the test took it"))
    });
    assert!(told.await.starts_with("NATS does not answer"));
    until("the time of a lease and a half", async || (begun.elapsed() > Duration::from_millis(7_500)).then_some(()))
        .await;
    assert!(!lost(), "the broker was away, not the worker");
    fragile.down.store(false, Ordering::Release);
    until("the loss of a silent worker's lease", async || lost().then_some(())).await;
    server.stop().await;
}

/// A small disk in memory at a folder; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(at).output();
        done.is_ok_and(|out| out.status.success()).then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("ballast")).expect("creatable");
        for size in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("removable");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_have_no_room_wait_at_the_workers_and_that_is_said_until_they_have() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let gate = worker.take().await;
    // Only where logs are kept: the journal can be written all the time.
    let logs = place.layout().job(&id("one")).root().join("logs");
    let Some(disk) = SmallDisk::mount(&logs) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let log = place.folder.path().join("gate.log");
    std::fs::write(&log, vec![b'x'; 256 << 10]).expect("written");
    let result = || Delivery { logs: vec![("1-gate.log".to_owned(), log.clone())], ..worker.result(&gate) };
    assert_eq!(status(&server, "one").await.warnings, Vec::<String>::new());
    disk.fill();
    let said = until("a warning", async || {
        let refused = server.hub.deliver(&worker.identity(), result()).await.expect_err("no room");
        assert!(matches!(&refused, HubError::NotKept(cause) if cause.contains("No space left")), "{refused:?}");
        status(&server, "one").await.warnings.into_iter().find(|warning| warning.contains("results wait"))
    });
    let said = said.await;
    assert!(said.starts_with("the coordinator's disk has ") && said.contains(" MB free: results wait"), "{said}");
    server.hub.ready().expect("everything else goes on");
    disk.free();
    assert_eq!(server.hub.deliver(&worker.identity(), result()).await.expect("room").disposition, "kept");
    assert_eq!(status(&server, "one").await.warnings, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_called_when_they_can_be_served_and_not_before() {
    let place = Place::new();
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut called = bus.subscribe(&Subject::everyone());
    let hub = Hub::open(place.layout(), Arc::clone(&bus), HubSettings::default()).await.expect("opens");
    assert!(called.next().now_or_never().is_none(), "nobody listens yet");
    hub.call_workers();
    soon("the call", called.next()).await.expect("the bus lives");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_everything_wait_and_say_so_until_there_is_space() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.layout().root()) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a", "b"])).await.expect("taken");
    let gate = worker.take().await;
    disk.fill();
    // The journal's last page may still have room for a few records.
    let refused = until("a refusal", async || {
        let mut client = server.client().await;
        let reason = "r".repeat(900);
        let paused = client.pause(pb::PauseRequest { job: "one".into(), reason }).await;
        let resumed = client.resume(pb::ResumeRequest { job: "one".into(), limits: None, write_off: false }).await;
        paused.err().or(resumed.err())
    });
    let refused = refused.await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("the journal cannot be written"), "{refused}");
    assert!(refused.message().contains("No space left"), "{refused}");
    let ready = server.hub.ready().expect_err("not ready");
    assert!(ready.contains("one") && ready.contains("No space left"), "{ready}");
    let warnings = status(&server, "one").await.warnings;
    assert!(warnings[0].contains("everything waits and nothing is lost"), "{warnings:?}");
    let second = soon("an answer", server.submit(&place, place.plan("two", &["x"]))).await.expect_err("no room");
    assert_eq!(second.code(), Code::Unavailable, "{second}");
    assert!(second.message().contains("disk is full"), "{second}");
    let delivered = soon("an answer", server.hub.deliver(&worker.identity(), worker.result(&gate))).await;
    assert!(
        matches!(&delivered, Err(HubError::Unavailable(cause)) if cause.contains("No space left")),
        "{delivered:?}"
    );
    disk.free();
    until("it is ready", async || server.hub.ready().ok()).await;
    let resume = pb::ResumeRequest { job: "one".into(), limits: None, write_off: false };
    server.client().await.resume(resume).await.expect("it answers again");
    assert_eq!(worker.finish(&server.hub, &gate).await, "kept");
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    assert_eq!(status(&server, "one").await.warnings, Vec::<String>::new());
    server.submit(&place, place.plan("two", &["x"])).await.expect("taken now");
    closed(&server, "two").await;
    server.stop().await;
}
