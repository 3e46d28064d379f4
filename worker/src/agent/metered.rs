//! The gateway of an attempt, by what the job says of a provider: it holds the real key, meters what
//! is used and waits out short limits. The agent has nothing but a throwaway key.

use std::sync::Arc;

use longhaul_common::price::{Price, Prices};
use longhaul_proto::{Failure, FailureClass};

use crate::books::Books;
use crate::config::Held;
use crate::execution::Execution;
use crate::failure::{failure, infrastructure};
use crate::gateway::{Allowance, Api, Barred, Gateway, GatewayConfig, Provider, RateShare, Recording};

/// Who asks models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The worker itself, for a loop.
    Worker,
    /// A program within the attempt's boundary, whose network may be its own.
    Program,
}

/// What is asked of a provider, by whom.
pub struct Asks<'a> {
    /// Globs of the models' names.
    pub models: Vec<String>,
    /// What they cost.
    pub prices: &'a [longhaul_proto::Price],
    /// How much may be used.
    pub allowance: Allowance,
    /// Who asks.
    pub who: Who,
    /// Where what is used is written down.
    pub books: Books,
    /// Files that may not be sent.
    pub barred: Arc<Barred>,
}

/// Opens the gateway to a provider; it ends when it is dropped.
pub async fn gateway(
    provider: &longhaul_proto::Provider,
    asks: Asks<'_>,
    execution: &Execution,
) -> Result<Gateway, Box<Failure>> {
    let broken = |error: &dyn std::fmt::Display| Box::new(infrastructure(error.to_string()));
    let apis = [Api::OpenaiResponses, Api::OpenaiChat, Api::AnthropicMessages, Api::Gemini];
    let Some(api) = apis.into_iter().find(|api| api.name() == provider.api) else {
        return Err(broken(&format!("this worker does not know the api {:?} of {}", provider.api, provider.name)));
    };
    let recording = execution.recording();
    if let Recording::Replay(folder) = &recording
        && !folder.is_dir()
    {
        let message = format!(
            "nothing is recorded in {}, where worker.replay looks for this subtask: record the job with worker.record, \
             or leave worker.replay out",
            folder.display()
        );
        // Waiting makes no record.
        return Err(Box::new(failure(FailureClass::Agent, message)));
    }
    let key = match provider.key_env.as_str() {
        "" => Held::default(),
        _ if matches!(recording, Recording::Replay(_)) => Held::default(),
        name => Provider::key_from(name).map_err(|message| Box::new(failure(FailureClass::Setup, message)))?,
    };
    let share =
        RateShare { requests_per_minute: provider.requests_per_minute, tokens_per_minute: provider.tokens_per_minute };
    let mut config = GatewayConfig::new(vec![Provider {
        name: provider.name.clone(),
        api,
        url: provider.url.clone(),
        key,
        models: asks.models,
        rates: execution.rates().of(&provider.url, &provider.key_env, share),
    }]);
    config.secrets = execution.secrets();
    config.prices = prices(asks.prices)?;
    config.allowance = asks.allowance;
    config.recording = recording;
    config.books = Some(asks.books);
    config.barred = asks.barred;
    match asks.who {
        Who::Worker => Gateway::start(config).await.map_err(|error| broken(&error)),
        Who::Program => {
            let listener = execution.boundary.gateway().await.map_err(|error| broken(&error))?.0;
            Gateway::serve(config, listener).map_err(|error| broken(&error))
        }
    }
}

/// What a model costs that no gateway meters; `None` where nobody says.
pub fn price_of(prices: &[longhaul_proto::Price], model: &str) -> Option<Price> {
    Prices::new(prices.iter().map(price)).ok()?.of(model).cloned()
}

/// What models cost, as the job says.
pub fn prices(prices: &[longhaul_proto::Price]) -> Result<Prices, Box<Failure>> {
    Prices::new(prices.iter().map(price)).map_err(|error| Box::new(infrastructure(error.to_string())))
}

fn price(price: &longhaul_proto::Price) -> (String, Price) {
    let own = Price {
        input: price.input,
        cached_input: price.cached_input,
        cache_write: price.cache_write,
        output: price.output,
        as_of: price.as_of.clone(),
    };
    (price.model.clone(), own)
}
