//! Arguments of the verbs that are about a fleet: its server, its workers, and who may do what.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use longhaul_common::spec::Period;

use super::{JobOption, SandboxArgs, ScopeName, SubtaskArgs};

/// How NATS is reached.
#[derive(Args, Clone, Debug, Default)]
pub struct NatsArgs {
    /// Servers of NATS, e.g. nats://127.0.0.1:4222, separated by commas.
    #[arg(long = "nats", value_name = "URL")]
    pub nats: Option<String>,
    /// Name of the fleet: several may share one NATS.
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Certificates (PEM) to trust NATS by.
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_ca: Option<PathBuf>,
    /// One's own certificate (PEM).
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_cert: Option<PathBuf>,
    /// The key (PEM) of --nats-cert.
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_key: Option<PathBuf>,
    /// Credentials file (JWT and seed).
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_creds: Option<PathBuf>,
    /// File with the seed of an nkey.
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_nkey: Option<PathBuf>,
    /// File with a token.
    #[arg(long, value_name = "FILE", help_heading = "NATS")]
    pub nats_token_file: Option<PathBuf>,
    /// Copies of each stream; 3 on a cluster of three.
    #[arg(long, value_name = "N", help_heading = "NATS")]
    pub nats_replicas: Option<u32>,
}

/// A time, or "0" and "off" for none.
fn keep_time(text: &str) -> Result<Period, String> {
    match text {
        "0" | "off" => Ok(Period(0)),
        other => other.parse::<Period>().map_err(|error| error.to_string()),
    }
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Where to listen for gRPC and git. Beyond this machine only with TLS and --access.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7117")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Certificate (PEM) of this server.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key (PEM) of --tls-cert.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authority (PEM) that signs the certificates of callers.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
    /// File that says which token and certificate may do what (`longhaul token` makes entries).
    #[arg(long, value_name = "FILE")]
    pub access: Option<PathBuf>,
    /// Silence after which a worker has lost its leases, at least 5s: its work is given to others.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub lease: Period,
    /// Attempts of a closed job are forgotten after this time: their commits, logs and capsules. Receipts
    /// and branches stay for ever. 0 keeps everything.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = keep_time)]
    pub keep_attempts: Period,
    /// Written once it serves: JSON with its pid and address.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct WorkerArgs {
    /// Its name in the fleet, the same at every start; default: the machine's name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Its own folder: workspaces, mirrors, results on their way; default: below the state folder.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Subtasks at once; default: one for two cores.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Gates at once; 0 for none.
    #[arg(long, value_name = "N")]
    pub gates: Option<u32>,
    /// What it can do, e.g. rust or gpu; may be given several times.
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Where its own service listens, for live traces: an address the server reaches, port 0 for any.
    /// It speaks TLS beyond this machine, and lets nobody but the server in. Left out, traces go by NATS alone.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// How long it may finish what it has after SIGTERM, before it hands it back.
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<String>,
    /// Cores it may count on; default: all.
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory it may count on, e.g. 8g; default: all.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Space to keep free: below it nothing new is taken until there is more again; default 256m.
    #[arg(long, value_name = "SIZE")]
    pub disk_free: Option<String>,
    /// Workspaces together; beyond it idle ones are emptied, least recently used first; default 64g.
    #[arg(long, value_name = "SIZE")]
    pub slots_max: Option<String>,
    /// Mirrors together; beyond it idle ones are removed, least recently used first; default 20g.
    #[arg(long, value_name = "SIZE")]
    pub mirrors_max: Option<String>,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// Written once it works: JSON with its pid and address.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RoleName {
    /// Read jobs, logs, diffs and repositories.
    Read,
    /// Open jobs and steer them.
    Submit,
    /// Approve and answer.
    Approve,
    /// Be the worker of that name.
    Work,
}

#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Whose it is; for the role "work", the worker's name.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it may do; may be given several times.
    #[arg(long = "role", value_enum, value_name = "ROLE", required = true)]
    pub roles: Vec<RoleName>,
    /// Write the token into this new file, readable by you alone, instead of printing it.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct WorkerNameArgs {
    /// Its name, as `longhaul workers` shows it.
    #[arg(value_name = "WORKER")]
    pub worker: String,
}

#[derive(Args, Debug)]
pub struct ReleaseArgs {
    /// Its name, as `longhaul workers` shows it.
    #[arg(value_name = "WORKER")]
    pub worker: String,
    /// Only for this job; default: for every job.
    #[arg(long, short, value_name = "JOB")]
    pub job: Option<String>,
}

#[derive(Args, Debug)]
pub struct AnswerArgs {
    /// The park's number, as `longhaul status` shows it.
    #[arg(value_name = "PARK")]
    pub park: u64,
    /// The answer; the agent reads it.
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    pub text: Vec<String>,
    /// Where an agent asks: for whom the answer holds.
    #[arg(long, value_enum, default_value_t)]
    pub scope: ScopeName,
    #[command(flatten)]
    pub job: JobOption,
}

#[derive(Args, Debug)]
pub struct SteerArgs {
    #[command(flatten)]
    pub subtask: SubtaskArgs,
    /// What to say; the agent reads it.
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    pub text: Vec<String>,
}

#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print them.
    Show {
        /// Also who says so: a flag, a variable, the file, or nobody.
        #[arg(long)]
        origin: bool,
    },
}
