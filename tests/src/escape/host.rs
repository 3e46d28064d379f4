//! The worker's side of one try: the boundary it would draw, around one program.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul_proto::{Policy, Sandbox};
use longhaul_worker::WorkerConfig;
use longhaul_worker::process::{ProcessSpec, Purpose, Secrets, run};
use longhaul_worker::sandbox::{Boundary, Enforcement, Found, Layers, Limits, Place, probe};
use tokio_util::sync::CancellationToken;

/// Longest time of one try.
const TRY_MAX: Duration = Duration::from_secs(60);

/// Limits small enough to be met in a moment.
const SMALL: Limits = Limits {
    processes: 64,
    file_bytes: 1 << 20,
    open_files: 256,
    address_bytes: 0,
    memory_bytes: 96 << 20,
    disk_free_bytes: 0,
};

/// Runs a try to its end; says what the machine lacks, how it ended, and what it printed.
pub fn host(folder: &Path, layers: &str, tried: &[&str]) -> anyhow::Result<String> {
    tokio::runtime::Runtime::new()?.block_on(hosted(folder, layers, tried))
}

async fn hosted(folder: &Path, layers: &str, tried: &[&str]) -> anyhow::Result<String> {
    let own = std::env::current_exe()?.into_os_string();
    let shim = vec![own.clone(), "__shim".into()];
    let found = probe(&shim).await;
    let found = match layers {
        "probe" => return Ok(serde_json::json!({"in_force": found.in_force(), "missing": found.not_enforced(), "pid": found.layers.pid, "net": found.layers.net, "landlock": found.landlock, "seccomp": found.layers.seccomp}).to_string()),
        // What a container without namespaces has.
        "few" => Found { layers: Layers { user: false, pid: false, net: false, ..found.layers }, ..found },
        _ => found,
    };
    let mut config = WorkerConfig::new("w", folder.join("worker"), shim.clone());
    config.sandbox.enforcement = Enforcement::BestEffort;
    config.sandbox.limits = SMALL;
    if tried.first() == Some(&"sleep") {
        config.sandbox.limits.disk_free_bytes = u64::MAX;
    }
    config.sandbox.hidden = vec![folder.join("state")];
    let mut policy = Policy::default();
    policy.set_sandbox(if layers == "read-only" { Sandbox::ReadOnly } else { Sandbox::WorkspaceWrite });
    let slot = folder.join("worker/slots/own");
    let place = Place {
        ws: slot.join("ws"),
        tmp: slot.join("tmp"),
        cache: slot.join("cache"),
        root: slot.clone(),
        reads: Vec::new(),
    };
    let boundary = Boundary::new(Arc::new(found), &config, &policy).map_err(anyhow::Error::msg)?;
    let sandbox = boundary.enclose(Purpose::Agent, &place).await.map_err(anyhow::Error::msg)?;
    let mut argv = match tried {
        ["sh", ..] => Vec::new(),
        _ => vec![own, "try".into()],
    };
    argv.extend(tried.iter().map(Into::into));
    let kept = ["PATH", "HOME", "ESCAPE_MARK"];
    let spec = ProcessSpec {
        argv,
        cwd: place.ws.clone(),
        env: kept.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect(),
        stdin: None,
        timeout: Some(TRY_MAX),
        idle_timeout: None,
        secrets: Secrets::default(),
        log: folder.join("log"),
        output_bytes_max: 0,
        on_line: None,
        sandbox,
    };
    let outcome = run(&shim, spec, &CancellationToken::new()).await?;
    Ok(serde_json::json!({"end": format!("{:?}", outcome.end), "said": outcome.log.tail}).to_string())
}
