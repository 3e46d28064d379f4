//! Who gets in, and what strangers can make the server do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longhaul_coordinator::web::WebError;
use longhaul_proto::ResultPart;
use longhaul_proto::results_client::ResultsClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::Code;

use crate::world::{Setup, Shelf, World, config, repository, run, status, token};

fn two_tokens() -> String {
    format!("{}{}", token("alice", "\"read\"", "reading"), token("w1", "\"work\"", "working"))
}

#[tokio::test]
async fn listening_elsewhere_needs_tls_and_a_tokens_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let listen: SocketAddr = listen.parse().expect("an address");
        let plain = config(folder.path(), &Setup::default());
        let with_access = config(folder.path(), &Setup { access: Some(two_tokens()), ..Setup::default() });
        for config in [plain, with_access] {
            let error = World::refusal(longhaul_coordinator::web::WebConfig { listen, ..config }).await;
            assert!(matches!(error, WebError::Open { .. }), "{error}");
            assert!(error.to_string().contains("TLS"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_request_without_a_good_token_gets_nowhere() {
    let world = World::start(Setup { access: Some(two_tokens()), ..Setup::default() }).await;
    for head in ["GET /git/one.git/info/refs?service=git-upload-pack HTTP/1.1", "GET /anything HTTP/1.1"] {
        for credential in [
            "",
            "\r\nAuthorization: Bearer wrong",
            "\r\nAuthorization: Basic cmVhZGluZw==",
            "\r\nAuthorization: \u{7f}",
        ] {
            let answer = world.http(&format!("{head}{credential}")).await;
            // A header of bytes no header has is refused by HTTP itself.
            assert!(matches!(status(&answer), 401 | 400), "{answer}");
        }
        assert_eq!(status(&world.http(&format!("{head}\r\nAuthorization: Bearer reading")).await), 404);
    }
    let wrong = world.access(Some("wrong")).connect().expect("a connection");
    let refused = ResultsClient::new(wrong).deliver(tokio_stream::empty::<ResultPart>()).await;
    assert_eq!(refused.expect_err("refused").code(), Code::Unauthenticated);
    // A reader is no worker.
    let reader = world.access(Some("reading")).connect().expect("a connection");
    let refused = ResultsClient::new(reader).deliver(tokio_stream::empty::<ResultPart>()).await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn probes_need_no_name_and_tell_little() {
    let shelf = Shelf { stores: [("one".to_owned(), "/nowhere".into())].into(), ..Shelf::default() };
    let ready = World::start(Setup { access: Some(two_tokens()), shelf, ..Setup::default() }).await;
    assert_eq!(status(&ready.http("GET /healthz HTTP/1.1").await), 200);
    assert_eq!(status(&ready.http("GET /readyz HTTP/1.1").await), 200);
    let empty = World::start(Setup::default()).await;
    assert_eq!(status(&empty.http("GET /healthz HTTP/1.1").await), 200);
    let answer = empty.http("GET /readyz HTTP/1.1").await;
    assert_eq!(status(&answer), 503);
    assert!(!answer.contains("no store"), "{answer}");
}

#[tokio::test]
async fn health_and_reflection_answer_over_grpc() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};
    let shelf = Shelf { stores: [("one".to_owned(), "/nowhere".into())].into(), ..Shelf::default() };
    let world = World::start(Setup { shelf, access: Some(two_tokens()), ..Setup::default() }).await;
    let connection = world.access(None).connect().expect("a connection");
    let mut health = HealthClient::new(connection.clone());
    let mut told = health
        .watch(HealthCheckRequest { service: "longhaul.v1.Results".to_owned() })
        .await
        .expect("watched")
        .into_inner();
    loop {
        let status = told.message().await.expect("told").expect("not ended").status();
        if status == ServingStatus::Serving {
            break;
        }
    }
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(connection)
        .server_reflection_info(tokio_stream::once(list))
        .await
        .expect("answered")
        .into_inner();
    let answer = answers.message().await.expect("answered").expect("one").message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"longhaul.v1.Results") && names.contains(&"longhaul.v1.Jobs"), "{names:?}");
}

