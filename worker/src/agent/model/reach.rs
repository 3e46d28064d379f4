//! The way to a model: through the attempt's own gateway. The loop itself has nothing but a throwaway
//! key.

use longhaul_proto::{Failure, FailureClass, ModelAgent};

use super::client::{Client, Endpoint, Patience};
use super::profile::Profile;
use super::wire::Api;
use crate::agent::metered::{self, Asks, Who};
use crate::execution::Execution;
use crate::failure::{failure, infrastructure};
use crate::gateway::Gateway;

/// A way to a model; it ends when it is dropped.
pub struct Reach {
    /// Asks it.
    pub client: Client,
    /// Meters it.
    pub gateway: Gateway,
}

impl Reach {
    /// Opens it, for as much as may be used.
    pub async fn open(
        agent: &ModelAgent,
        profile: &Profile,
        asks: Asks<'_>,
        execution: &Execution,
    ) -> Result<Self, Box<Failure>> {
        let provider = agent.provider.clone().unwrap_or_default();
        let Some(api) = Api::named(&provider.api) else {
            let message =
                format!("the provider {} speaks {:?}, which is none of the loop's", provider.name, provider.api);
            return Err(Box::new(failure(FailureClass::Agent, message)));
        };
        let asks = Asks { models: vec![literal(&agent.model)], prices: &agent.prices, who: Who::Worker, ..asks };
        let gateway = metered::gateway(&provider, asks, execution).await?;
        let endpoint = Endpoint {
            api,
            url: format!("{}/v1", gateway.base_url()),
            key: Some(gateway.key().to_owned()),
            headers: profile.traits.headers.clone().into_iter().collect(),
        };
        let client = Client::new(endpoint, Patience::default());
        let client = client.map_err(|error| Box::new(infrastructure(error.to_string())))?;
        Ok(Self { client, gateway })
    }
}

/// A glob that is the name alone, whatever characters it has.
fn literal(name: &str) -> String {
    let quoted = |c: char| if "*?[]{}!\\".contains(c) { format!("[{c}]") } else { c.to_string() };
    name.chars().map(quoted).collect()
}
