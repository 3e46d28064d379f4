//! Telling systemd (or another supervisor that speaks its protocol) what a service is up to: one
//! datagram to the socket it names in the environment. Without one nothing happens.
//!
//! Telling is never worth failing for: a supervisor that does not listen is logged by the caller,
//! if at all.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// It serves: units with `Type=notify` count as started.
pub fn ready() -> io::Result<()> {
    tell("READY=1")
}

/// It ends, or drains.
pub fn stopping() -> io::Result<()> {
    tell("STOPPING=1")
}

/// What it is doing, as `systemctl status` shows it; one line.
pub fn status(text: &str) -> io::Result<()> {
    tell(&format!("STATUS={}", text.replace('\n', " ")))
}

fn tell(message: &str) -> io::Result<()> {
    match std::env::var(SOCKET) {
        Ok(socket) if !socket.is_empty() => send(&socket, message),
        _ => Ok(()),
    }
}

/// A name that begins with `@` is in the abstract namespace, every other is a path.
fn send(socket: &str, message: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_supervisor_hears_it_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        send(&path.display().to_string(), "READY=1").expect("sent");
        assert_eq!(heard(&socket), "READY=1");

        let name = format!("longhaul-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("short");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        send(&format!("@{name}"), "STOPPING=1").expect("sent");
        assert_eq!(heard(&socket), "STOPPING=1");
    }

    #[test]
    fn nobody_there_is_an_error_that_names_itself() {
        let gone = send("/nowhere/notify", "READY=1").expect_err("nobody");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
