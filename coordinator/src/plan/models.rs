//! Providers, prices and the policy about them, as the plan carries them. None of it is part of a
//! node's key: limits, prices and addresses do not change what an agent makes.

use longhaul_common::spec::{At, JobFile, ModelRuleTable, PriceTable, ProviderTable, StringList};
use longhaul_proto as proto;

pub(super) fn providers(file: &JobFile) -> Vec<proto::Provider> {
    file.provider.iter().map(|(name, provider)| self::provider(name, provider)).collect()
}

pub(super) fn provider(name: &str, provider: &ProviderTable) -> proto::Provider {
    let text = |text: &Option<At<String>>| text.as_ref().map(|text| text.value.clone()).unwrap_or_default();
    let number = |number: &Option<At<u64>>| number.as_ref().map_or(0, |number| number.value);
    proto::Provider {
        name: name.to_owned(),
        api: provider.api.value.name().to_owned(),
        url: provider.url.value.clone(),
        key_env: text(&provider.key_env),
        requests_per_minute: number(&provider.requests_per_minute),
        tokens_per_minute: number(&provider.tokens_per_minute),
        region: text(&provider.region),
    }
}

pub(super) fn prices(file: &JobFile) -> Vec<proto::Price> {
    // Rounded up: a price someone set must not become "free".
    let micros = |usd: &At<f64>| (usd.value * 1e6).ceil() as u64;
    let one = |(model, price): (&String, &At<PriceTable>)| proto::Price {
        model: model.clone(),
        input: micros(&price.input),
        cached_input: micros(price.cached_input.as_ref().unwrap_or(&price.input)),
        cache_write: micros(price.cache_write.as_ref().unwrap_or(&price.input)),
        output: micros(&price.output),
        as_of: price.as_of.value.clone(),
    };
    file.price.iter().map(one).collect()
}

pub(super) fn rules(file: &JobFile) -> Vec<proto::ModelRule> {
    let strings = |list: &StringList| list.iter().map(|text| text.value.clone()).collect();
    let rules = file.policy.model.iter();
    let within = |regions: &StringList, provider: &ProviderTable| {
        provider.region.as_ref().is_some_and(|own| regions.iter().any(|region| region.value == own.value))
    };
    let rule = |rule: &At<ModelRuleTable>| {
        let there = file.provider.iter().filter(|(_, provider)| within(&rule.regions, provider));
        let mut providers: Vec<String> = strings(&rule.providers);
        providers.extend(there.map(|(name, _)| name.clone()));
        proto::ModelRule { paths: strings(&rule.paths), providers }
    };
    rules.map(rule).collect()
}
