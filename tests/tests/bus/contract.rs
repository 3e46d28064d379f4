//! What every bus keeps.

use longhaul_common::JobId;
use longhaul_common::bus::{BusError, Link, PAYLOAD_MAX, Subject};

use crate::rig::{Rig, incoming, message, say, taken, up_to};

/// Each case as a test of each bus.
macro_rules! kept {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() {
                super::$case(super::Rig::memory().await.expect("always there")).await;
            })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $case() {
                if let Some(rig) = super::Rig::nats().await {
                    super::$case(rig).await;
                }
            })*
        }
    };
}

kept! {
    one_subject_keeps_its_order,
    patterns_hear_what_matches_and_say_from_where,
    nothing_from_before_a_subscription,
    an_answer_to_what_is_asked_after_subscribing_is_heard,
    too_large_is_refused,
    an_engine_may_drop_the_second_of_two_with_one_id,
    taken_does_not_come_again,
    names_cannot_widen_a_subject,
    every_subscriber_hears_everything,
    everyone_is_heard_by_all,
    the_link_is_up,
}

fn job() -> JobId {
    "j1".parse().expect("valid")
}

async fn one_subject_keeps_its_order(rig: Rig) {
    let subject = Subject::worker("w1");
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    for number in 0..500 {
        rig.coordinator.publish(message(&subject, &format!("m{number}"), &number.to_string())).expect("room");
    }
    for number in 0..500 {
        assert_eq!(taken(&mut heard).await, number.to_string());
    }
}

async fn patterns_hear_what_matches_and_say_from_where(rig: Rig) {
    let mut reports = rig.coordinator.subscribe(&Subject::reports(&job()));
    let mut presences = rig.coordinator.subscribe(&Subject::presences());
    rig.settled().await;
    let other: JobId = "j2".parse().expect("valid");
    for (subject, text) in [
        (Subject::report(&other, "w1"), "of another job"),
        (Subject::report(&job(), "w1"), "one"),
        (Subject::report(&job(), "w2"), "two"),
        (Subject::presence("w1"), "here"),
    ] {
        say(&*rig.worker, &subject, text);
    }
    for (worker, text) in [("w1", "one"), ("w2", "two")] {
        let came = incoming(&mut reports).await;
        assert_eq!(came.subject, Subject::report(&job(), worker));
        assert_eq!(came.taken(), text);
    }
    let came = incoming(&mut presences).await;
    assert_eq!((came.subject.worker_name(), &came.payload[..]), (Some("w1"), &b"here"[..]));
}

async fn nothing_from_before_a_subscription(rig: Rig) {
    for subject in [Subject::event(&job()), Subject::presence("w1"), Subject::worker("w1"), Subject::everyone()] {
        // A worker's subject has one subscriber, and its messages are acknowledged by the server. Of
        // the others only somebody who heard it can tell that a message has been through.
        let witness = (subject != Subject::worker("w1")).then(|| rig.worker.subscribe(&subject));
        rig.settled().await;
        say(&*rig.coordinator, &subject, "before");
        rig.settled().await;
        if let Some(mut witness) = witness {
            assert_eq!(taken(&mut witness).await, "before", "{subject}");
        }
        let mut heard = rig.worker.subscribe(&subject);
        rig.settled().await;
        say(&*rig.coordinator, &subject, "after");
        assert_eq!(taken(&mut heard).await, "after", "{subject}");
    }
}

async fn an_answer_to_what_is_asked_after_subscribing_is_heard(rig: Rig) {
    let mut asked = rig.worker.subscribe(&Subject::everyone());
    rig.settled().await;
    let worker = std::sync::Arc::clone(&rig.worker);
    let answering = tokio::spawn(async move {
        assert_eq!(taken(&mut asked).await, "who is there?");
        say(&*worker, &Subject::presence("w1"), "me");
    });
    // Nothing waits in between: the order of these two calls is enough.
    let mut presences = rig.coordinator.subscribe(&Subject::presences());
    say(&*rig.coordinator, &Subject::everyone(), "who is there?");
    assert_eq!(taken(&mut presences).await, "me");
    answering.await.expect("it answered");
}

