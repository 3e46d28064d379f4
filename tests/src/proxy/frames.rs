//! The NATS client protocol, cut into whole frames.

use bytes::{Bytes, BytesMut};

/// Longest protocol line before the bytes are taken for something else.
const LINE_MAX: usize = 64 << 10;

/// Verbs of the protocol besides those of messages.
const OTHER_VERBS: [&str; 8] = ["INFO", "CONNECT", "PING", "PONG", "+OK", "-ERR", "SUB", "UNSUB"];

/// A whole frame of the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// All of it, as it came.
    pub bytes: Bytes,
    /// The subject, for a message (`PUB`, `HPUB`, `MSG`, `HMSG`); `None` for anything else.
    pub subject: Option<String>,
}

/// Bytes of one direction on their way to becoming frames.
#[derive(Default, Debug)]
pub struct Frames {
    buffer: BytesMut,
    opaque: bool,
}

impl Frames {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. Bytes that are not the protocol (TLS, say) come as they are.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() {
            return None;
        }
        // No verb begins with such a byte: HTTP/2 from a server, TLS.
        self.opaque |= !matches!(self.buffer[0], b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'-');
        if self.opaque {
            return Some(Frame { bytes: self.buffer.split().freeze(), subject: None });
        }
        let Some(line) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else {
            self.opaque = self.buffer.len() > LINE_MAX;
            return if self.opaque { self.next_frame() } else { None };
        };
        let words = std::str::from_utf8(&self.buffer[..line]).ok().map(|text| text.split_ascii_whitespace().collect());
        let words: Vec<&str> = words.unwrap_or_default();
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        let is_message = matches!(verb.as_deref(), Some("PUB" | "HPUB" | "MSG" | "HMSG"));
        if !is_message && !verb.as_deref().is_some_and(|verb| OTHER_VERBS.contains(&verb)) {
            self.opaque = true;
            return self.next_frame();
        }
        if !is_message {
            return Some(Frame { bytes: self.buffer.split_to(line + 2).freeze(), subject: None });
        }
        let subject = words.get(1).map(|&subject| subject.to_owned());
        let Some(payload) = words.last().and_then(|size| size.parse::<usize>().ok()) else {
            self.opaque = true;
            return self.next_frame();
        };
        let whole = line + 2 + payload + 2;
        (self.buffer.len() >= whole).then(|| Frame { bytes: self.buffer.split_to(whole).freeze(), subject })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_nats_passes_as_it_comes() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nx: 1"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00",
            b"\x00\x00\x12\x04",
            b"\x16\x03\x01",
        ] {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert_eq!(frames.next_frame().expect("at once").bytes, bytes);
        }
    }

    #[test]
    fn frames_are_whole_however_the_bytes_come() {
        let wire = b"INFO {\"a\":1}\r\nPUB a.b 5\r\nx\r\ny!\r\nhpub c r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\nMSG d 1 0\r\n\r\n";
        for step in 1..wire.len() {
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            for piece in wire.chunks(step) {
                frames.push(piece);
                while let Some(frame) = frames.next_frame() {
                    came.push(frame);
                }
            }
            let subjects: Vec<_> = came.iter().map(|frame| frame.subject.as_deref()).collect();
            assert_eq!(subjects, [None, Some("a.b"), Some("c"), None, Some("d")], "in steps of {step}");
            let all: Vec<u8> = came.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
            assert_eq!(all, wire);
        }
    }
}
