//! The network of an attempt: one that its commands share, with nothing in it but a loopback.
//!
//! A process of the shim makes it, opens two listeners in it and hands everything to the worker
//! as open files; then it ends. The worker answers on those listeners from outside (the proxy, and
//! the gateway of models), so no process inside carries bytes, and the network ends with its files.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::{loopback, namespaces, rules};
use crate::process::SPACE_STAGE;

/// Where the proxy is, inside.
pub const PROXY_PORT: u16 = 3_128;

/// Where the gateway of models is, inside.
pub const GATEWAY_PORT: u16 = 3_129;

/// Open files handed over: network, two listeners, and the user namespace where there is one.
const FILES_MAX: usize = 4;

/// How long making one may take.
const MAKE_MAX: Duration = Duration::from_secs(10);

/// A network that lives as long as this value.
#[derive(Debug)]
pub struct Space {
    net: OwnedFd,
    user: Option<OwnedFd>,
    proxy: Mutex<Option<TcpListener>>,
    gateway: TcpListener,
}

impl Space {
    /// Makes one. Blocks.
    pub fn make(shim: &[OsString], user: bool) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the attempt's network: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_read_timeout(Some(MAKE_MAX)).map_err(failed)?;
        let (program, prefix) = shim.split_first().ok_or("no shim to execute")?;
        let mut child = Command::new(program)
            .args(prefix)
            .arg(SPACE_STAGE)
            .args(user.then_some("user"))
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let files = receive(&ours);
        let mut words = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut words).map_err(failed)?;
        }
        child.wait().map_err(failed)?;
        let files = files.map_err(|error| if words.is_empty() { failed(error) } else { words.trim().to_owned() })?;
        let mut files = files.into_iter();
        let (Some(net), Some(proxy), Some(gateway)) = (files.next(), files.next(), files.next()) else {
            return Err(format!("the attempt's network was not made: {}", words.trim()));
        };
        let listener = |file: OwnedFd| Mutex::new(Some(TcpListener::from(file)));
        Ok(Self { net, user: files.next(), proxy: listener(proxy), gateway: TcpListener::from(gateway) })
    }

    /// How the shim finds it: by the worker's own open files.
    pub fn rules(&self) -> rules::Space {
        let path = |file: &OwnedFd| PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        rules::Space { user: self.user.as_ref().map(path), net: path(&self.net) }
    }

    /// The listener at [`PROXY_PORT`], once.
    pub fn proxy(&self) -> Option<TcpListener> {
        self.proxy.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The listener at [`GATEWAY_PORT`]; for one gateway after another, as each rung has its own.
    pub fn gateway(&self) -> std::io::Result<TcpListener> {
        self.gateway.try_clone()
    }
}

fn receive(from: &UnixStream) -> std::io::Result<Vec<OwnedFd>> {
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    Ok(files.flatten().collect())
}

/// The shim's part: stdin is the socket to the worker.
pub fn make(user: bool) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the attempt's network: {error}");
    if user {
        namespaces::own_user()?;
    }
    namespaces::own_network()?;
    loopback::up()?;
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed);
    let (proxy, gateway) = (listen(PROXY_PORT)?, listen(GATEWAY_PORT)?);
    let net = File::open("/proc/self/ns/net").map_err(failed)?;
    let own = File::open("/proc/self/ns/user").map_err(failed)?;
    let mut files: Vec<BorrowedFd<'_>> = vec![net.as_fd(), proxy.as_fd(), gateway.as_fd()];
    files.extend(user.then_some(own.as_fd()));
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err("the attempt's network: too many files to hand over".to_owned());
    }
    sendmsg(std::io::stdin().as_fd(), &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty())
        .map(drop)
        .map_err(|error| failed(error.into()))
}
