//! Where git takes a server's token: to that server, and nowhere it is sent from there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use longhaul_common::git::Git;
use longhaul_common::server::ServerAccess;

const TOKEN: &str = "a-token-for-one-server";

/// Answers one request with these words and gives what was asked.
fn answering(listener: &TcpListener, answer: String) -> JoinHandle<String> {
    let listener = listener.try_clone().expect("a socket");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut asked = Vec::new();
        let mut byte = [0; 1];
        while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("readable") == 1 {
            asked.extend(byte);
        }
        stream.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8_lossy(&asked).into_owned()
    })
}

fn here() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn git_takes_the_token_to_its_server_and_follows_it_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((server, url), (elsewhere, other)) = (here(), here());
    let access = ServerAccess { url: url.clone(), token: Some(TOKEN.to_owned()), ..ServerAccess::default() };
    let git = access.git_env().into_iter().fold(Git::at(folder.path()), |git, (key, value)| git.with_env(key, value));
    git.run(["init", "--quiet", "--bare", "--template="]).expect("init");

    let away = format!(
        "HTTP/1.1 302 Found\r\nLocation: {other}/git/a.git/info/refs?service=git-upload-pack\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let asked = answering(&server, away);
    git.run(["ls-remote", &access.at("git/a.git")]).expect_err("it is sent away and does not go");
    let asked = asked.join().expect("no panic");
    assert!(asked.contains(&format!("Authorization: Bearer {TOKEN}")), "{asked}");
    elsewhere.set_nonblocking(true).expect("a socket");
    let came = elsewhere.accept().map(drop).expect_err("nobody came");
    assert_eq!(came.kind(), std::io::ErrorKind::WouldBlock);

    // Another server, as a submodule's address may name one.
    elsewhere.set_nonblocking(false).expect("a socket");
    let asked = answering(&elsewhere, NOT_FOUND.to_owned());
    git.run(["ls-remote", &format!("{other}/git/a.git")]).expect_err("there is nothing");
    let asked = asked.join().expect("no panic");
    assert!(asked.starts_with("GET ") && !asked.contains("uthorization"), "{asked}");

    let argv: Vec<_> = git.command(["fetch", &url]).get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    assert!(argv.iter().all(|arg| !arg.contains(TOKEN)), "{argv:?}");
}
