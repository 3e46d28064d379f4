//! The way out of an attempt: HTTP and CONNECT to listed hosts, everything else refused and noted.
//!
//! It resolves names itself, so that nothing inside needs DNS, and goes by the name it was given: an
//! address that the list does not name is refused, and so is a name that leads to this machine or
//! its neighbours unless the list names it in full. What is said inside an allowed connection is
//! encrypted and not looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longhaul_common::hosts::{HostPattern, address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(15);

/// How long reaching a host may take.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;

/// Refused hosts kept for the record.
const REFUSED_MAX: usize = 100;

/// The passes in force, by their numbers.
#[derive(Debug, Default)]
struct Passes {
    last: u64,
    hosts: BTreeMap<u64, Arc<[HostPattern]>>,
}

/// What is let through now, and what was not.
#[derive(Debug, Default)]
struct Door {
    open: Mutex<Passes>,
    refused: Mutex<BTreeSet<String>>,
    /// A proxy that the machine itself goes through, and the names it goes to without (`NO_PROXY`).
    upstream: Option<(String, u16)>,
    direct: Vec<String>,
}

/// A running proxy; it ends when this is dropped, and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    door: Arc<Door>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets hosts through as long as it lives.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    number: u64,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.open.lock().unwrap_or_else(PoisonError::into_inner).hosts.remove(&self.number);
    }
}

impl Proxy {
    /// Serves on a listener; nothing is let through yet.
    pub fn serve(listener: std::net::TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let named = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let upstream = named.iter().find_map(|name| std::env::var(name).ok()).as_deref().and_then(upstream_of);
        let direct = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
        let direct = direct.split(',').map(|name| name.trim().trim_start_matches('.').to_ascii_lowercase());
        let direct = direct.filter(|name| !name.is_empty()).collect();
        let door = Arc::new(Door { upstream, direct, ..Door::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&door)));
        Ok(Self { door, task })
    }

    /// Lets these hosts through, beside what other passes allow.
    pub fn admit(&self, hosts: Arc<[HostPattern]>) -> Pass {
        let mut open = self.door.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.last += 1;
        let number = open.last;
        open.hosts.insert(number, hosts);
        Pass { door: Arc::clone(&self.door), number }
    }

    /// What was refused so far, `host:port`.
    pub fn refused(&self) -> Vec<String> {
        self.door.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// `http://host:port`, the one form of a proxy this one goes on through.
fn upstream_of(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("http://")?.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    (!host.contains('@')).then_some((host.to_owned(), port.parse().ok()?))
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    // They end with this: an attempt that is over has no way out any more.
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_ended) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                let door = Arc::clone(&door);
                // A connection that breaks concerns its two ends alone.
                open.spawn(async move { attend(client, &door).await });
            }
            // Too many open files, for example: the next may succeed.
            Err(error) => {
                tracing::warn!(%error, "the proxy of an attempt cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    port: u16,
    /// The head to send on; `None` for a tunnel.
    head: Option<Vec<u8>>,
}

async fn attend(mut client: TcpStream, door: &Door) -> std::io::Result<()> {
    let Ok(read) = tokio::time::timeout(HEAD_MAX, read_head(&mut client)).await else { return Ok(()) };
    let (head, rest) = read?;
    let Some(asked) = parse(&head) else {
        return refuse(&mut client, "400 Bad Request", "not a request of a proxy").await;
    };
    let (host, port) = (asked.host.as_str(), asked.port);
    let Some(pattern) = door.pattern(host, port) else {
        door.note(host, port);
        let words = format!("{host}:{port} is not among the hosts of the job (policy.hosts)");
        return refuse(&mut client, "403 Forbidden", &words).await;
    };
    let mut server = match tokio::time::timeout(CONNECT_MAX, door.connect(&asked, &pattern)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => return refuse(&mut client, "502 Bad Gateway", &error.to_string()).await,
        Err(_) => return refuse(&mut client, "504 Gateway Timeout", "no answer").await,
    };
    match &asked.head {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Some(head) => server.write_all(head).await?,
    }
    server.write_all(&rest).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The head of a request, and what came with it.
async fn read_head(client: &mut TcpStream) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        if bytes.len() > HEAD_BYTES_MAX || client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
}

fn parse(head: &[u8]) -> Option<Asked> {
    let head = std::str::from_utf8(head).ok()?;
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':')?;
        return Some(Asked { host: host.to_owned(), port: port.parse().ok()?, head: None });
    }
    let rest = target.strip_prefix("http://")?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let path = if path.is_empty() { "/" } else { path };
    let hop = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        // One request a connection: a second one could be for another host.
        !name.starts_with("proxy-") && !matches!(name.as_str(), "connection" | "keep-alive" | "host")
    };
    let kept: String =
        headers.split("\r\n").filter(|line| !line.is_empty()).filter(hop).map(|line| format!("{line}\r\n")).collect();
    // The host that was judged is the host that is asked.
    let head = format!("{method} {path} {version}\r\nHost: {authority}\r\n{kept}Connection: close\r\n\r\n");
    Some(Asked { host: host.to_owned(), port, head: Some(head.into_bytes()) })
}

