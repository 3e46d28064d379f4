//! The handle: a connection, its streams, and what waits to be sent.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, Event, jetstream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Bus, BusError, Channel, Link, Message, PAYLOAD_MAX, Subject, Subscription};
use super::address::Address;
use super::config::{NatsConfig, NatsError, NatsRole};
use super::feed::{self, Feed, SettingUp};
use super::lanes::Waiting;
use super::link::LinkState;
use super::publish;
use super::streams::{self, Streams};

/// How long a stream's or the server's answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long permits of answers nobody waits for any more are held.
const ABANDONED_MAX: Duration = Duration::from_secs(1);

/// Oldest server whose streams and consumers are as we need them.
const SERVER_MIN: (i64, i64, i64) = (2, 10, 0);

/// What the tasks of one bus share.
pub(super) struct Shared {
    pub address: Address,
    pub client: Client,
    pub context: jetstream::Context,
    pub link: Arc<LinkState>,
    pub waiting: Waiting,
    pub streams: Streams,
    /// Subscriptions that are being set up.
    pub subscribing: watch::Sender<usize>,
    pub stop: CancellationToken,
    pub replicas: usize,
    /// Whether this bus makes the streams, or waits for another to do it.
    pub makes_streams: bool,
    /// A consumer one may ask about, there or not.
    asked: (String, String),
}

impl Shared {
    /// Returns once the server has read all that was sent before.
    pub(super) async fn round_trip(&self) {
        let (stream, consumer) = &self.asked;
        let subject = format!("CONSUMER.INFO.{stream}.{consumer}");
        // Any answer will do, also that there is no such consumer.
        let _answer: Result<serde_json::Value, _> = self.context.request(subject, &()).await;
    }
}

/// A [`Bus`] over NATS; clones share one connection. It ends with the last clone.
#[derive(Clone)]
pub struct NatsBus {
    shared: Arc<Shared>,
    _stops_the_tasks: Arc<DropGuard>,
}

impl NatsBus {
    /// Connects. A server that cannot be reached, or refuses, is no error: it is tried without
    /// end, and [`Bus::link`] says why there is none. Wants a tokio runtime.
    pub async fn connect(config: NatsConfig) -> Result<Self, NatsError> {
        let link = Arc::new(LinkState::new(&config.server()));
        let (told, server) = (Arc::clone(&link), config.server());
        let options = config.options().await?.event_callback(move |event| {
            tell(&told, &server, event);
            std::future::ready(())
        });
        let client = options.connect(config.addresses()?).await?;
        let context = ContextBuilder::new().timeout(ANSWER_MAX).ack_timeout(ABANDONED_MAX).build(client.clone());
        let address = Address::new(&config.fleet);
        let name = match &config.role {
            NatsRole::Worker(name) => name.to_string(),
            NatsRole::Coordinator => "coordinator".to_owned(),
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            asked: (address.stream(Channel::Worker).unwrap_or_default(), name),
            address,
            client,
            context,
            link,
            waiting: Waiting::new(),
            streams: Streams::new(),
            subscribing: watch::Sender::new(0),
            stop: stop.clone(),
            replicas: config.replicas.max(1),
            makes_streams: config.role == NatsRole::Coordinator,
        });
        tokio::spawn(publish::send(Arc::clone(&shared)));
        tokio::spawn(look_at_server(Arc::clone(&shared)));
        if shared.makes_streams {
            tokio::spawn(streams::keep(Arc::clone(&shared)));
        }
        Ok(Self { shared, _stops_the_tasks: Arc::new(stop.drop_guard()) })
    }

    /// Returns once every subscription made so far hears what is published anywhere, or was tried
    /// in vain; a coordinator's, once its streams stand as well. Before, only answers to this bus's
    /// own messages are sure to be heard.
    pub async fn subscribed(&self) {
        if self.shared.makes_streams {
            self.shared.streams.made_on(1).await;
        }
        let mut subscribing = self.shared.subscribing.subscribe();
        let _cannot_fail = subscribing.wait_for(|count| *count == 0).await;
    }

    /// Returns once all that was published has reached the server: what a process does before it
    /// leaves, with a limit of its own.
    pub async fn flushed(&self) {
        self.shared.waiting.emptied().await;
        let _ends_with_the_client = self.shared.client.flush().await;
    }
}

impl Bus for NatsBus {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        if message.payload.len() > PAYLOAD_MAX {
            return Err(BusError::TooLarge { bytes: message.payload.len(), subject: message.subject });
        }
        // Every subject that can be built has a channel.
        let channel = message.subject.channel().unwrap_or(Channel::Everyone);
        self.shared.waiting.put(channel, message)
    }

    fn subscribe(&self, subject: &Subject) -> Subscription {
        let (out, heard) = mpsc::channel(feed::room(subject.channel()));
        let setting_up = Some(SettingUp::new(&self.shared));
        let feed = Feed { shared: Arc::clone(&self.shared), subject: subject.clone(), out, setting_up };
        tokio::spawn(feed.run());
        Box::pin(ReceiverStream::new(heard))
    }

    fn link(&self) -> Link {
        match (self.shared.link.link(), self.shared.client.connection_state()) {
            (Link::Up, State::Connected) => Link::Up,
            (Link::Up, _) => Link::Down { cause: "the connection to NATS is being made again".to_owned() },
            (down, _) => down,
        }
    }
}

/// What an event of the connection says about the link.
fn tell(link: &LinkState, server: &str, event: Event) {
    match event {
        Event::Connected => {
            tracing::info!(server, "connected to NATS");
            link.connected();
        }
        Event::Disconnected => link.disconnected(&format!("the connection to {server} is gone")),
        Event::Closed => link.disconnected(&format!("the connection to {server} was closed")),
        Event::ClientError(error) => {
            let words = error.to_string();
            let hint = match &words {
                words if words.contains("uthoriz") || words.contains("uthentic") => {
                    "; check the credentials, nkey or token"
                }
                words if words.to_ascii_lowercase().contains("tls") => "; check the certificates",
                _ => "",
            };
            if !link.is_up() {
                link.disconnected(&format!("cannot connect to {server}: {words}{hint}"));
            }
        }
        Event::ServerError(error) => {
            let words = error.to_string();
            tracing::warn!(words, "the NATS server refused something");
            link.refused(&words);
        }
        Event::SlowConsumer(_) => tracing::warn!("messages come faster than they are read; some were dropped"),
        Event::LameDuckMode | Event::Draining => tracing::info!(server, "the NATS server is about to leave"),
    }
}

/// Looks at each server connected to: whether it is what we need.
async fn look_at_server(shared: Arc<Shared>) {
    let look = async {
        loop {
            let connection = shared.link.up().await;
            let info = shared.client.server_info();
            let (major, minor, patch) = SERVER_MIN;
            if !shared.client.is_server_compatible(major, minor, patch) {
                let cause = format!("it is {}; {major}.{minor} or newer is needed", info.version);
                shared.link.trouble("the NATS server", &cause);
            } else if info.max_payload < PAYLOAD_MAX {
                let cause = format!("its max_payload is {}; at least 1MB is needed", info.max_payload);
                shared.link.trouble("the NATS server", &cause);
            } else {
                shared.link.works("the NATS server");
            }
            shared.link.replaced(connection).await;
        }
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = look => {}
    }
}
