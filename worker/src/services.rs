//! Servers that checks and gates need: started with ports of their own, waited for, stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use longhaul_proto::{Failure, FailureClass, Service};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::execution::{Execution, Program, limit_of};
use crate::failure::{failure, infrastructure, of_run, with_detail};
use crate::process::{
    CapturedLog, Placeholders, ProcessError, ProcessOutcome, ProcessSpec, Purpose, argv_of, is_empty, variables,
};

/// Time a service has to become ready when the job file says nothing.
const READY_DEFAULT: Duration = Duration::from_secs(60);

/// Pause between two runs of the `ready` command.
const READY_EVERY: Duration = Duration::from_millis(200);

/// Wall time limit of one run of a `ready` or `stop` command.
const COMMAND_MAX: Duration = Duration::from_secs(10);

/// Running services. Dropped, they are killed; [`Services::stop`] also runs their stop commands.
pub struct Services {
    execution: Arc<Execution>,
    stops: Vec<Service>,
    env: BTreeMap<OsString, OsString>,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

impl Services {
    /// Starts all services of the repository and waits until each is ready.
    pub async fn start(execution: &Arc<Execution>, purpose: Purpose) -> Result<Self, Box<Failure>> {
        let services = execution.repo_env().services.clone();
        let mut env = BTreeMap::new();
        for name in services.iter().flat_map(|service| &service.ports) {
            let port = free_port().map_err(|error| Box::new(infrastructure(format!("no free port: {error}"))))?;
            env.insert(OsString::from(name), OsString::from(port.to_string()));
        }
        let mut running = Self {
            execution: Arc::clone(execution),
            stops: Vec::new(),
            env,
            tasks: JoinSet::new(),
            cancel: execution.cancel.child_token(),
        };
        for service in services {
            if let Err(failure) = running.start_one(service, purpose).await {
                running.stop().await;
                return Err(failure);
            }
        }
        Ok(running)
    }

    /// Variables that name the ports.
    pub fn env(&self) -> &BTreeMap<OsString, OsString> {
        &self.env
    }

    async fn spec(&self, name: &str, argv: Vec<OsString>, purpose: Purpose) -> Result<ProcessSpec, ProcessError> {
        let slot = &self.execution.slot;
        let mut env = variables(purpose, self.execution.repo_env(), &slot.tmp());
        env.extend(self.env.clone());
        Ok(ProcessSpec {
            argv,
            cwd: slot.ws(),
            env,
            stdin: None,
            stdout: None,
            timeout: None,
            idle_timeout: None,
            secrets: self.execution.secrets(),
            log: slot.tmp().join(format!("service-{name}.log")),
            output_bytes_max: 0,
            on_line: None,
            sandbox: self.execution.enclose(purpose, Vec::new()).await?,
        })
    }

    async fn start_one(&mut self, service: Service, purpose: Purpose) -> Result<(), Box<Failure>> {
        let values = self.placeholders();
        let Some(argv) = service.start.as_ref().and_then(|start| argv_of(start, &values)) else { return Ok(()) };
        let safe: String = service.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let spec = self.spec(&safe, argv, purpose).await.map_err(|error| Box::new(error.into()))?;
        let (shim, cancel) = (self.execution.shim(), self.cancel.clone());
        let (ended, mut end) = tokio::sync::oneshot::channel::<Result<ProcessOutcome, Failure>>();
        self.tasks.spawn(async move {
            let outcome = crate::process::run(&shim, spec, &cancel).await.map_err(Failure::from);
            // Nobody listens any more once it is ready.
            let _unheard = ended.send(outcome);
        });
        self.stops.push(service.clone());
        let Some(ready) = service.ready.as_ref().filter(|ready| !is_empty(ready)) else { return Ok(()) };
        let ready = argv_of(ready, &values).unwrap_or_default();
        let limit = limit_of(service.ready_timeout_ms).unwrap_or(READY_DEFAULT);
        let last = tokio::select! {
            outcome = &mut end => return Err(Box::new(early_end(&service.name, outcome.ok()))),
            found = self.until_ready(&safe, ready, purpose, limit) => found,
        };
        match last {
            None => Ok(()),
            Some(_) if self.execution.cancel.is_cancelled() => Err(crate::execution::cancelled()),
            Some(log) => {
                let message = format!("the service {} was not ready after {} s", service.name, limit.as_secs());
                Err(Box::new(with_detail(failure(FailureClass::Setup, message), &log.tail)))
            }
        }
    }

    /// `None` when ready, else the last output of the `ready` command.
    async fn until_ready(
        &self,
        name: &str,
        argv: Vec<OsString>,
        purpose: Purpose,
        limit: Duration,
    ) -> Option<CapturedLog> {
        let mut last = CapturedLog::default();
        let polling = async {
            loop {
                match self.ready_once(name, argv.clone(), purpose).await {
                    Ok(outcome) if outcome.succeeded() => return,
                    Ok(outcome) => last = outcome.log,
                    Err(error) => last.tail = error.to_string(),
                }
                if self.cancel.is_cancelled() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(READY_EVERY).await;
            }
        };
        let ready = tokio::select! {
            ready = tokio::time::timeout(limit, polling) => ready.is_ok(),
            () = self.execution.cancel.cancelled() => false,
        };
        (!ready).then_some(last)
    }

    async fn ready_once(
        &self,
        name: &str,
        argv: Vec<OsString>,
        purpose: Purpose,
    ) -> Result<ProcessOutcome, ProcessError> {
        let spec = self.spec(&format!("{name}-ready"), argv, purpose).await?;
        let spec = ProcessSpec { timeout: Some(COMMAND_MAX), ..spec };
        crate::process::run(&self.execution.shim(), spec, &self.cancel).await
    }

    fn placeholders(&self) -> Placeholders {
        Placeholders::default()
            .with("job_dir", self.execution.assignment.job_dir.as_str())
            .with("workspace", self.execution.slot.ws().display().to_string())
    }

    /// Runs the stop commands, then ends what is left. Also for an execution that is cancelled or out of
    /// time: what its services started elsewhere, a container for example, nothing else ends.
    pub async fn stop(mut self) {
        let values = self.placeholders();
        for service in self.stops.iter().rev() {
            let Some(argv) = service.stop.as_ref().and_then(|stop| argv_of(stop, &values)) else { continue };
            let program = Program {
                name: format!("stop {}", service.name),
                argv,
                env: self.env.clone(),
                timeout: Some(COMMAND_MAX),
                closes: true,
                ..Program::default()
            };
            let stopped = self.execution.run_until(Purpose::Check, program, &CancellationToken::new()).await;
            if let Err(error) = stopped {
                tracing::warn!(service = service.name, %error, "stop command could not be run");
            }
        }
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn early_end(name: &str, outcome: Option<Result<ProcessOutcome, Failure>>) -> Failure {
    let what = format!("the service {name}");
    match outcome {
        Some(Ok(outcome)) => of_run(&what, &outcome, FailureClass::Setup).unwrap_or_else(|| {
            with_detail(failure(FailureClass::Setup, format!("{what} ended before it was ready")), &outcome.log.tail)
        }),
        Some(Err(failure)) => failure,
        None => infrastructure(format!("{what} was lost")),
    }
}

/// A port nobody listens on now. Another process may take it before the service does; then the
/// service does not become ready and the attempt is repeated.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
