//! The worker's side of one try: the boundary it would draw, around one program.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul_proto::{Policy, Sandbox};
use longhaul_worker::WorkerConfig;
use longhaul_worker::process::{ProcessSpec, Purpose, Secrets, run};
use longhaul_worker::sandbox::{Boundary, Found, Layers, Limits, Place, probe};
use serde::{Deserialize, Serialize};
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

/// What the machine grants.
#[derive(Serialize, Deserialize)]
struct Machine {
    layers: Layers,
    landlock: u32,
    in_force: String,
    not_enforced: String,
}

/// What the machine grants, as JSON for [`host`].
pub fn machine() -> anyhow::Result<String> {
    let found = tokio::runtime::Runtime::new()?.block_on(async { anyhow::Ok(probe(&shim()?).await) })?;
    let (in_force, not_enforced) = (found.in_force(), found.not_enforced());
    Ok(serde_json::to_string(&Machine { layers: found.layers, landlock: found.landlock, in_force, not_enforced })?)
}

/// Runs a try to its end; says how it ended, and what it printed.
pub fn host(folder: &Path, machine: &str, setting: &str, tried: &[&str]) -> anyhow::Result<String> {
    let machine: Machine = serde_json::from_str(machine)?;
    tokio::runtime::Runtime::new()?.block_on(hosted(folder, &machine, setting, tried))
}

fn shim() -> anyhow::Result<Vec<OsString>> {
    Ok(vec![std::env::current_exe()?.into_os_string(), "__shim".into()])
}

fn policy(setting: &str) -> Policy {
    let mut policy = Policy::default();
    policy.set_sandbox(match setting {
        "read-only" => Sandbox::ReadOnly,
        "none" => Sandbox::DangerFullAccess,
        _ => Sandbox::WorkspaceWrite,
    });
    policy
}

/// The boundary a worker on this machine would draw.
fn boundary(
    folder: &Path,
    machine: &Machine,
    setting: &str,
    policy: &Policy,
    tried: &[&str],
) -> anyhow::Result<Boundary> {
    let layers = match setting {
        // What a container without namespaces has.
        "few" => Layers { user: false, pid: false, net: false, ..machine.layers },
        _ => machine.layers,
    };
    let mut config = WorkerConfig::new("w", folder.join("worker"), shim()?);
    config.sandbox.limits = SMALL;
    if tried.first() == Some(&"sleep") {
        config.sandbox.limits.disk_free_bytes = u64::MAX;
    }
    config.sandbox.hidden = vec![folder.join("state")];
    let found = Found { layers, landlock: machine.landlock, ..Found::default() };
    Boundary::new(Arc::new(found), &config, policy).map_err(anyhow::Error::msg)
}

async fn hosted(folder: &Path, machine: &Machine, setting: &str, tried: &[&str]) -> anyhow::Result<String> {
    let slot = folder.join("worker/slots/own");
    // A job file may lie in the home.
    let place = Place { reads: vec![folder.join("home")], ..Place::at(&slot) };
    let mut policy = policy(setting);
    let listener = (tried.first() == Some(&"fetch")).then(|| TcpListener::bind("127.0.0.1:0")).transpose()?;
    if let Some(listener) = &listener {
        policy.network = true;
        policy.hosts = vec![listener.local_addr()?.to_string()];
    }
    let boundary = boundary(folder, machine, setting, &policy, tried)?;
    let mut argv = match tried {
        ["sh", ..] => Vec::new(),
        _ => vec![std::env::current_exe()?.into_os_string(), "try".into()],
    };
    argv.extend(tried.iter().map(Into::into));
    if tried.first() == Some(&"gateway") {
        let (listener, port) = boundary.gateway().await.map_err(anyhow::Error::msg)?;
        argv.push(port.to_string().into());
        std::thread::spawn(move || answer(&listener, "the gateway"));
    }
    if let Some(listener) = listener {
        argv.push(listener.local_addr()?.to_string().into());
        std::thread::spawn(move || answer(&listener, "HTTP/1.0 200 OK\r\n\r\nfrom outside"));
    }
    let sandbox = boundary.enclose(Purpose::Agent, &place).await.map_err(anyhow::Error::msg)?;
    let kept = ["PATH", "HOME", "ESCAPE_MARK"];
    let spec = ProcessSpec {
        argv,
        cwd: place.ws.clone(),
        env: kept.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect(),
        stdin: None,
        stdout: None,
        timeout: Some(TRY_MAX),
        idle_timeout: None,
        secrets: Secrets::default(),
        log: folder.join("log"),
        output_bytes_max: 0,
        on_line: None,
        sandbox,
    };
    let outcome = run(&shim()?, spec, &CancellationToken::new()).await?;
    Ok(serde_json::json!({"end": format!("{:?}", outcome.end), "said": outcome.log.tail}).to_string())
}

/// A server that says one thing to whoever asks anything.
fn answer(listener: &TcpListener, words: &str) {
    // The worker's own are not blocking.
    if listener.set_nonblocking(false).is_err() {
        return;
    }
    for mut client in listener.incoming().flatten() {
        // Whoever has gone needs no answer.
        let _heard = client.read(&mut [0; 1024]).and_then(|_| client.write_all(words.as_bytes()));
    }
}
