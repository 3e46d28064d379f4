//! A network that fails as told: a TCP proxy whose cuts, delays and mischief are set while it runs.
//!
//! Bytes of a partition are held, not lost, as TCP's are; connections that are cut are closed. With
//! [`Mischief`] it reads the NATS protocol and drops, duplicates or reorders whole messages from a
//! seed, never tearing a frame. What it did is in its log.

mod frames;
mod mischief;
mod pump;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use frames::{Frame, Frames};
pub use mischief::Mischief;

/// Lines of the log kept; later ones are only counted.
const LOG_MAX: usize = 20_000;

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From who connects to the server.
    Up,
    /// From the server back.
    Down,
}

/// What is done to the bytes that pass.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Nothing passes from clients to the server.
    pub cut_up: bool,
    /// Nothing passes from the server to clients.
    pub cut_down: bool,
    /// Every piece waits at least this long, one after the other.
    pub delay: Duration,
    /// And up to this much longer, from the seed.
    pub jitter: Duration,
    /// Bytes a second each way and connection; `None` is no limit.
    pub bandwidth: Option<u64>,
    /// What is done to NATS messages; `None` leaves the bytes unread.
    pub mischief: Option<Mischief>,
    /// Decides about jitter and mischief.
    pub seed: u64,
}

impl Settings {
    fn is_cut(&self, way: Way) -> bool {
        match way {
            Way::Up => self.cut_up,
            Way::Down => self.cut_down,
        }
    }
}

/// What proxy and connections share.
pub(crate) struct Control {
    settings: watch::Sender<Settings>,
    /// How often all connections were cut.
    cuts: watch::Sender<u64>,
    log: Mutex<(Vec<String>, usize)>,
}

impl Control {
    fn note(&self, line: String) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.1 += 1;
        if log.0.len() < LOG_MAX {
            log.0.push(line);
        }
    }
}

/// A running proxy; dropped, it and its connections are gone.
pub struct Proxy {
    addr: SocketAddr,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 in front of `host:port`. Wants a tokio runtime.
    pub async fn start(upstream: &str, settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let settings = watch::Sender::new(settings);
        let control = Arc::new(Control { settings, cuts: watch::Sender::new(0), log: Mutex::default() });
        let task = tokio::spawn(accept(listener, upstream.to_owned(), Arc::clone(&control)));
        Ok(Self { addr, control, task })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes what is done from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.control.settings.send_modify(change);
        let now = self.control.settings.borrow().clone();
        self.control.note(format!("settings: {now:?}"));
    }

    /// Nothing passes, either way, until healed. New connections are accepted and stay silent.
    pub fn partition(&self) {
        self.set(|settings| (settings.cut_up, settings.cut_down) = (true, true));
    }

    /// Nothing passes in one direction until healed.
    pub fn partition_one_way(&self, way: Way) {
        self.set(|settings| (settings.cut_up, settings.cut_down) = (way == Way::Up, way == Way::Down));
    }

    /// Ends partitions, delays, limits and mischief; held bytes pass.
    pub fn heal(&self) {
        self.set(|settings| *settings = Settings { seed: settings.seed, ..Settings::default() });
    }

    /// Closes every connection there is.
    pub fn cut(&self) {
        self.control.cuts.send_modify(|cuts| *cuts += 1);
        self.control.note("cut".to_owned());
    }

    /// What was done so far, and how many lines more were not kept.
    pub fn log(&self) -> (Vec<String>, usize) {
        let log = self.control.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.0.clone(), log.1 - log.0.len())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections are in a set that the task owns.
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, control: Arc<Control>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                number += 1;
                connections.spawn(connect(client, upstream.clone(), Arc::clone(&control), number));
            }
        }
    }
}

/// One connection, until it ends or is cut.
async fn connect(client: TcpStream, upstream: String, control: Arc<Control>, number: u64) {
    let mut cuts = control.cuts.subscribe();
    // Refused upstream is refused here: the client sees its connection close.
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    let (_no_delay_up, _no_delay_down) = (server.set_nodelay(true), client.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = pump::Pump { from: from_client, to: to_server, way: Way::Up, number, control: Arc::clone(&control) };
    let down = pump::Pump { from: from_server, to: to_client, way: Way::Down, number, control: Arc::clone(&control) };
    tokio::select! {
        _ = cuts.changed() => {}
        _ = async { tokio::join!(up.run(), down.run()) } => {}
    }
}
