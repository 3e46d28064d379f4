//! What the model gateway adds to a small call, against the same scripted model asked directly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul_tests::model::{Script, ScriptedModel};
use longhaul_worker::Held;
use longhaul_worker::gateway::{Api, Gateway, GatewayConfig, Provider, RateLimiter, RateShare};

use super::table::{Row, median};

/// Calls of each kind, one after the other and in turns.
const CALLS: usize = 500;

/// Calls before anything is measured: connections, caches of the allocator.
const WARM_UP: usize = 50;

pub fn run() -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> anyhow::Result<Vec<Row>> {
    longhaul_common::tls::install();
    // With its usage named the model counts nothing, which is work of the model and not of the way.
    let script = Script::parse(r#"{"steps":[{"text":"ok","usage":[10,1]}]}"#)?;
    let model = ScriptedModel::start(script).await?;
    let gateway = Gateway::start(GatewayConfig::new(vec![Provider {
        name: "scripted".to_owned(),
        api: Api::OpenaiResponses,
        url: format!("{}/v1", model.url()),
        key: Held(vec!["sk-bench".to_owned()]),
        models: vec!["m".to_owned()],
        rates: Arc::new(RateLimiter::new(RateShare::default())),
    }]))
    .await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + CALLS {
        let one = call(&client, &model.url(), "sk-bench", number).await?;
        let two = call(&client, &gateway.base_url(), gateway.key(), number).await?;
        if number >= WARM_UP {
            direct.push(one);
            through.push(two);
        }
    }
    gateway.stop().await;
    let (direct, through) = (median(direct), median(through));
    let added = through.saturating_sub(direct);
    let calls = Row::times("a small call through the model gateway, p50", through, "direct", direct, "–");
    let added =
        Row::figure("what the model gateway adds, p50", format!("{:.0} µs", added.as_secs_f64() * 1e6), "≤ 1 ms");
    Ok(vec![calls, added])
}

async fn call(client: &reqwest::Client, url: &str, key: &str, number: usize) -> anyhow::Result<Duration> {
    let body = format!(r#"{{"model":"m","max_output_tokens":64,"input":"say ok, for the call number {number}"}}"#);
    let begun = Instant::now();
    let request =
        client.post(format!("{url}/v1/responses")).bearer_auth(key).header("content-type", "application/json");
    let answer = request.body(body).send().await?.error_for_status()?;
    anyhow::ensure!(!answer.bytes().await?.is_empty(), "an empty answer");
    Ok(begun.elapsed())
}
