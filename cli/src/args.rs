//! The command line, as clap sees it.

pub mod fleet;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use longhaul_common::spec::TimeOfDay;

pub use fleet::{
    AnswerArgs, ConfigArgs, ConfigVerb, ReleaseArgs, RoleName, ServeArgs, SteerArgs, TokenArgs, WorkerArgs,
    WorkerNameArgs,
};

/// Runs coding work that is too long for one agent, one machine or one night.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 partial, 4 credentials, 5 budget or deadline reached (resumable), \
                        6 infrastructure, 130 interrupted with the state saved."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Folder of all state; default $XDG_STATE_HOME/longhaul.
    #[arg(long, global = true, env = "LONGHAUL_STATE_DIR", value_name = "DIR", hide_env_values = true)]
    pub state_dir: Option<PathBuf>,
    /// Speak to this server instead of this machine (http://HOST:PORT or https://…); "local" for
    /// this machine. Also LONGHAUL_SERVER, or `server.url` of the configuration file.
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    pub server: Option<String>,
    /// File with the token to show it; also LONGHAUL_TOKEN with the token itself.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust it by.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub ca: Option<PathBuf>,
    /// Your own certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub cert: Option<PathBuf>,
    /// The key (PEM) of --cert.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub key: Option<PathBuf>,
    /// Print data as JSON: one object, or one object a line while something runs.
    #[arg(long, global = true)]
    pub json: bool,
    /// More of what happens, on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// A verb a file.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a commented longhaul.toml for the repository you stand in.
    Init(InitArgs),
    /// Show what would run, and what would be reused. Changes nothing, spends nothing.
    Plan(PlanArgs),
    /// Run a job, or go on with it where it was.
    Run(RunArgs),
    /// Go on with a job that was interrupted, paused or stopped by its budget.
    Resume(ResumeArgs),
    /// List jobs, or the subtasks of one.
    List(ListArgs),
    /// One page on where a job stands.
    Status(JobArgs),
    /// Follow a running job.
    Watch(WatchArgs),
    /// Everything known about a subtask.
    Show(ShowArgs),
    /// The change of a subtask, or of the whole job.
    Diff(DiffArgs),
    /// Logs of a subtask's attempts and of gates.
    Logs(LogsArgs),
    /// Why a subtask is not running, and what you can do.
    Explain(SubtaskArgs),
    /// Let subtasks go on that wait for a yes.
    Approve(ApproveArgs),
    /// Say no to what an agent wants, or drop a result that waits for a yes and try again.
    Reject(RejectArgs),
    /// Hand out no new work; what runs is finished.
    Pause(PauseArgs),
    /// Close subtasks, or the whole job.
    Cancel(CancelArgs),
    /// Try subtasks again, with a remark for the agent.
    Retry(RetryArgs),
    /// Take a landed subtask back, through the gate.
    Revert(RevertArgs),
    /// Write the report: Markdown, HTML and JUnit.
    Report(ReportArgs),
    /// Prove the result from git: receipts, trees, chain; with --rerun the gates too.
    Verify(VerifyArgs),
    /// Write the result as a branch into your repository (fast-forward only).
    Export(JobArgs),
    /// Live output of what is running for a subtask.
    Attach(SubtaskArgs),
    /// Answer a question a subtask is parked with.
    Answer(AnswerArgs),
    /// Say something to the agent that works on a subtask.
    Steer(SteerArgs),
    /// The workers of a server.
    Workers,
    /// Let a worker finish or hand back what it has, and end.
    Drain(WorkerNameArgs),
    /// Let a quarantined worker have work again.
    Release(ReleaseArgs),
    /// Coordinate jobs for a fleet of workers.
    Serve(ServeArgs),
    /// Work for a server.
    Worker(WorkerArgs),
    /// Make a token and its entry for the server's access file.
    Token(TokenArgs),
    /// Settings and where they come from.
    Config(ConfigArgs),
    /// Print the JSON schema of longhaul.toml.
    Schema,
    /// Check this machine: git, folders, free space, sandbox.
    Doctor,
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// The process shim; started by longhaul itself.
    #[command(name = "__shim", hide = true)]
    Shim,
}

/// Which job file.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// The job file.
    #[arg(default_value = "longhaul.toml", value_name = "FILE")]
    pub file: PathBuf,
}

/// Which job.
#[derive(Args, Clone, Debug, Default)]
pub struct JobArgs {
    /// The job's name or the beginning of it; default: the job of ./longhaul.toml, or the only one.
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
}

/// Which job, for verbs whose first argument is a subtask.
#[derive(Args, Clone, Debug, Default)]
pub struct JobOption {
    /// The job's name or the beginning of it; default: the job of ./longhaul.toml, or the only one.
    #[arg(long, short, value_name = "JOB")]
    pub job: Option<String>,
}

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Where to write.
    #[arg(default_value = "longhaul.toml", value_name = "FILE")]
    pub file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// How a graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A tree for people.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
    /// For programs.
    Json,
}

#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// How to print the graph.
    #[arg(long, value_enum, default_value = "text")]
    pub format: GraphFormat,
}

#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Say yes to pilots beforehand.
    #[arg(long, short)]
    pub yes: bool,
    /// Subtasks at once; overrides budget.parallel.
    #[arg(long, value_name = "N")]
    pub parallel: Option<u32>,
    /// Wind down by this time of day, e.g. 07:00; overrides budget.deadline.
    #[arg(long, value_name = "HH:MM")]
    pub deadline: Option<TimeOfDay>,
    /// Go on in the background; `longhaul watch` follows it.
    #[arg(long)]
    pub detach: bool,
    /// Start a new job from the repository as it is now, beside earlier ones.
    #[arg(long)]
    pub new: bool,
    /// Do not write the branch at the end; `longhaul export` does it later.
    #[arg(long)]
    pub no_export: bool,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}

