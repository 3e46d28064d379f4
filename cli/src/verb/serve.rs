//! `longhaul serve`: every job of a state folder, for a fleet of workers, until it is told to end.
//!
//! Ending loses nothing: what runs on workers goes on, and the next process takes it up again.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus, Link};
use longhaul_common::git::required_version;
use longhaul_coordinator::core::LEASE_MS_MIN;
use longhaul_coordinator::hub::{Hub, HubSettings};
use longhaul_coordinator::upkeep::UpkeepSettings;
use longhaul_coordinator::web::{self, SpoolLimits, TlsFiles, Web, WebConfig, WebError};
use rustix::fs::{FlockOperation, flock};
use tokio_util::sync::CancellationToken;

use crate::args::ServeArgs;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::fleet::{Asked, ReadyFile, Signals, Voice, last_words, nats_config, nats_flags};

/// How long callers may take to see that the server ends.
const CALLERS_END_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether NATS answers, for what is said of it.
const LINK_LOOK: Duration = Duration::from_millis(500);

/// The lease asked for, in milliseconds.
fn lease_of(args: &ServeArgs) -> anyhow::Result<i64> {
    let ms = i64::try_from(args.lease.0).unwrap_or(i64::MAX);
    if ms < LEASE_MS_MIN {
        let text = format!("--lease is shorter than {} s: workers announce themselves every 2 s", LEASE_MS_MIN / 1000);
        return Err(Stop::usage(text));
    }
    Ok(ms)
}

/// Serves until a signal.
pub async fn serve(context: &Context, args: ServeArgs) -> anyhow::Result<Exit> {
    required_version()?;
    let mut signals = Signals::new()?;
    let voice = Voice::new(context.json);
    let ready = ReadyFile::new(args.ready_file.clone())?;
    let _lock = lock(context)?;
    let mut settings = context.settings.clone();
    nats_flags(&mut settings, &args.nats)?;
    let nats = nats_config(&settings, NatsRole::Coordinator, "longhaul serve")?;
    let fleet = nats.fleet.clone();
    let bus = NatsBus::connect(nats).await.map_err(Stop::usage)?;
    let keep_attempts_ms = i64::try_from(args.keep_attempts.0).unwrap_or(i64::MAX);
    let upkeep = UpkeepSettings { keep_attempts_ms, ..UpkeepSettings::default() };
    let hub_settings = HubSettings { lease_ms: lease_of(&args)?, upkeep, ..HubSettings::default() };
    let hub = Hub::open(context.layout.clone(), Arc::new(bus.clone()), hub_settings).await?;
    let stop = CancellationToken::new();
    let secure = args.tls_cert.is_some();
    let web = match web::start(web_config(context, args), hub.clone(), stop.clone()).await {
        Ok(web) => web,
        Err(error) => {
            hub.stop().await;
            last_words(&bus).await;
            return Err(words(error));
        }
    };
    hub.call_workers();
    let scheme = if secure { "https" } else { "http" };
    let listen = web.addr.to_string();
    ready.serves(serde_json::json!({"role": "server", "listen": listen, "url": format!("{scheme}://{listen}")}))?;
    voice.say("serving", "Serving", &format!("{scheme}://{listen} for the fleet {fleet}"));
    let exit = attend((&mut signals, &voice, &ready), &bus, web, (&hub, &stop)).await;
    last_words(&bus).await;
    ready.ends();
    Ok(exit)
}

/// One server a state folder: the kernel drops the lock with the process.
fn lock(context: &Context) -> anyhow::Result<File> {
    let root = context.layout.root();
    std::fs::create_dir_all(root).with_context(|| format!("cannot make the folder {}", root.display()))?;
    let path = root.join("serve.lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Stop::usage(format!("another `longhaul serve` has {}: give each a --state-dir of its own", root.display()))
    })?;
    Ok(file)
}

fn web_config(context: &Context, args: ServeArgs) -> WebConfig {
    let files = |cert: PathBuf| TlsFiles { cert, key: args.tls_key.unwrap_or_default(), client_ca: args.client_ca };
    WebConfig {
        listen: args.listen,
        tls: args.tls_cert.map(files),
        access: args.access,
        spool: context.layout.root().join("spool"),
        limits: SpoolLimits::default(),
    }
}

fn words(error: WebError) -> anyhow::Error {
    match error {
        WebError::Listen { .. } => Stop::infrastructure(error),
        WebError::Open { .. } | WebError::File { .. } | WebError::Access(_) => Stop::usage(error),
    }
}

async fn attend(
    (signals, voice, ready): (&mut Signals, &Voice, &ReadyFile),
    bus: &dyn Bus,
    mut web: Web,
    (hub, stop): (&Hub, &CancellationToken),
) -> Exit {
    let mut look = tokio::time::interval(LINK_LOOK);
    let mut link = Link::Up;
    let ended_by_itself = loop {
        tokio::select! {
            _ = signals.next() => break false,
            _ = &mut web.task => break true,
            _ = look.tick() => {
                let now = bus.link();
                if now != link {
                    match &now {
                        Link::Up => voice.say("nats_up", "NATS", "answers again"),
                        Link::Down { cause } => {
                            voice.say("nats_down", "NATS", &format!("does not answer ({cause}); nothing is lost, it is tried again"));
                        }
                    }
                    link = now;
                }
            }
        }
    };
    if ended_by_itself {
        voice.say("failed", "Failed", "the server's listener ended by itself");
    } else {
        voice.say(
            "stopping",
            "Stopping",
            "what runs on workers goes on; the next server takes it up (again to end at once)",
        );
    }
    ready.ending();
    stop.cancel();
    let ending = async {
        let callers = async {
            if !ended_by_itself {
                drop(tokio::time::timeout(CALLERS_END_MAX, &mut web.task).await);
            }
        };
        tokio::join!(hub.stop(), callers);
    };
    tokio::select! {
        () = ending => {}
        // Everything decided is durable: ending at once costs a longer recovery only.
        asked = signals.next() => if asked == Asked::Now { return Exit::Interrupted },
    }
    if ended_by_itself { Exit::Infrastructure } else { Exit::Done }
}
