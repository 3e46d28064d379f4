//! `/bin/true` through the shim, inside the boundary a worker draws and without one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul_proto::Policy;
use longhaul_worker::WorkerConfig;
use longhaul_worker::process::{ProcessSpec, Purpose, Secrets, run};
use longhaul_worker::sandbox::{Boundary, Enclosed, Place, probe};
use tokio_util::sync::CancellationToken;

use super::noop;
use super::table::{Row, median};

const ROUNDS: usize = 101;

pub fn measure() -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Runtime::new()?.block_on(rounds())
}

async fn rounds() -> anyhow::Result<Vec<Row>> {
    let folder = noop::folder()?;
    let slot = folder.path().join("worker/slots/own");
    let place = Place::at(&slot);
    for made in [&place.ws, &place.tmp, &place.cache] {
        std::fs::create_dir_all(made)?;
    }
    noop::git(&place.ws, &["init", "-q"])?;
    let shim = vec![std::env::current_exe()?.into_os_string(), "__shim".into()];
    let found = Arc::new(probe(&shim).await);
    eprintln!("  {}; not enforced: {:?}", found.in_force(), found.not_enforced());
    let config = WorkerConfig::new("w", folder.path().join("worker"), shim.clone());
    let boundary = Boundary::new(Arc::clone(&found), &config, &Policy::default()).map_err(anyhow::Error::msg)?;
    let begun = Instant::now();
    drop(boundary.enclose(Purpose::Agent, &place).await.map_err(anyhow::Error::msg)?);
    let first = begun.elapsed();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let sandbox = boundary.enclose(Purpose::Agent, &place).await.map_err(anyhow::Error::msg)?;
        inside.push(one(&shim, folder.path(), &place, sandbox, begun).await?);
        outside.push(one(&shim, folder.path(), &place, None, Instant::now()).await?);
    }
    let (inside, outside) = (median(inside), median(outside));
    let more = inside.saturating_sub(outside);
    Ok(vec![
        Row::times("a command in the sandbox", inside, "without", outside, "–"),
        Row::figure("… what the sandbox adds", format!("{:.2} ms", more.as_secs_f64() * 1e3), "≤ 5 ms"),
        Row::figure("… once an attempt: its network", format!("{:.2} ms", first.as_secs_f64() * 1e3), "–"),
    ])
}

async fn one(
    shim: &[std::ffi::OsString],
    folder: &Path,
    place: &Place,
    sandbox: Option<Enclosed>,
    begun: Instant,
) -> anyhow::Result<Duration> {
    let spec = ProcessSpec {
        argv: vec!["/bin/true".into()],
        cwd: place.ws.clone(),
        env: BTreeMap::new(),
        stdin: None,
        stdout: None,
        timeout: None,
        idle_timeout: None,
        secrets: Secrets::default(),
        log: folder.join("log"),
        output_bytes_max: 0,
        on_line: None,
        sandbox,
    };
    let outcome = run(shim, spec, &CancellationToken::new()).await?;
    anyhow::ensure!(outcome.succeeded(), "{:?}: {}", outcome.end, outcome.log.tail);
    Ok(begun.elapsed())
}