async fn too_large_is_refused(rig: Rig) {
    let subject = Subject::event(&job());
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    let refused = rig.coordinator.publish(message(&subject, "", &"x".repeat(PAYLOAD_MAX + 1)));
    assert!(matches!(refused, Err(BusError::TooLarge { bytes, .. }) if bytes == PAYLOAD_MAX + 1));
    rig.coordinator.publish(message(&subject, "as large as may be", &"x".repeat(PAYLOAD_MAX))).expect("it fits");
    assert_eq!(taken(&mut heard).await.len(), PAYLOAD_MAX);
}

async fn an_engine_may_drop_the_second_of_two_with_one_id(rig: Rig) {
    for subject in [Subject::worker("w1"), Subject::event(&job())] {
        let mut heard = rig.worker.subscribe(&subject);
        rig.settled().await;
        for (id, text) in [("1", "first"), ("1", "again"), ("2", "second"), ("3", "end")] {
            rig.coordinator.publish(message(&subject, id, text)).expect("room");
        }
        let came = up_to(&mut heard, "end").await;
        // NATS drops it; the bus of one process looks at no ids.
        let wanted: &[&str] =
            if rig.nats.is_some() { &["first", "second", "end"] } else { &["first", "again", "second", "end"] };
        assert_eq!(came, wanted, "{subject}");
    }
    // One id on two subjects names two messages.
    let mut heard = rig.worker.subscribe(&Subject::event(&"j9".parse().expect("valid")));
    rig.settled().await;
    rig.coordinator.publish(message(&Subject::event(&"j9".parse().expect("valid")), "1", "mine")).expect("room");
    assert_eq!(taken(&mut heard).await, "mine");
}

async fn taken_does_not_come_again(rig: Rig) {
    let subject = Subject::worker("w1");
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    say(&*rig.coordinator, &subject, "one");
    let first = incoming(&mut heard).await;
    if rig.nats.is_some() {
        // Dropped, it comes again: the contract allows it, and NATS does it.
        drop(first);
        assert_eq!(taken(&mut heard).await, "one");
    } else {
        first.taken();
    }
    drop(heard);
    rig.settled().await;
    let mut heard = rig.worker.subscribe(&subject);
    rig.settled().await;
    say(&*rig.coordinator, &subject, "two");
    assert_eq!(taken(&mut heard).await, "two");
}

async fn names_cannot_widen_a_subject(rig: Rig) {
    let mut sly = rig.worker.subscribe(&Subject::worker("*"));
    let mut own = rig.worker.subscribe(&Subject::worker("a"));
    rig.settled().await;
    say(&*rig.coordinator, &Subject::worker("a"), "for a");
    say(&*rig.coordinator, &Subject::worker("a.b"), "for a_b");
    assert_eq!(taken(&mut own).await, "for a");
    say(&*rig.coordinator, &Subject::worker("_"), "for whoever is called so");
    assert_eq!(taken(&mut sly).await, "for whoever is called so");
}

async fn every_subscriber_hears_everything(rig: Rig) {
    let subject = Subject::event(&job());
    let mut all: Vec<_> = (0..20).map(|_| rig.worker.subscribe(&subject)).collect();
    rig.settled().await;
    for number in 0..50 {
        say(&*rig.coordinator, &subject, &number.to_string());
    }
    for heard in &mut all {
        for number in 0..50 {
            assert_eq!(taken(heard).await, number.to_string());
        }
    }
}

async fn everyone_is_heard_by_all(rig: Rig) {
    let mut one = rig.worker.subscribe(&Subject::everyone());
    let mut two = rig.coordinator.subscribe(&Subject::everyone());
    rig.settled().await;
    say(&*rig.coordinator, &Subject::everyone(), "hello");
    assert_eq!((taken(&mut one).await, taken(&mut two).await), ("hello".to_owned(), "hello".to_owned()));
}

async fn the_link_is_up(rig: Rig) {
    let _heard = rig.worker.subscribe(&Subject::worker("w1"));
    rig.settled().await;
    assert_eq!((rig.worker.link(), rig.coordinator.link()), (Link::Up, Link::Up));
}
