//! The body of a streamed answer: its frames, and everything that goes wrong with them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use tokio::sync::watch;

use super::answer::Frame;
use super::script::Step;

/// Bytes that are no event of any format.
const GARBAGE: &[u8] = b"\x00\x01<html>502 Bad Gateway</html>\ndata: {\"type\":\ndata}{\n\n";

/// A byte that no UTF-8 text holds.
const NO_UTF8: u8 = 0xff;

/// Opened gates, by name; a test opens them.
pub type Gates = watch::Sender<Vec<String>>;

/// Waits until a gate is open.
pub async fn opened(gates: &Gates, name: &str) {
    // The sender is held by the caller, so the channel cannot close.
    drop(gates.subscribe().wait_for(|open| open.iter().any(|open| open == name)).await);
}

/// What comes next.
enum Piece {
    Bytes(Vec<u8>),
    Gate(String),
    Cut,
}

/// The frames of a step as a body. A cut is an error of the connection, as a provider's crash is.
pub fn stream(step: &Step, frames: Vec<Frame>, gates: Gates) -> Body {
    let pause = Duration::from_secs_f64(step.delta_delay.max(0.0));
    let pieces = futures::stream::iter(pieces(step, frames)).enumerate();
    let bytes = pieces.then(move |(number, piece)| {
        let gates = gates.clone();
        async move {
            if number > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            match piece {
                Piece::Bytes(bytes) => Ok(Bytes::from(bytes)),
                Piece::Gate(name) => {
                    opened(&gates, &name).await;
                    Ok(Bytes::new())
                }
                Piece::Cut => {
                    // What was written before has to leave before the connection does.
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("cut by the script"))
                }
            }
        }
    });
    Body::from_stream(bytes)
}

fn pieces(step: &Step, mut frames: Vec<Frame>) -> Box<dyn Iterator<Item = Piece> + Send> {
    if step.invalid_utf8 {
        spoil(&mut frames);
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let half = frames.len() / 2;
    let last = frames.len().saturating_sub(1);
    for (number, frame) in frames.into_iter().enumerate() {
        if number == half {
            pieces.extend(step.gate_middle.clone().map(Piece::Gate));
            pieces.extend(step.garbage.then(|| Piece::Bytes(GARBAGE.to_vec())));
        }
        if step.drop && number == last {
            pieces.push(Piece::Cut);
            break;
        }
        if step.cut == Some(number) {
            let middle = frame.bytes.len() / 2;
            pieces.push(Piece::Bytes(frame.bytes[..middle].to_vec()));
            pieces.push(Piece::Cut);
            break;
        }
        let repeats = step.endless && frame.is_text;
        pieces.push(Piece::Bytes(frame.bytes.clone()));
        if repeats {
            let again = std::iter::repeat_with(move || Piece::Bytes(frame.bytes.clone()));
            return Box::new(pieces.into_iter().chain(again));
        }
    }
    Box::new(pieces.into_iter())
}

/// Puts a byte that is no UTF-8 into the text of the first frame that has one.
fn spoil(frames: &mut [Frame]) {
    let Some(frame) = frames.iter_mut().find(|frame| frame.is_text) else { return };
    // Every text ends before a quote and closing brackets.
    let end = frame.bytes.iter().rposition(|byte| byte.is_ascii_alphanumeric()).unwrap_or_default();
    frame.bytes[end] = NO_UTF8;
}
