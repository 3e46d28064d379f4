//! The way to a model: through the attempt's own gateway, which holds the real key, meters what is
//! used and waits out short limits. The loop itself has nothing but a throwaway key.

use longhaul_common::price::{Price, Prices};
use longhaul_proto::{Failure, FailureClass, ModelAgent, Provider};

use super::client::{Client, Endpoint, Patience};
use super::profile::Profile;
use super::wire::Api;
use crate::execution::Execution;
use crate::failure::{failure, infrastructure};
use crate::gateway::{self, Allowance, Gateway, GatewayConfig, RateShare, Rates};

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
        allowance: Allowance,
        execution: &Execution,
    ) -> Result<Self, Box<Failure>> {
        let provider = agent.provider.clone().unwrap_or_default();
        let Some(api) = Api::named(&provider.api) else {
            let message =
                format!("the provider {} speaks {:?}, which is none of the loop's", provider.name, provider.api);
            return Err(Box::new(failure(FailureClass::Agent, message)));
        };
        let broken = |error: &dyn std::fmt::Display| Box::new(infrastructure(error.to_string()));
        let mut config = GatewayConfig::new(vec![served(agent, &provider, api, &execution.rates())?]);
        config.allowance = allowance;
        config.secrets = execution.secrets();
        config.prices = prices(agent).map_err(|error| broken(&error))?;
        let gateway = Gateway::start(config).await.map_err(|error| broken(&error))?;
        let endpoint = Endpoint {
            api,
            url: format!("{}/v1", gateway.base_url()),
            key: Some(gateway.key().to_owned()),
            headers: profile.traits.headers.clone().into_iter().collect(),
        };
        let client = Client::new(endpoint, Patience::default()).map_err(|error| broken(&error))?;
        Ok(Self { client, gateway })
    }
}

fn served(agent: &ModelAgent, provider: &Provider, api: Api, rates: &Rates) -> Result<gateway::Provider, Box<Failure>> {
    let key = match provider.key_env.as_str() {
        "" => crate::config::Held::default(),
        name => gateway::Provider::key_from(name).map_err(|message| Box::new(failure(FailureClass::Setup, message)))?,
    };
    let share =
        RateShare { requests_per_minute: provider.requests_per_minute, tokens_per_minute: provider.tokens_per_minute };
    Ok(gateway::Provider {
        name: provider.name.clone(),
        api: match api {
            Api::Responses => gateway::Api::OpenaiResponses,
            Api::Chat => gateway::Api::OpenaiChat,
            Api::Messages => gateway::Api::AnthropicMessages,
        },
        url: provider.url.clone(),
        key,
        models: vec![literal(&agent.model)],
        rates: rates.of(&provider.url, &provider.key_env, share),
    })
}

/// A glob that is the name alone, whatever characters it has.
fn literal(name: &str) -> String {
    let quoted = |c: char| if "*?[]{}!\\".contains(c) { format!("[{c}]") } else { c.to_string() };
    name.chars().map(quoted).collect()
}

fn prices(agent: &ModelAgent) -> Result<Prices, globset::Error> {
    let one = |price: &longhaul_proto::Price| {
        let own = Price {
            input: price.input,
            cached_input: price.cached_input,
            cache_write: price.cache_write,
            output: price.output,
            as_of: price.as_of.clone(),
        };
        (price.model.clone(), own)
    };
    Prices::new(agent.prices.iter().map(one))
}
