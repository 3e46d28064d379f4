//! Servers of tools as the job names them, for any kind of agent: the programs that they are here.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use longhaul_proto::{Failure, FailureClass};

use super::Attempt;
use crate::agent::talk::McpServer;
use crate::failure::failure;
use crate::process::talk::find;
use crate::process::{Placeholders, Purpose, argv_of, variables};

impl Attempt {
    /// Where a program is that an agent would find.
    pub(super) fn found(&self, program: &OsStr, own_path: Option<&String>) -> Option<PathBuf> {
        let slot = &self.execution.slot;
        let mut env = variables(Purpose::Agent, self.execution.repo_env(), &slot.tmp());
        let path = own_path.map(OsString::from).or_else(|| env.remove(OsStr::new("PATH")));
        find(program, &slot.ws(), path.as_deref())
    }

    /// The servers of an agent. One whose program is missing is said to be before anything is started.
    pub(super) fn mcp_servers(
        &self,
        servers: &[longhaul_proto::McpServer],
        values: &Placeholders,
    ) -> Result<Vec<McpServer>, Box<Failure>> {
        servers.iter().map(|server| self.mcp_server(server, values)).collect()
    }

    fn mcp_server(&self, server: &longhaul_proto::McpServer, values: &Placeholders) -> Result<McpServer, Box<Failure>> {
        let argv = server.run.as_ref().and_then(|run| argv_of(run, values)).unwrap_or_default();
        let mut words = argv.into_iter();
        let program = words.next().unwrap_or_default();
        let Some(found) = self.found(&program, server.env.get("PATH")) else {
            let (name, program) = (&server.name, program.display());
            let message = format!("the program {program} of the mcp server {name} is not on this worker");
            return Err(Box::new(failure(FailureClass::Setup, message)));
        };
        Ok(McpServer {
            name: server.name.clone(),
            command: found.display().to_string(),
            args: words.map(|word| word.display().to_string()).collect(),
            env: server.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        })
    }
}
