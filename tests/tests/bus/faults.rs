//! What a bus over NATS comes back from by itself.

use std::collections::BTreeSet;

use longhaul_common::bus::nats::{NatsBus, NatsError, NatsRole};
use longhaul_common::bus::{Bus, Link, Subject, Subscription};
use longhaul_tests::nats::NatsServer;

use crate::rig::{Rig, config, connect, incoming, message, say, soon, taken, up_to, w1};

/// A client of the server as its operator has.
async fn operator(server: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("it runs"))
}

/// Returns when the link is as wished; each look waits for the client to do something.
async fn link(bus: &NatsBus, wished: impl Fn(&Link) -> bool) -> Link {
    soon("the link changes", async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
        loop {
            looks.tick().await;
            let link = bus.link();
            if wished(&link) {
                return link;
            }
        }
    })
    .await
}

/// Publishes numbered texts until one is heard; gives it.
async fn until_heard(bus: &dyn Bus, subject: &Subject, heard: &mut Subscription) -> String {
    let mut number = 0;
    let mut beats = tokio::time::interval(std::time::Duration::from_millis(50));
    soon("something is heard", async {
        loop {
            tokio::select! {
                text = taken(heard) => return text,
                _ = beats.tick() => {
                    number += 1;
                    // Full queues are part of an outage.
                    let _full = bus.publish(message(subject, &format!("again-{number}"), &number.to_string()));
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_no_matter() {
    let Some(mut rig) = Rig::nats().await else { return };
    let job = "j".parse().expect("valid");
    let subjects = [Subject::worker("w1"), Subject::event(&job), Subject::report(&job, "w1"), Subject::everyone()];
    let mut heard: Vec<Subscription> = subjects.iter().map(|subject| rig.worker.subscribe(subject)).collect();
    rig.settled().await;
    for round in 0..2 {
        for (subject, heard) in subjects.iter().zip(&mut heard) {
            say(&*rig.coordinator, subject, "up");
            up_to(heard, "up").await;
        }
        let server = rig.server.as_mut().expect("over NATS");
        server.kill();
        server.wipe().expect("its store goes");
        link(&rig.buses().0, |link| matches!(link, Link::Down { .. })).await;
        // Said while nobody listens; assignments and events are kept until somebody does.
        for (subject, heard) in subjects.iter().zip(&mut heard).take(2) {
            for number in 0..10 {
                let id = format!("{round}-{number}");
                rig.coordinator.publish(message(subject, &id, &id)).expect("room");
            }
            assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(heard)).is_none());
        }
        rig.server.as_mut().expect("over NATS").restart().expect("it comes back");
        link(&rig.buses().0, |link| *link == Link::Up).await;
        link(&rig.buses().1, |link| *link == Link::Up).await;
        for (subject, heard) in subjects.iter().zip(&mut heard) {
            until_heard(&*rig.coordinator, subject, heard).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assignments_queued_in_an_outage_arrive() {
    let Some(mut rig) = Rig::nats().await else { return };
    let subject = Subject::worker("w1");
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    rig.server.as_mut().expect("over NATS").kill();
    link(&rig.buses().0, |link| matches!(link, Link::Down { cause } if cause.contains("127.0.0.1"))).await;
    for number in 0..100 {
        rig.coordinator.publish(message(&subject, &number.to_string(), &number.to_string())).expect("room");
    }
    // What is said before its worker is back as well is not of before the subscription: it stood.
    rig.server.as_mut().expect("over NATS").restart().expect("it comes back");
    // One that went out before the server could take it is sent again behind others: order holds while the link is up.
    let mut missing: BTreeSet<String> = (0..100).map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        missing.remove(&taken(&mut heard).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_and_streams_that_vanish_are_made_again() {
    let Some(rig) = Rig::nats().await else { return };
    let job = "j".parse().expect("valid");
    let (assigned, event) = (Subject::worker("w1"), Subject::event(&job));
    let mut at_worker = rig.worker.subscribe(&assigned);
    let mut watched = rig.coordinator.subscribe(&event);
    rig.settled().await;
    let operator = operator(rig.server.as_ref().expect("over NATS")).await;
    operator.delete_consumer_from_stream("w1", "LH_test_WORKER").await.expect("it was there");
    say(&*rig.coordinator, &assigned, "after the consumer");
    assert_eq!(taken(&mut at_worker).await, "after the consumer");
    for stream in ["LH_test_WORKER", "LH_test_EVENT"] {
        operator.delete_stream(stream).await.expect("it was there");
    }
    until_heard(&*rig.coordinator, &assigned, &mut at_worker).await;
    until_heard(&*rig.coordinator, &event, &mut watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_streams_and_says_so() {
    longhaul_common::tls::install();
    let Some(server) = NatsServer::for_test(|| NatsServer::start(&[])) else { return };
    let worker = connect(&server.url(), w1()).await;
    let mut heard = worker.subscribe(&Subject::worker("w1"));
    let down = link(&worker, |link| matches!(link, Link::Down { cause } if cause.contains("worker.w1"))).await;
    assert!(format!("{down:?}").contains("stream not found"), "{down:?}");
    say(&worker, &Subject::presence("w1"), "here");
    let coordinator = connect(&server.url(), NatsRole::Coordinator).await;
    let mut presences = coordinator.subscribe(&Subject::presences());
    until_heard(&coordinator, &Subject::worker("w1"), &mut heard).await;
    until_heard(&worker, &Subject::presence("w1"), &mut presences).await;
    link(&worker, |link| *link == Link::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_need_not_be_there_at_the_start() {
    longhaul_common::tls::install();
    let Some(mut server) = NatsServer::for_test(|| NatsServer::start(&[])) else { return };
    server.kill();
    let coordinator = connect(&server.url(), NatsRole::Coordinator).await;
    assert!(matches!(coordinator.link(), Link::Down { cause } if cause.contains(&server.addr())));
    let subject = Subject::worker("w1");
    let mut heard = coordinator.subscribe(&subject);
    say(&coordinator, &subject, "patience");
    server.restart().expect("it comes");
    assert_eq!(taken(&mut heard).await, "patience");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_said_and_tried_again() {
    longhaul_common::tls::install();
    let Some(server) = NatsServer::for_test(|| NatsServer::start(&["--auth", "right"])) else { return };
    let mut settings = config(&server.url(), w1());
    settings.token = Some("wrong-and-secret".to_owned());
    let bus = NatsBus::connect(settings.clone()).await.expect("no error of the settings");
    let down = link(&bus, |link| matches!(link, Link::Down { cause } if cause.contains("authorization"))).await;
    assert!(format!("{down:?}").contains("check the credentials"), "{down:?}");
    assert!(!format!("{down:?}{settings:?}").contains("secret"));
    settings.token = Some("right".to_owned());
    settings.role = NatsRole::Coordinator;
    let bus = NatsBus::connect(settings).await.expect("no error of the settings");
    link(&bus, |link| *link == Link::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_work_are_refused() {
    let mut settings = config("nats://127.0.0.1:1", w1());
    settings.ca = Some("/nowhere/ca.pem".into());
    let error = NatsBus::connect(settings).await.map(drop).expect_err("there is no such file");
    assert!(matches!(&error, NatsError::File { path, .. } if path.ends_with("ca.pem")), "{error}");
    let mut settings = config("nats://127.0.0.1:1", w1());
    settings.fleet = "a.>".to_owned();
    assert!(matches!(NatsBus::connect(settings).await, Err(NatsError::Fleet { .. })));
    let mut settings = config("nats://127.0.0.1:1", w1());
    settings.urls.clear();
    assert!(matches!(NatsBus::connect(settings).await, Err(NatsError::NoUrl)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_worker_had_not_taken_comes_to_its_next_self() {
    let Some(rig) = Rig::nats().await else { return };
    let subject = Subject::worker("w1");
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    say(&*rig.coordinator, &subject, "one");
    say(&*rig.coordinator, &subject, "two");
    assert_eq!(taken(&mut heard).await, "one");
    let untaken = incoming(&mut heard).await;
    drop(untaken);
    drop(heard);
    let mut heard = rig.worker.subscribe(&subject);
    assert_eq!(taken(&mut heard).await, "two");
}
