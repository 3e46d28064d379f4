//! The loopback of a new network: it is there, and down.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

/// `RTM_NEWLINK`: change a link.
const NEWLINK: u16 = 16;

/// `NLMSG_ERROR`: the answer, also to what succeeded.
const ERROR: u16 = 2;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_AND_ACK: u16 = 0x5;

/// `IFF_UP`, as the flag and as what changes.
const UP: u32 = 1;

/// Index of the loopback: the first link of every network.
const LOOPBACK: i32 = 1;

/// Header and body of the request, in bytes.
const MESSAGE_BYTES: u32 = 32;

/// Brings it up.
pub fn up() -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("the loopback of a network: {error}");
    // The protocol of routes is number 0, the one a socket has without a word.
    let route = socket(AddressFamily::NETLINK, SocketType::RAW, None).map_err(failed)?;
    send(&route, &request(), SendFlags::empty()).map_err(failed)?;
    let mut answer = [0_u8; 256];
    let (_, bytes) = recv(&route, &mut answer[..], RecvFlags::empty()).map_err(failed)?;
    match errno_of(&answer[..bytes]) {
        Some(0) => Ok(()),
        Some(errno) => Err(failed(rustix::io::Errno::from_raw_os_error(-errno))),
        None => Err("the loopback of a network: an answer that cannot be read".to_owned()),
    }
}

/// `nlmsghdr` and `ifinfomsg`, in the machine's own order.
fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_BYTES as usize);
    message.extend(MESSAGE_BYTES.to_ne_bytes());
    message.extend(NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message
}

/// The number of an answer, 0 for success.
fn errno_of(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let errno = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == ERROR).then_some(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says() {
        let message = request();
        assert_eq!(message.len(), MESSAGE_BYTES as usize);
        assert_eq!(errno_of(&message), None);
        assert_eq!(errno_of(&[0; 3]), None);
    }
}
