//! The task that sends what waits.
//!
//! Several messages are on their way at once, each answered by the stream that keeps it. What is
//! not answered is sent again, with the same id, so that the stream drops the second of two. A new
//! connection makes everything unanswered go out again at once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::address;
use super::bus::Shared;
use super::lanes::Queued;

/// How long sending waits for subscriptions that are being set up, so that who subscribes and then
/// asks hears the answer.
const SUBSCRIBING_MAX: Duration = Duration::from_secs(2);

type Answer = (Queued, Result<(), PublishError>);

/// Sends until the bus ends.
pub(super) async fn send(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = send_for_ever(&shared) => {}
    }
}

async fn send_for_ever(shared: &Shared) {
    loop {
        let connection = shared.link.up().await;
        tokio::select! {
            () = shared.link.replaced(connection) => {}
            () = send_on_connection(shared) => {}
        }
        shared.waiting.all_failed();
    }
}

async fn send_on_connection(shared: &Shared) {
    let mut answers: FuturesUnordered<BoxFuture<'_, Answer>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((queued, answer)) = answers.next() => settle(shared, &queued, answer),
            queued = next(shared) => {
                if let Some(answer) = start(shared, queued).await {
                    answers.push(answer);
                }
            }
        }
    }
}

/// Takes the next message when it may be sent.
async fn next(shared: &Shared) -> Queued {
    loop {
        open(shared).await;
        match shared.waiting.look() {
            Ok(queued) => return queued,
            Err(from) => shared.waiting.changed(from).await,
        }
    }
}

/// Returns when sending makes sense.
async fn open(shared: &Shared) {
    if !shared.link.is_up() {
        shared.link.up().await;
    }
    if *shared.subscribing.borrow() > 0 {
        let mut subscribing = shared.subscribing.subscribe();
        // At its end sending goes on regardless: a subscription that cannot be made stops nobody.
        let _late = tokio::time::timeout(SUBSCRIBING_MAX, subscribing.wait_for(|count| *count == 0)).await;
    }
}

/// Hands a message to the connection; gives what its stream will answer, if it has one.
async fn start<'a>(shared: &'a Shared, queued: Queued) -> Option<BoxFuture<'a, Answer>> {
    let message = &queued.message;
    let subject = shared.address.of(&message.subject);
    if shared.address.stream(queued.channel).is_none() {
        if shared.client.publish(subject, message.payload.clone()).await.is_ok() {
            shared.waiting.settled(queued.channel, queued.number);
        } else {
            shared.waiting.failed(queued.channel, queued.number);
        }
        return None;
    }
    let mut publish = PublishMessage::build().payload(message.payload.clone());
    if !message.id.is_empty() {
        // With its subject: an id that another subject uses as well drops nothing.
        publish = publish.message_id(format!("{}/{}", message.subject, message.id));
    }
    match shared.context.send_publish(subject, publish).await {
        Ok(answer) => Some(Box::pin(async move { (queued, answer.await.map(|_kept| ())) })),
        Err(error) => {
            settle(shared, &queued, Err(error));
            None
        }
    }
}

fn settle(shared: &Shared, queued: &Queued, answer: Result<(), PublishError>) {
    let what = format!("publishing {}", address::name(queued.channel));
    let Err(error) = answer else {
        shared.waiting.settled(queued.channel, queued.number);
        shared.link.works(&what);
        return;
    };
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            // Sending it again cannot help, and others wait behind it.
            let (subject, bytes) = (&queued.message.subject, queued.message.payload.len());
            tracing::error!(%subject, bytes, "the NATS server takes no message of this size: raise its max_payload to 1MB");
            shared.waiting.settled(queued.channel, queued.number);
            return;
        }
        PublishErrorKind::StreamNotFound => {
            shared.streams.ask();
            shared.link.trouble(&what, "the fleet's streams are not there; a coordinator makes them");
        }
        PublishErrorKind::TimedOut => {
            shared.streams.ask();
            shared.link.trouble(&what, "the stream does not answer");
        }
        _ => shared.link.trouble(&what, &error.to_string()),
    }
    shared.waiting.failed(queued.channel, queued.number);
}
