//! What the settings say about the sandbox of this machine's worker.

use longhaul_common::hosts::HostPattern;
use longhaul_common::spec::Size;
use longhaul_worker::sandbox::{Enforcement, Limits, SandboxSettings, probe};

use crate::context::Context;
use crate::exit::Stop;
use crate::settings::{Settings, config_path};

/// Files named by settings that programs of a job must not read.
const KEY_FILES: &[&str] =
    &["server.token_file", "server.key", "nats.key", "nats.creds", "nats.nkey", "nats.token_file"];

/// The settings of a worker with so many slots; what this process keeps on disk is hidden.
pub fn sandbox_settings(context: &Context, settings: &Settings, slots: u32) -> anyhow::Result<SandboxSettings> {
    let enforcement: Enforcement = settings.parsed("worker.sandbox")?.unwrap_or_default();
    let memory: Option<Size> = settings.parsed("worker.memory")?;
    let usual = Limits::of_machine(memory.map(|size| size.0), slots);
    let size = |name, otherwise| anyhow::Ok(settings.parsed::<Size>(name)?.map_or(otherwise, |size| size.0));
    let count = |name, otherwise| anyhow::Ok(settings.parsed::<u64>(name)?.unwrap_or(otherwise));
    let limits = Limits {
        processes: count("worker.processes_max", usual.processes)?.max(1),
        open_files: count("worker.open_files_max", usual.open_files)?.max(16),
        file_bytes: size("worker.file_max", usual.file_bytes)?,
        address_bytes: size("worker.address_max", usual.address_bytes)?,
        memory_bytes: size("worker.attempt_memory", usual.memory_bytes)?,
        ..usual
    };
    let hosts = settings.text("worker.hosts").unwrap_or_default().split(',').filter(|host| !host.is_empty());
    let parse = |host: &str| host.parse::<HostPattern>().map_err(|cause| Stop::usage(format!("worker.hosts: {cause}")));
    let mut hidden = vec![context.layout.root().to_owned()];
    hidden.extend(config_path());
    hidden.extend(KEY_FILES.iter().filter_map(|name| settings.path(name)));
    Ok(SandboxSettings { enforcement, limits, hosts: hosts.map(parse).collect::<Result<_, _>>()?, hidden })
}

/// With `require`, refuses to start where a layer is missing.
pub async fn required(sandbox: &SandboxSettings) -> anyhow::Result<()> {
    if sandbox.enforcement != Enforcement::Require {
        return Ok(());
    }
    let found = probe(&shim()?).await;
    if found.missing.is_empty() {
        return Ok(());
    }
    Err(Stop::infrastructure(format!(
        "--sandbox require, and this machine does not grant all of it: {} (`longhaul doctor` shows each layer)",
        found.not_enforced()
    )))
}

/// The argv prefix of this binary as the process shim.
pub fn shim() -> anyhow::Result<Vec<std::ffi::OsString>> {
    Ok(vec![std::env::current_exe()?.into_os_string(), "__shim".into()])
}
