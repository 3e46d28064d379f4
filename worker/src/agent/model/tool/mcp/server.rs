//! One server: its process, what it offers, and calls of it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul_proto::{Failure, FailureClass};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
    JsonObject, PaginatedRequestParams, ProtocolVersion, Tool,
};
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceError, serve_client};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Why};
use crate::agent::talk::{EXIT_MAX, McpServer, START_MAX};
use crate::execution::{Execution, Program, cancelled};
use crate::failure::{failure, of_run, with_detail};
use crate::process::talk::Talk;
use crate::process::{ProcessEnd, ProcessError, ProcessOutcome, Purpose};
use crate::workspace::{Folder, WorkspaceError};

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(600);

/// Pieces in which a server may list its tools.
const PAGES_MAX: usize = 64;

/// The way to a server.
type Service = RunningService<RoleClient, ClientConfig>;

/// A server that runs.
pub struct Server {
    /// What the job calls it.
    pub name: String,
    service: Service,
    why: Why,
    process: Process,
}

impl Server {
    /// Starts the server of this number, and asks for its tools.
    pub async fn start(
        execution: &Arc<Execution>,
        number: usize,
        own: &McpServer,
    ) -> Result<(Self, Vec<Tool>), Box<Failure>> {
        let (tmp, name) = (execution.slot.tmp(), format!("mcp-{number}"));
        let folder = tmp.join(&name);
        let talk = Folder::below(&tmp, Path::new(&name), true).and_then(|_| Talk::new(&folder));
        let talk = talk.map_err(|source| {
            Box::new(Failure::from(WorkspaceError::Io { action: "make a pipe in", path: folder, source }))
        })?;
        let argv = std::iter::once(&own.command).chain(&own.args).map(OsString::from);
        let program = Program {
            name: format!("mcp-{number}-{}", own.name),
            argv: argv.collect(),
            env: own.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            stdin: Some(talk.stdin.clone()),
            stdout: Some(talk.stdout.clone()),
            ..Program::default()
        };
        let process = Process::start(execution, program, &talk);
        let why = Why::default();
        let hello = tokio::time::timeout(START_MAX, hello(Connection::new(talk, why.clone())));
        let (words, grace) = match hello.await {
            Ok(Ok((service, tools))) => return Ok((Self { name: own.name.clone(), service, why, process }, tools)),
            // One that only ended has an exit code worth waiting for.
            Ok(Err(words)) => why.words().map_or((words, EXIT_MAX), |why| (why, Duration::ZERO)),
            Err(_) => (format!("it did not answer within {} s", START_MAX.as_secs()), Duration::ZERO),
        };
        let ended = process.end(grace).await?;
        Err(if execution.cancel.is_cancelled() { cancelled() } else { refused(&own.name, &words, &ended) })
    }

    /// Calls a tool; what went wrong, in words for the model.
    pub async fn call(&self, tool: &str, arguments: JsonObject) -> Result<CallToolResult, String> {
        let name = &self.name;
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match tokio::time::timeout(CALL_MAX, self.service.call_tool_once(params)).await {
            Err(_) => Err(format!("the mcp server {name} did not answer within {} s", CALL_MAX.as_secs())),
            Ok(Ok(CallToolResponse::Complete(result))) => Ok(result),
            Ok(Ok(_)) => Err(format!("the mcp server {name} wants to go on in a way that is not known here")),
            Ok(Err(ServiceError::McpError(error))) => Err(format!("the mcp server {name} refused: {}", error.message)),
            Ok(Err(error)) => {
                let why = self.why.words().unwrap_or_else(|| error.to_string());
                Err(format!("the mcp server {name} is gone ({why}); none of its tools can be used any more"))
            }
        }
    }

    /// Ends it: by the end of its input, and then by force.
    pub async fn end(mut self) {
        let closed = self.service.close_with_timeout(EXIT_MAX).await;
        if !matches!(closed, Ok(Some(_))) {
            tracing::debug!(server = self.name, "the way to an mcp server is not closed in time");
        }
        if let Err(failure) = self.process.end(EXIT_MAX).await {
            tracing::info!(server = self.name, error = failure.message, "an mcp server did not end as it should");
        }
    }
}

/// The first words of a conversation; the error is in words.
async fn hello(connection: Connection) -> Result<(Service, Vec<Tool>), String> {
    let own = Implementation::new("longhaul", env!("CARGO_PKG_VERSION"));
    let own = ClientConfig::new(ClientCapabilities::default(), own)
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
    let service = serve_client(own, connection).await.map_err(|error| error.to_string())?;
    if service.peer_info().is_some_and(|info| info.capabilities.tools.is_none()) {
        return Err("it offers no tools".to_owned());
    }
    let (mut tools, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = PaginatedRequestParams::default().with_cursor(cursor);
        let listed = service.list_tools(Some(page)).await.map_err(|error| error.to_string())?;
        tools.extend(listed.tools);
        cursor = listed.next_cursor;
        if cursor.is_none() {
            return Ok((service, tools));
        }
    }
    Err(format!("it lists its tools in more than {PAGES_MAX} pieces"))
}

/// A server that did not get so far that a model can use it.
fn refused(name: &str, words: &str, ended: &ProcessOutcome) -> Box<Failure> {
    let what = format!("the mcp server {name}");
    // One that was ended by us says nothing about itself.
    let own = (ended.end != ProcessEnd::Cancelled).then(|| of_run(&what, ended, FailureClass::Setup)).flatten();
    Box::new(own.unwrap_or_else(|| {
        let message = format!("{what} cannot be talked with: {words}");
        with_detail(failure(FailureClass::Setup, message), &ended.log.tail)
    }))
}

/// The process of a server. It ends with this, whatever it is doing.
struct Process {
    task: JoinHandle<Result<ProcessOutcome, ProcessError>>,
    kill: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Process {
    /// Runs it with its stdin and stdout as a conversation.
    fn start(execution: &Arc<Execution>, program: Program, talk: &Talk) -> Self {
        let kill = execution.cancel.child_token();
        let (execution, stop, ended) = (Arc::clone(execution), kill.clone(), talk.ended.clone());
        let task = tokio::spawn(async move {
            let ran = execution.run_until(Purpose::Agent, program, &stop).await;
            ended.cancel();
            ran
        });
        Self { task, kill }
    }

    /// Waits a while for its own end, and then ends it.
    async fn end(mut self, grace: Duration) -> Result<ProcessOutcome, Box<Failure>> {
        let joined = match tokio::time::timeout(grace, &mut self.task).await {
            Ok(joined) => joined,
            Err(_) => {
                self.kill.cancel();
                (&mut self.task).await
            }
        };
        match joined {
            Ok(ran) => ran.map_err(|error| Box::new(error.into())),
            // Only a runtime that shuts down ends it before its time.
            Err(_) => Err(cancelled()),
        }
    }
}
