//! How NATS is reached, from flags and settings.

use std::time::Duration;

use longhaul_common::bus::nats::{NatsBus, NatsConfig, NatsRole};

use crate::args::fleet::NatsArgs;
use crate::exit::Stop;
use crate::settings::Settings;

/// How long a process that ends waits for its last words to reach NATS.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Waits until what was published has left, as a process does before it ends. Without it a worker
/// that left cleanly looks like one that fell silent.
pub async fn last_words(bus: &NatsBus) {
    if tokio::time::timeout(LAST_WORDS_MAX, bus.flushed()).await.is_err() {
        tracing::warn!("NATS did not take the last words; whoever misses them finds out in a lease's time");
    }
}

/// Puts the flags over the settings. A password on the command line is refused, though it has been
/// seen by then: the next one should not be.
pub fn nats_flags(settings: &mut Settings, args: &NatsArgs) -> anyhow::Result<()> {
    if args.nats.as_ref().is_some_and(|urls| urls.contains('@')) {
        return Err(Stop::usage(
            "--nats holds a user or a password, which everyone on this machine can read in the list of processes: \
             give a file by --nats-creds, --nats-nkey or --nats-token-file, or set nats.url in the configuration file \
             or LONGHAUL_NATS__URL; and change the password",
        ));
    }
    settings.flag("nats.url", args.nats.clone());
    settings.flag("nats.fleet", args.fleet.clone());
    settings.flag("nats.replicas", args.nats_replicas.map(|replicas| replicas.to_string()));
    let files = [
        ("nats.ca", &args.nats_ca),
        ("nats.cert", &args.nats_cert),
        ("nats.key", &args.nats_key),
        ("nats.creds", &args.nats_creds),
        ("nats.nkey", &args.nats_nkey),
        ("nats.token_file", &args.nats_token_file),
    ];
    for (name, path) in files {
        settings.flag(name, path.as_ref().map(|path| path.display().to_string()));
    }
    Ok(())
}

/// What the bus needs to connect. `name` is how the operators of NATS see the connection.
pub fn nats_config(settings: &Settings, role: NatsRole, name: &str) -> anyhow::Result<NatsConfig> {
    let urls = settings.text("nats.url").ok_or_else(|| {
        Stop::usage("no NATS is named: give --nats nats://HOST:4222, or set nats.url or LONGHAUL_NATS__URL")
    })?;
    Ok(NatsConfig {
        urls: urls.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect(),
        fleet: settings.text("nats.fleet").unwrap_or("default").to_owned(),
        name: name.to_owned(),
        replicas: settings.parsed("nats.replicas")?.unwrap_or(1),
        ca: settings.path("nats.ca"),
        cert: settings.path("nats.cert"),
        key: settings.path("nats.key"),
        creds: settings.path("nats.creds"),
        nkey_seed: settings.path("nats.nkey"),
        token: settings.secret("nats.token_file")?,
        role,
    })
}