/// How the programs of jobs are kept in.
#[derive(Args, Clone, Debug, Default)]
pub struct SandboxArgs {
    /// require: no work where a layer of the sandbox is missing. best-effort (default): whatever there is, and
    /// a word about the rest. off: none.
    #[arg(long, value_name = "HOW", value_parser = ["require", "best-effort", "off"])]
    pub sandbox: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Say yes to pilots.
    #[arg(long, short)]
    pub yes: bool,
    /// Subtasks at once from now on.
    #[arg(long, value_name = "N")]
    pub parallel: Option<u32>,
    /// Hours of work allowed in total from now on.
    #[arg(long, value_name = "H")]
    pub hours: Option<f64>,
    /// Attempts allowed in total from now on.
    #[arg(long, value_name = "N")]
    pub attempts: Option<u64>,
    /// US dollars allowed in total from now on.
    #[arg(long, value_name = "USD")]
    pub usd: Option<f64>,
    /// Model tokens allowed in total from now on.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// Wind down by this time of day, e.g. 07:00.
    #[arg(long, value_name = "HH:MM")]
    pub deadline: Option<TimeOfDay>,
    /// Take it that what is in doubt of the budget was not used.
    #[arg(long)]
    pub write_off: bool,
    /// Go on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Do not write the branch at the end; `longhaul export` does it later.
    #[arg(long)]
    pub no_export: bool,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// All jobs on this machine, whatever folder you stand in.
    #[arg(long)]
    pub jobs: bool,
    /// Only subtasks in this state; may be given several times.
    #[arg(long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Only subtasks of this map.
    #[arg(long, value_name = "MAP")]
    pub map: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: u32,
}

#[derive(Args, Debug)]
pub struct WatchArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Also the events before now, after this number (0 for all).
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// End with the exit code that `run` would, once the job is over or stands still.
    #[arg(long)]
    pub exit_status: bool,
}

#[derive(Args, Debug)]
pub struct SubtaskArgs {
    /// Its id, or a beginning that only it has.
    #[arg(value_name = "SUBTASK")]
    pub subtask: String,
    #[command(flatten)]
    pub job: JobOption,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    pub subtask: SubtaskArgs,
    /// The capsule its last attempt was given, as the agent read it.
    #[arg(long)]
    pub capsule: bool,
}

#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Its id; without one, everything that landed.
    #[arg(value_name = "SUBTASK")]
    pub subtask: Option<String>,
    #[command(flatten)]
    pub job: JobOption,
    /// Files and line counts only.
    #[arg(long)]
    pub stat: bool,
}

#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Its id; without one, the gates.
    #[arg(value_name = "SUBTASK")]
    pub subtask: Option<String>,
    #[command(flatten)]
    pub job: JobOption,
    /// Only this attempt or gate.
    #[arg(long, value_name = "ID")]
    pub attempt: Option<u64>,
}

#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// The park's number, as `longhaul status` shows it.
    #[arg(value_name = "PARK", required_unless_present_any = ["map", "all"])]
    pub park: Option<u64>,
    /// Every subtask behind the pilot of this map.
    #[arg(long, value_name = "MAP")]
    pub map: Option<String>,
    /// Every subtask behind any pilot.
    #[arg(long)]
    pub all: bool,
    /// Where an agent asks: for whom the yes holds.
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["map", "all"])]
    pub scope: ScopeName,
    #[command(flatten)]
    pub job: JobOption,
}

/// For whom an answer to an agent holds: the subtask that asked, its map, or the whole job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScopeName {
    #[default]
    Once,
    Map,
    Job,
}

#[derive(Args, Debug)]
pub struct RejectArgs {
    /// The park's number, as `longhaul status` shows it.
    #[arg(value_name = "PARK")]
    pub park: u64,
    /// Why; the agent of the next attempt reads it.
    #[arg(value_name = "REASON")]
    pub reason: Vec<String>,
    /// Where an agent asks: for whom the no holds.
    #[arg(long, value_enum, default_value_t)]
    pub scope: ScopeName,
    #[command(flatten)]
    pub job: JobOption,
}

#[derive(Args, Debug)]
pub struct PauseArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// For the record.
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Ids or globs.
    #[arg(value_name = "SUBTASK", required_unless_present = "whole_job")]
    pub subtasks: Vec<String>,
    /// Everything that is open: the job ends.
    #[arg(long, conflicts_with = "subtasks")]
    pub whole_job: bool,
    #[command(flatten)]
    pub job: JobOption,
    /// For the record.
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct RetryArgs {
    /// Ids or globs.
    #[arg(value_name = "SUBTASK", required_unless_present = "where_")]
    pub subtasks: Vec<String>,
    /// Those of a map (map=NAME) or in a state (state=parked); may be given several times.
    #[arg(long = "where", value_name = "KEY=VALUE", id = "where_")]
    pub where_: Vec<String>,
    /// Added to the instructions of what is tried again.
    #[arg(long, default_value = "")]
    pub remark: String,
    #[command(flatten)]
    pub job: JobOption,
}

#[derive(Args, Debug)]
pub struct RevertArgs {
    #[command(flatten)]
    pub subtask: SubtaskArgs,
    /// For the record.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// report.md
    Md,
    /// report.html
    Html,
    /// junit.xml
    Junit,
}

#[derive(Args, Debug)]
pub struct ReportArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Print this one on stdout and write nothing.
    #[arg(long, value_enum)]
    pub format: Option<ReportFormat>,
    /// Where to write; default: the job's folder.
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Run the gate again on every merge.
    #[arg(long)]
    pub rerun: bool,
}

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// For which shell.
    pub shell: clap_complete::Shell,
}
