//! A bus is quick, and loses nothing while it is up.

use std::time::{Duration, Instant};

use longhaul_common::bus::{Bus as _, BusError, Subject};

use crate::rig::{Rig, message, say, soon, taken};

/// Messages of the throughput test.
const MANY: usize = 20_000;

/// Trips of the latency test.
const TRIPS: usize = 500;

/// Far above what is measured (0.2 ms), far below what a poll or a lost wake-up would cost.
const TRIP_MEDIAN_MAX: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_many_is_lost() {
    let Some(rig) = Rig::nats().await else { return };
    let subject = Subject::worker("w1");
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    let began = Instant::now();
    let coordinator = rig.buses().0.clone();
    let sending = tokio::spawn({
        let subject = subject.clone();
        async move {
            for number in 0..MANY {
                let message = message(&subject, &number.to_string(), &number.to_string());
                while let Err(error) = coordinator.publish(message.clone()) {
                    assert!(matches!(error, BusError::Congested { .. }), "{error}");
                    coordinator.flushed().await;
                }
            }
        }
    });
    for number in 0..MANY {
        assert_eq!(taken(&mut heard).await, number.to_string());
    }
    sending.await.expect("all were sent");
    let took = began.elapsed();
    println!("{MANY} messages in {took:?}, {:.0} a second", MANY as f64 / took.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_is_short() {
    let Some(rig) = Rig::nats().await else { return };
    let (there, back) = (Subject::worker("w1"), Subject::presence("w1"));
    let mut at_worker = rig.worker.subscribe(&there);
    let mut at_coordinator = rig.coordinator.subscribe(&back);
    rig.settled().await;
    let mut trips = Vec::new();
    for number in 0..TRIPS {
        let began = Instant::now();
        rig.coordinator.publish(message(&there, &number.to_string(), "go")).expect("room");
        soon("there", taken(&mut at_worker)).await;
        say(&*rig.worker, &back, "done");
        soon("and back", taken(&mut at_coordinator)).await;
        trips.push(began.elapsed() / 2);
    }
    trips.sort();
    let (median, slow) = (trips[TRIPS / 2], trips[TRIPS * 99 / 100]);
    println!("publish to receive: p50 {median:?}, p99 {slow:?}");
    assert!(median < TRIP_MEDIAN_MAX, "{median:?}");
}