async fn refuse(client: &mut TcpStream, status: &str, words: &str) -> std::io::Result<()> {
    let body = format!("longhaul: {words}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

impl Door {
    fn pattern(&self, host: &str, port: u16) -> Option<HostPattern> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.hosts.values().flat_map(|hosts| hosts.iter()).find(|pattern| pattern.allows(host, port)).cloned()
    }

    fn note(&self, host: &str, port: u16) {
        let what: String = format!("{host}:{port}").chars().filter(|c| !c.is_control()).take(300).collect();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < REFUSED_MAX && refused.insert(what.clone()) {
            tracing::warn!(host = what, "a command asked for a host that its job does not list");
        }
    }

    async fn connect(&self, asked: &Asked, pattern: &HostPattern) -> std::io::Result<TcpStream> {
        let host = asked.host.trim_start_matches('[').trim_end_matches(']');
        if let Some((proxy, port)) = self.upstream.as_ref().filter(|_| !is_direct(&self.direct, host)) {
            let mut server = TcpStream::connect((proxy.as_str(), *port)).await?;
            tunnel(&mut server, &asked.host, asked.port).await?;
            return Ok(server);
        }
        let found = tokio::net::lookup_host((host, asked.port)).await?;
        let addresses: Vec<SocketAddr> = found.filter(|found| pattern.is_exact() || is_far(found.ip())).collect();
        if addresses.is_empty() {
            return Err(std::io::Error::other(format!("{host} leads to this machine or its neighbours")));
        }
        TcpStream::connect(addresses.as_slice()).await
    }
}

/// Whether the machine goes to a host without its proxy.
fn is_direct(direct: &[String], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_at =
        |name: &String| host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    address(&host).is_some() || host == "localhost" || direct.iter().any(|name| name == "*" || is_at(name))
}

/// Asks the machine's own proxy for a tunnel.
async fn tunnel(server: &mut TcpStream, host: &str, port: u16) -> std::io::Result<()> {
    server.write_all(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").as_bytes()).await?;
    let (head, _) = read_head(server).await?;
    let good = head.split(|&byte| byte == b' ').nth(1).is_some_and(|status| status.starts_with(b"2"));
    if good { Ok(()) } else { Err(std::io::Error::other("the machine's own proxy refuses it")) }
}

/// Whether an address is neither this machine's nor its link's: there a machine keeps its secrets.
fn is_far(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_a_proxy_reads_them() {
        let tunnel = parse(b"CONNECT a.b:443 HTTP/1.1\r\nHost: evil\r\n\r\n").expect("parses");
        assert_eq!(tunnel, Asked { host: "a.b".into(), port: 443, head: None });
        let plain = parse(
            b"GET http://a.b:81/x?y HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
        );
        let plain = plain.expect("parses");
        assert_eq!((plain.host.as_str(), plain.port), ("a.b", 81));
        let head = String::from_utf8(plain.head.expect("a head")).expect("text");
        assert_eq!(head, "GET /x?y HTTP/1.1\r\nHost: a.b:81\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        for wrong in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"CONNECT a HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            b"GET ftp://a/ HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(wrong), None);
        }
    }

    async fn answer(proxy: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(proxy).await.expect("connects");
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("answered");
        text
    }

    #[tokio::test]
    async fn only_listed_hosts_are_reached_and_only_while_their_pass_lives() {
        let origin = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let port = origin.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = origin.accept().await {
                let mut bytes = [0; 1024];
                let got = client.read(&mut bytes).await.expect("reads");
                client.write_all(&bytes[..got]).await.expect("echoes");
            }
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let at = listener.local_addr().expect("bound");
        let proxy = Proxy::serve(listener).expect("serves");
        let get = |host: &str| format!("GET http://{host}:{port}/ HTTP/1.0\r\n\r\n");
        let hosts: Arc<[HostPattern]> = [format!("localhost:{port}").parse().expect("a host")].into();
        let pass = proxy.admit(hosts);
        assert!(answer(at, &get("localhost")).await.starts_with("GET / HTTP/1.0"));
        assert!(answer(at, &get("127.0.0.1")).await.starts_with("HTTP/1.1 403"));
        assert!(answer(at, &format!("CONNECT [::1]:{port} HTTP/1.1\r\n\r\n")).await.starts_with("HTTP/1.1 403"));
        drop(pass);
        assert!(answer(at, &get("localhost")).await.starts_with("HTTP/1.1 403"));
        assert_eq!(proxy.refused().len(), 3, "{:?}", proxy.refused());
    }

    #[test]
    fn what_the_machine_reaches_directly_is_reached_directly() {
        let direct = ["corp".to_owned(), "near.example".to_owned()];
        for (host, is) in [
            ("git.corp", true),
            ("CORP", true),
            ("notcorp", false),
            ("near.example", true),
            ("example", false),
            ("localhost", true),
            ("10.0.0.1", true),
        ] {
            assert_eq!(is_direct(&direct, host), is, "{host}");
        }
        assert!(is_direct(&["*".to_owned()], "example.org"));
    }

    #[tokio::test]
    async fn a_tunnel_ends_with_the_proxy() {
        let local = (std::net::Ipv4Addr::LOCALHOST, 0);
        let server = TcpListener::bind(local).await.expect("a port");
        let listener = std::net::TcpListener::bind(local).expect("a port");
        let (to, by) = (server.local_addr().expect("known"), listener.local_addr().expect("known"));
        let proxy = Proxy::serve(listener).expect("it serves");
        let _pass = proxy.admit([to.to_string().parse().expect("a host")].into());
        let mut client = TcpStream::connect(by).await.expect("reached");
        client.write_all(format!("CONNECT {to} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("written");
        let (head, _) = read_head(&mut client).await.expect("an answer");
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        let (mut other, _) = server.accept().await.expect("connected");
        drop(proxy);
        for end in [&mut client, &mut other] {
            let read = tokio::time::timeout(CONNECT_MAX, end.read_u8()).await;
            read.expect("it ends").expect_err("nothing is said");
        }
    }

    #[test]
    fn a_wildcard_leads_to_no_neighbour() {
        for near in ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "0.0.0.0"] {
            assert!(!is_far(near.parse().expect("an address")), "{near}");
        }
        assert!(is_far("1.1.1.1".parse().expect("an address")));
    }
}
