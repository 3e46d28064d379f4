//! A server with repositories behind it, and what its tests need around it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use longhaul_common::git::Git;
use longhaul_common::server::ServerAccess;
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::hub::{HubError, Identity, IntroduceError, Role};
use longhaul_coordinator::introductions::Introductions;
use longhaul_coordinator::results::Delivery;
use longhaul_coordinator::web::{Backend, SpoolLimits, TlsFiles, Web, WebConfig, WebError, start_with, token_digest};
use longhaul_proto::{Ack, Introduction, Report};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// What arrived, read before its files went away.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub who: Identity,
    pub report: Report,
    pub pack: Option<Vec<u8>>,
    pub logs: Vec<(String, Vec<u8>)>,
}

/// Repositories, who may read them, and what was delivered.
#[derive(Default)]
pub struct Shelf {
    pub stores: BTreeMap<String, PathBuf>,
    /// The worker that has a live assignment in a job.
    pub assigned: BTreeMap<String, String>,
    pub arrived: Mutex<Vec<Arrived>>,
    pub answer: Mutex<Option<HubError>>,
    pub introductions: Introductions,
}

impl Backend for Shelf {
    fn store_for(&self, who: &Identity, job: &JobId) -> Option<PathBuf> {
        let theirs = who.may(Role::Work) && self.assigned.get(job.as_str()) == Some(&who.name);
        let may = who.may(Role::Read) || theirs;
        self.stores.get(job.as_str()).filter(|_| may).cloned()
    }

    fn deliver(&self, who: Identity, delivery: Delivery) -> BoxFuture<'static, Result<Ack, HubError>> {
        let read = |path: &PathBuf| std::fs::read(path).expect("the spooled file is there");
        let arrived = Arrived {
            who,
            pack: delivery.pack.as_ref().map(read),
            logs: delivery.logs.iter().map(|(name, path)| (name.clone(), read(path))).collect(),
            report: delivery.report,
        };
        self.arrived.lock().expect("no panic").push(arrived);
        let answer = self.answer.lock().expect("no panic").take();
        Box::pin(async move {
            match answer {
                Some(error) => Err(error),
                None => Ok(Ack { disposition: "kept".to_owned() }),
            }
        })
    }

    fn introduce(&self, who: &Identity, introduction: Introduction) -> Result<(), IntroduceError> {
        if introduction.worker != who.name {
            return Err(IntroduceError::NotYours);
        }
        Ok(self.introductions.note(introduction)?)
    }

    fn ready(&self) -> Result<(), String> {
        match self.stores.is_empty() {
            true => Err("no store is open".to_owned()),
            false => Ok(()),
        }
    }

    fn out_of_room(&self) {}
}

/// A server that ends with the test.
pub struct World {
    pub folder: TempDir,
    pub shelf: Arc<Shelf>,
    pub addr: SocketAddr,
    pub stop: CancellationToken,
    pub web: Option<Web>,
    secure: bool,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a test's server differs from the plain one.
#[derive(Default)]
pub struct Setup {
    pub shelf: Shelf,
    pub access: Option<String>,
    pub tls: Option<TlsFiles>,
    pub limits: SpoolLimits,
}

pub fn config(folder: &Path, setup: &Setup) -> WebConfig {
    let access = setup.access.as_ref().map(|text| {
        let path = folder.join("access.toml");
        std::fs::write(&path, text).expect("written");
        path
    });
    WebConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: setup.tls.clone(),
        access,
        spool: folder.join("spool"),
        limits: setup.limits.clone(),
    }
}

impl World {
    pub async fn start(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), &setup);
        let stop = CancellationToken::new();
        let (secure, shelf) = (setup.tls.is_some(), Arc::new(setup.shelf));
        let backend: Arc<dyn Backend> = shelf.clone();
        let web = start_with(config, backend, Routes::default(), stop.clone()).await.expect("it starts");
        Self { folder, shelf, addr: web.addr, stop, web: Some(web), secure }
    }

    /// What starting with this set-up says.
    pub async fn refusal(config: WebConfig) -> WebError {
        let stop = CancellationToken::new();
        let started = start_with(config, Arc::new(Shelf::default()), Routes::default(), stop).await;
        started.map(|web| web.addr).expect_err("it is refused")
    }

    pub fn access(&self, token: Option<&str>) -> ServerAccess {
        let scheme = if self.secure { "https" } else { "http" };
        let url = format!("{scheme}://{}", self.addr);
        ServerAccess { url, token: token.map(str::to_owned), ..ServerAccess::default() }
    }

    /// Sends one HTTP/1.1 request over plain TCP; gives the whole answer.
    pub async fn http(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.expect("it listens");
        let host = if head.contains("\r\nHost:") { String::new() } else { format!("Host: {}\r\n", self.addr) };
        let text = format!("{head}\r\n{host}Connection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The status of an answer.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// A tokens file entry.
pub fn token(name: &str, roles: &str, token: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\nroles = [{roles}]\nsha256 = \"{}\"\n", token_digest(token))
}

/// A bare repository with commits in a row, each of which adds a file of random bytes.
pub fn repository(path: &Path, file_bytes: &[usize]) -> Vec<Oid> {
    let git = Git::at(path);
    git.run(["init", "--quiet", "--bare", "--template="]).expect("init");
    git.run(["config", "uploadpack.allowAnySHA1InWant", "true"]).expect("config");
    let mut input = Vec::new();
    let mut random = blake3::Hasher::new().update(path.as_os_str().as_encoded_bytes()).finalize_xof();
    for (at, &bytes) in file_bytes.iter().enumerate() {
        let mut content = vec![0; bytes];
        random.fill(&mut content);
        let head = format!("commit refs/longhaul/one/integration-1\ncommitter A <a@b.c> {at} +0000\ndata 1\nm\n");
        input.extend(format!("{head}M 100644 inline file-{at}\ndata {bytes}\n").into_bytes());
        input.extend(content);
        input.push(b'\n');
    }
    git.run_with_input(["fast-import", "--quiet"], &input).expect("fast-import");
    let listed = git.line(["rev-list", "--reverse", "--all"]).expect("rev-list");
    listed.lines().map(|line| line.parse().expect("an id")).collect()
}

/// git in an empty mirror, speaking to a server as `access` says.
pub fn mirror(path: &Path, access: &ServerAccess) -> Git {
    Git::at(path).run(["init", "--quiet", "--bare", "--template="]).expect("init");
    access.git_env().into_iter().fold(Git::at(path), |git, (key, value)| git.with_env(key, value))
}

/// Runs git outside of the server's thread.
pub async fn run(git: &Git, args: &[&str]) -> Result<String, String> {
    let (git, args) = (git.clone(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let ran = tokio::task::spawn_blocking(move || git.line(&args));
    ran.await.expect("no panic").map_err(|error| error.to_string())
}

/// Passes connections on to a server and counts what it answers, in bytes.
pub async fn counting(to: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (addr, count) = (listener.local_addr().expect("bound"), Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let count = counted.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(to).await.expect("the server listens");
                let ((mut from, mut out), (mut answers, mut requests)) = (client.into_split(), server.into_split());
                let up = tokio::spawn(async move { tokio::io::copy(&mut from, &mut requests).await });
                let mut piece = vec![0; 64 << 10];
                while let Ok(bytes @ 1..) = answers.read(&mut piece).await {
                    count.fetch_add(bytes as u64, Ordering::Relaxed);
                    if out.write_all(&piece[..bytes]).await.is_err() {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    (addr, count)
}
