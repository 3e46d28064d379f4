//! Workers hear how many of them ask models, so that each keeps to its part of a provider's limits.

use std::sync::Arc;

use futures::StreamExt as _;
use longhaul_common::bus::{Bus, MemoryBus, Subject, Subscription};
use longhaul_proto::{self as pb, to_worker};
use prost::Message as _;

use super::world::{FakeWorker, Place, Server, soon};

/// Waits until everybody is told this number.
async fn hear(all: &mut Subscription, workers: u32) {
    let told = async {
        while let Some(incoming) = all.next().await {
            let message = pb::ToWorker::decode(incoming.taken()).expect("a message").message;
            if let Some(to_worker::Message::Askers(askers)) = message
                && askers.workers == workers
            {
                return;
            }
        }
    };
    soon(&format!("{workers} that ask"), told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_follows_the_work_of_jobs_that_ask_models() {
    let place = Place::new();
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut all = bus.subscribe(&Subject::everyone());
    let server = Server::over(&place, Arc::clone(&bus)).await;
    let mut one = FakeWorker::new(&server, "one", 1);
    let mut plan = place.plan("asking", &["a", "b"]);
    plan.providers = vec![pb::Provider { name: "main".into(), ..pb::Provider::default() }];
    server.submit(&place, plan).await.expect("submitted");
    // The gate of the base asks nobody; then the work comes.
    let gate = one.take().await;
    one.finish(&server.hub, &gate).await;
    let first = one.take().await;
    hear(&mut all, 1).await;
    let mut two = FakeWorker::new(&server, "two", 1);
    let second = two.take().await;
    hear(&mut all, 2).await;
    one.finish(&server.hub, &first).await;
    two.finish(&server.hub, &second).await;
    hear(&mut all, 0).await;
    server.stop().await;
}
