//! Real git clients against the read-only repositories.

use std::sync::atomic::Ordering;

use longhaul_common::server::ServerAccess;

use crate::world::{Setup, Shelf, World, counting, mirror, repository, run, status};

async fn world_of(sizes: &[usize]) -> (World, tempfile::TempDir, Vec<longhaul_common::Oid>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store.git");
    let commits = repository(&store, sizes);
    let shelf = Shelf { stores: [("one".to_owned(), store)].into(), ..Shelf::default() };
    (World::start(Setup { shelf, ..Setup::default() }).await, folder, commits)
}

#[tokio::test]
async fn a_mirror_fetches_by_id_and_then_only_the_difference() {
    let (world, folder, commits) = world_of(&[400_000, 400_000, 1_000]).await;
    let (through, count) = counting(world.addr).await;
    let access = ServerAccess { url: format!("http://{through}"), ..ServerAccess::default() };
    let (git, url) = (mirror(&folder.path().join("mirror.git"), &access), access.at("git/one.git"));
    run(&git, &["fetch", "--quiet", &url, &format!("{}:refs/have", commits[1])]).await.expect("fetched");
    let first = count.swap(0, Ordering::Relaxed);
    assert!(first > 800_000, "{first} bytes for two files of 400,000");
    run(&git, &["fetch", "--quiet", &url, &commits[2].to_string()]).await.expect("fetched");
    let second = count.load(Ordering::Relaxed);
    assert!(second < 4_000, "{second} bytes for one file of 1,000");
    run(&git, &["cat-file", "-e", &format!("{}:file-2", commits[2])]).await.expect("it is there");
    println!("first fetch {first} bytes, the difference {second} bytes");
}

#[tokio::test]
async fn the_old_protocol_and_large_requests_work() {
    let sizes = vec![30; 1_500];
    let (world, folder, commits) = world_of(&sizes).await;
    let (access, last) = (world.access(None), commits.last().expect("some").to_string());
    let url = access.at("git/one.git");
    let git = mirror(&folder.path().join("mirror.git"), &access);
    run(&git, &["-c", "protocol.version=0", "fetch", "--quiet", &url, &format!("{}:refs/have", commits[0])])
        .await
        .expect("fetched with version 0");
    // Many commits that the server has not: a request long enough for git to compress it.
    let foreign = folder.path().join("foreign.git");
    repository(&foreign, &vec![31; 300]);
    let foreign = foreign.to_str().expect("a plain path");
    run(&git, &["fetch", "--quiet", foreign, "+refs/*:refs/foreign/*"]).await.expect("fetched");
    for version in ["0", "2"] {
        let protocol = format!("protocol.version={version}");
        run(&git, &["-c", &protocol, "fetch", "--quiet", &url, &last]).await.expect("fetched");
        run(&git, &["cat-file", "-e", &last]).await.expect("it is there");
    }
}

#[tokio::test]
async fn a_push_is_refused_and_moves_nothing() {
    let (world, folder, commits) = world_of(&[100, 100]).await;
    let access = world.access(None);
    let (git, url) = (mirror(&folder.path().join("mirror.git"), &access), access.at("git/one.git"));
    run(&git, &["fetch", "--quiet", &url, &format!("{}:refs/have", commits[0])]).await.expect("fetched");
    for target in ["refs/heads/evil", "refs/longhaul/one/integration-1"] {
        let refused = run(&git, &["push", "--force", &url, &format!("{}:{target}", commits[0])]).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains("403")), "{refused:?}");
    }
    let direct = world.http("POST /git/one.git/git-receive-pack HTTP/1.1\r\nContent-Length: 0").await;
    assert_eq!(status(&direct), 403);
    let store = longhaul_common::git::Git::at(&world.shelf.stores["one"]);
    let refs = store.line(["for-each-ref", "--format=%(objectname) %(refname)"]).expect("read");
    assert_eq!(refs, format!("{} refs/longhaul/one/integration-1", commits[1]));
}

#[tokio::test]
async fn only_the_job_s_own_refs_are_shown() {
    let (world, folder, commits) = world_of(&[100]).await;
    let store = longhaul_common::git::Git::at(&world.shelf.stores["one"]);
    for name in ["refs/longhaul/two/integration-1", "refs/heads/other", "refs/longhaul/one-more/base"] {
        store.run(["update-ref", name, &commits[0].to_string()]).expect("written");
    }
    let access = world.access(None);
    let git = mirror(&folder.path().join("mirror.git"), &access);
    for version in ["protocol.version=0", "protocol.version=2"] {
        let shown = run(&git, &["-c", version, "ls-remote", &access.at("git/one.git")]).await.expect("listed");
        assert_eq!(shown, format!("{}\trefs/longhaul/one/integration-1", commits[0]));
    }
}

#[tokio::test]
async fn a_request_that_swells_is_stopped() {
    use std::io::Write as _;
    let (world, _folder, _) = world_of(&[100]).await;
    // 1 GiB of zeros in about 1 MB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    for _ in 0..1_024 {
        bomb.write_all(&zeros).expect("compressed");
    }
    let bomb = bomb.finish().expect("compressed");
    let mut stream = tokio::net::TcpStream::connect(world.addr).await.expect("it listens");
    let head = format!(
        "POST /git/one.git/git-upload-pack HTTP/1.1\r\nHost: {}\r\nContent-Encoding: gzip\r\nConnection: close\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n",
        world.addr,
        bomb.len()
    );
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(head.as_bytes()).await.expect("sent");
    let _the_server_may_hang_up = stream.write_all(&bomb).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "it is still being read");
    // An answer without its last chunk is one that a client knows to be cut.
    assert!(!String::from_utf8_lossy(&answer).contains("PACK"));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_processes_with_it() {
    let (world, _folder, commits) = world_of(&[30_000_000]).await;
    let want = format!("want {} no-progress\n", commits[0]);
    let body = format!("{:04x}{want}00000009done\n", want.len() + 4);
    let head = format!(
        "POST /git/one.git/git-upload-pack HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-git-upload-pack-request\r\n\r\n{body}",
        world.addr,
        body.len()
    );
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(world.addr).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut some = vec![0; 100_000];
    stream.read_exact(&mut some).await.expect("it is being served");
    let store = world.shelf.stores["one"].clone();
    assert!(serving(&store) > 0);
    drop(stream);
    let begin = std::time::Instant::now();
    while serving(&store) > 0 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "git still runs");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Processes that name this store in their arguments.
fn serving(store: &std::path::Path) -> usize {
    let name = store.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(name.len()).any(|part| part == name)).count()
}
