//! Being told to end: the first signal asks for a good end, the second for one at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Finish what is under way, then end.
    Finish,
    /// End at once.
    Now,
}

/// SIGTERM and SIGINT, from the moment this is made: made first, so that none is missed.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    asked: bool,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, asked: false })
    }

    /// The next signal. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        if std::mem::replace(&mut self.asked, true) { Asked::Now } else { Asked::Finish }
    }
}
