//! All servers of an attempt, and the way from a tool's name to its server.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use longhaul_proto::Failure;
use rmcp::model::JsonObject;

use super::super::super::profile::Profile;
use super::super::super::wire::ToolSpec;
use super::answer::Answer;
use super::offer::{Offer, Room, offer};
use super::server::Server;
use crate::agent::talk::McpServer;
use crate::execution::Execution;

/// The servers of an attempt. Their processes end with this.
#[derive(Default)]
pub struct Servers {
    servers: Vec<Server>,
    /// By a tool's name for the model: its server, and its name there.
    routes: BTreeMap<String, (usize, String)>,
    specs: Vec<ToolSpec>,
    left_out: Vec<String>,
    /// The model sees pictures.
    sees: bool,
}

impl Servers {
    /// Starts them side by side, for a model of this profile. One that cannot be used is the failure of
    /// all, for the job says that they are needed.
    pub async fn start(
        execution: &Arc<Execution>,
        wanted: &[McpServer],
        profile: &Profile,
    ) -> Result<Self, Box<Failure>> {
        let starting = wanted.iter().enumerate().map(|(number, own)| Server::start(execution, number + 1, own));
        let (servers, tools): (Vec<Server>, Vec<_>) = try_join_all(starting).await?.into_iter().unzip();
        let room = Room { context_tokens: profile.context_tokens, by_schema: profile.by_schema };
        let names = servers.iter().map(|server| server.name.as_str());
        let Offer { tools, left_out } = offer(names.zip(tools).collect(), room);
        let route = |tool: &super::offer::Offered| (tool.spec.name.clone(), (tool.server, tool.tool.clone()));
        Ok(Self {
            routes: tools.iter().map(route).collect(),
            specs: tools.into_iter().map(|tool| tool.spec).collect(),
            left_out,
            sees: profile.traits.sees,
            servers,
        })
    }

    /// Their tools, as the model is told of them.
    pub fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Tools it is not told of, each with the reason.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Calls a tool by its name for the model.
    pub async fn call(&self, name: &str, arguments: JsonObject) -> Result<Answer, String> {
        let route = self.routes.get(name).and_then(|(at, tool)| Some((self.servers.get(*at)?, tool)));
        let (server, tool) = route.ok_or_else(|| format!("no mcp server offers {name}"))?;
        Ok(Answer::of(server.call(tool, arguments).await?, self.sees))
    }

    /// Ends them all.
    pub async fn end(&mut self) {
        join_all(self.servers.drain(..).map(Server::end)).await;
    }
}