#[tokio::test]
async fn tokens_change_without_a_restart_and_a_broken_file_changes_nothing() {
    let world = World::start(Setup { access: Some(two_tokens()), ..Setup::default() }).await;
    let ask =
        async |token: &str| status(&world.http(&format!("GET /x HTTP/1.1\r\nAuthorization: Bearer {token}")).await);
    // Waits, within a bound, for the file to be looked at again.
    let becomes = async |token: &str, wanted: u16| {
        let begin = Instant::now();
        while ask(token).await != wanted {
            assert!(begin.elapsed() < Duration::from_secs(20), "{token} did not become {wanted}");
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    };
    let path = world.folder.path().join("access.toml");
    std::fs::write(&path, format!("{}[[token]]\n", two_tokens())).expect("written");
    std::fs::write(&path, token("alice", "\"read\"", "fresh")).expect("written");
    becomes("fresh", 404).await;
    assert_eq!(ask("reading").await, 401);
    std::fs::write(&path, "[[token]]\nname = \"mallory\"\n").expect("written");
    tokio::time::sleep(longhaul_coordinator::web::LOOK_EVERY * 2).await;
    assert_eq!(ask("fresh").await, 404, "the last good file stays in force");
}

#[tokio::test]
async fn failing_again_and_again_is_answered_without_a_look() {
    let world = World::start(Setup { access: Some(two_tokens()), ..Setup::default() }).await;
    let mut last = String::new();
    for _ in 0..80 {
        last = world.http("GET /x HTTP/1.1\r\nAuthorization: Bearer guess").await;
        if status(&last) == 429 {
            break;
        }
    }
    assert_eq!(status(&last), 429);
    assert!(last.to_ascii_lowercase().contains("retry-after"), "{last}");
    let right = world.http("GET /x HTTP/1.1\r\nAuthorization: Bearer reading").await;
    assert_eq!(status(&right), 429, "over the limit no credential is looked at");
    assert_eq!(status(&world.http("GET /healthz HTTP/1.1").await), 200);
}

#[tokio::test]
async fn an_open_server_does_not_answer_to_a_web_page_s_name() {
    let world = World::start(Setup::default()).await;
    let rebound =
        world.http("GET /git/one.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: evil.example:7117").await;
    assert_eq!(status(&rebound), 403);
    assert_eq!(status(&world.http("GET /x HTTP/1.1\r\nHost: localhost:7117").await), 404);
    // A page of any site may send such a request to this machine; what it cannot do is hide that it is one.
    let page = "POST /longhaul.v1.Jobs/Submit HTTP/1.1\r\nHost: localhost:7117\r\nContent-Length: 0\r\n";
    let sent = [
        (format!("{page}Content-Type: application/grpc\r\nOrigin: http://evil.example"), 403),
        (format!("{page}Content-Type: application/grpc\r\nSec-Fetch-Mode: no-cors"), 403),
        (format!("{page}Content-Type: text/plain"), 415),
    ];
    for (request, expected) in sent {
        let answer = world.http(&request).await;
        let refused = status(&answer) == expected || answer.contains("grpc-status: 7");
        assert!(refused, "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut() {
    let world = World::start(Setup::default()).await;
    let mut stream = TcpStream::connect(world.addr).await.expect("it listens");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nX: ").await.expect("sent");
    let mut rest = Vec::new();
    // The server ends it: by its limit on headers, within seconds.
    let cut = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
    assert!(cut.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn a_stop_ends_the_server_while_connections_are_open() {
    let mut world = World::start(Setup::default()).await;
    let idle = TcpStream::connect(world.addr).await.expect("it listens");
    assert_eq!(status(&world.http("GET /healthz HTTP/1.1").await), 200);
    world.stop.cancel();
    let task = world.web.take().expect("it runs").task;
    tokio::time::timeout(Duration::from_secs(25), task).await.expect("it ends in time").expect("no panic");
    drop(idle);
    assert!(TcpStream::connect(world.addr).await.is_err());
}

#[tokio::test]
async fn a_worker_reads_only_the_repository_it_is_assigned() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one.git"), folder.path().join("two.git"));
    repository(&one, &[100]);
    let secret = repository(&two, &[100]);
    let shelf = Shelf {
        stores: [("one".to_owned(), one), ("two".to_owned(), two)].into(),
        assigned: [("one".to_owned(), "w1".to_owned())].into(),
        ..Shelf::default()
    };
    let world = World::start(Setup { shelf, access: Some(two_tokens()), ..Setup::default() }).await;
    let access = world.access(Some("working"));
    let mirror = crate::world::mirror(&folder.path().join("mirror.git"), &access);
    run(&mirror, &["ls-remote", &access.at("git/one.git")]).await.expect("its own");
    let other = access.at("git/two.git");
    let refused = run(&mirror, &["fetch", &other, &secret[0].to_string()]).await.expect_err("another's");
    assert!(refused.contains("not found"), "{refused}");
    // What is there and not allowed looks like what is not there.
    let missing = run(&mirror, &["ls-remote", &access.at("git/three.git")]).await.expect_err("nobody's");
    assert_eq!(refused.replace("two.git", "X").contains("not found"), missing.contains("not found"));
    let stranger = world.access(Some("wrong"));
    let stranger_mirror = crate::world::mirror(&folder.path().join("stranger.git"), &stranger);
    let refused = run(&stranger_mirror, &["ls-remote", &stranger.at("git/one.git")]).await.expect_err("a stranger");
    assert!(
        refused.contains("Authentication failed") || refused.contains("401") || refused.contains("could not read"),
        "{refused}"
    );
}
