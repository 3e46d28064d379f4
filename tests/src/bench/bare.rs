//! The floor under work over NATS: a message published to a stream, taken by a pull consumer in
//! another process, answered by a message published to a stream, and that one consumed. Nothing is
//! decided, kept or checked; the stream is in memory, as ours are, and every publication is
//! acknowledged by it, pipelined like ours.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, AckKind};
use futures::StreamExt as _;
use tokio::sync::Semaphore;

use super::noop_worker::parent_left;

/// Argument that makes the bench binary the other process.
pub const ARGUMENT: &str = "__bare-worker";

const STREAM: &str = "BARE";

/// About the size of an assignment of a no-op.
const WORK_BYTES: usize = 400;

/// About the size of its report.
const REPORT_BYTES: usize = 64;

/// Messages asked for at once, as our consumers do.
const BATCH: usize = 500;

/// Publications without an answer yet, as in our lanes.
const IN_FLIGHT_MAX: usize = 256;

/// The two processes of the floor, ready.
pub struct Bare {
    context: jetstream::Context,
    reports: pull::Stream,
    workers: Vec<Child>,
}

impl Bare {
    /// Makes the stream and starts the processes.
    pub async fn start(nats: &str, workers: usize) -> anyhow::Result<Self> {
        let context = jetstream::new(async_nats::connect(nats).await?);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["bare.>".to_owned()],
            storage: StorageType::Memory,
            discard: DiscardPolicy::Old,
            max_age: Duration::from_secs(60),
            max_bytes: 192 << 20,
            ..stream::Config::default()
        };
        context.create_stream(config).await?;
        let reports = consume(&context, "bare.report.>", AckPolicy::None).await?;
        let mut bare = Self { context, reports, workers: Vec::new() };
        for n in 0..workers {
            let mut command = Command::new(std::env::current_exe()?);
            let number = n.to_string();
            let mut child =
                command.args([ARGUMENT, nats, &number]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let stdout = child.stdout.take().context("piped")?;
            bare.workers.push(child);
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            anyhow::ensure!(line.trim() == "ready", "the bare worker did not start");
        }
        Ok(bare)
    }

    /// So many trips with `window` of them under way at once; the time of all.
    pub async fn trips(&mut self, count: usize, window: usize) -> anyhow::Result<Duration> {
        let places = Arc::new(Semaphore::new(window));
        let unanswered = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let (context, workers) = (self.context.clone(), self.workers.len());
        let begun = Instant::now();
        let open = Arc::clone(&places);
        let sending = tokio::spawn(async move {
            for n in 0..count {
                open.acquire().await?.forget();
                let permit = Arc::clone(&unanswered).acquire_owned().await?;
                let subject = format!("bare.work.{}", n % workers);
                let answer = context.publish(subject, vec![7; WORK_BYTES].into()).await?;
                tokio::spawn(async move {
                    let kept = answer.await;
                    drop(permit);
                    kept
                });
            }
            anyhow::Ok(())
        });
        for _ in 0..count {
            self.reports.next().await.context("the consumer ended")??;
            places.add_permits(1);
        }
        sending.await??;
        Ok(begun.elapsed())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.kill());
            drop(worker.wait());
        }
    }
}

async fn consume(context: &jetstream::Context, subject: &str, acks: AckPolicy) -> anyhow::Result<pull::Stream> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::New,
        ack_policy: acks,
        filter_subject: subject.to_owned(),
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = context.create_consumer_on_stream(config, STREAM).await?;
    Ok(consumer.stream().max_messages_per_batch(BATCH).messages().await?)
}

/// The other process: bus address, number.
pub fn child(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let [nats, number] = words[..] else { anyhow::bail!("two arguments are expected") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(nats).await?);
        let mut work = consume(&context, &format!("bare.work.{number}"), AckPolicy::Explicit).await?;
        let report = format!("bare.report.{number}");
        println!("ready");
        let mut ended = parent_left();
        loop {
            tokio::select! {
                _ = &mut ended => return anyhow::Ok(()),
                Some(message) = work.next() => {
                    let message = message?;
                    let answer = context.publish(report.clone(), vec![7; REPORT_BYTES].into()).await?;
                    tokio::spawn(answer.into_future());
                    message.ack_with(AckKind::Ack).await.map_err(|error| anyhow::anyhow!("{error}"))?;
                }
            }
        }
    })
}
