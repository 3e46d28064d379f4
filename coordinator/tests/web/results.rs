//! Deliveries over gRPC: what arrives whole is handed on, everything else leaves nothing.

use longhaul_coordinator::hub::HubError;
use longhaul_coordinator::web::SpoolLimits;
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::{
    Ack, FailureClass, Finished, Introduction, LogPart, Report, ResultEnd, ResultPart, Wip, finished, report,
    result_part,
};
use tonic::{Code, Status};

use crate::world::{Setup, World, token};

fn parts(worker: &str, pack: &[u8]) -> Vec<ResultPart> {
    let body = report::Body::Finished(Finished::default());
    let report = Report { job: "one".to_owned(), id: 7, worker: worker.to_owned(), body: Some(body) };
    let end = ResultEnd { pack_bytes: pack.len() as u64, pack_hash: blake3::hash(pack).as_bytes().to_vec() };
    let mut parts = vec![result_part::Part::Report(report)];
    parts.extend(pack.chunks(1_000).map(|piece| result_part::Part::Pack(piece.to_vec())));
    parts.push(result_part::Part::End(end));
    parts.into_iter().map(|part| ResultPart { part: Some(part) }).collect()
}

fn log(name: &str, data: &[u8]) -> ResultPart {
    ResultPart { part: Some(result_part::Part::Log(LogPart { name: name.to_owned(), data: data.to_vec() })) }
}

async fn deliver(world: &World, token: Option<&str>, parts: Vec<ResultPart>) -> Result<Ack, Status> {
    let connection = world.access(token).connect().expect("a connection");
    ResultsClient::new(connection).deliver(tokio_stream::iter(parts)).await.map(tonic::Response::into_inner)
}

fn spooled(world: &World) -> usize {
    std::fs::read_dir(world.folder.path().join("spool")).expect("the spool").count()
}

#[tokio::test]
async fn a_whole_result_is_handed_on_with_its_pack_and_logs() {
    let world = World::start(Setup { access: Some(token("w1", "\"work\"", "t")), ..Setup::default() }).await;
    let pack: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sent = parts("w1", &pack);
    sent.insert(1, log("0-agent.log", b"one "));
    sent.insert(2, log("0-agent.log", b"two"));
    sent.insert(3, log("1-check.log", b"three"));
    assert_eq!(deliver(&world, Some("t"), sent).await.expect("taken").disposition, "kept");
    let arrived = world.shelf.arrived.lock().expect("no panic").pop().expect("one");
    assert_eq!((arrived.who.name.as_str(), arrived.report.id), ("w1", 7));
    assert_eq!(arrived.pack.as_deref(), Some(pack.as_slice()));
    let logs: Vec<_> = arrived.logs.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    assert_eq!(logs, [("0-agent.log", b"one two".as_slice()), ("1-check.log", b"three")]);
    assert_eq!(spooled(&world), 0);
}

#[tokio::test]
async fn a_worker_cannot_answer_for_another() {
    let world = World::start(Setup { access: Some(token("w1", "\"work\"", "t")), ..Setup::default() }).await;
    let refused = deliver(&world, Some("t"), parts("w2", b"pack")).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(world.shelf.arrived.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_is_cut_or_damaged_leaves_nothing() {
    let world = World::start(Setup::default()).await;
    let mut cut = parts("w1", b"pack");
    cut.pop();
    let mut damaged = parts("w1", b"pack");
    damaged[1] = ResultPart { part: Some(result_part::Part::Pack(b"pick".to_vec())) };
    let mut short = parts("w1", b"pack");
    short.remove(1);
    let no_report = parts("w1", b"pack").split_off(1);
    let mut twice = parts("w1", b"pack");
    twice.insert(1, twice[0].clone());
    let mut huge = parts("w1", b"");
    huge.insert(1, log("a.log", &vec![0; (1 << 20) + 1]));
    for (sent, code) in [
        (cut, Code::Aborted),
        (damaged, Code::DataLoss),
        (short, Code::DataLoss),
        (no_report, Code::InvalidArgument),
        (twice, Code::InvalidArgument),
        (huge, Code::InvalidArgument),
        (vec![], Code::Aborted),
    ] {
        assert_eq!(deliver(&world, None, sent).await.expect_err("refused").code(), code);
    }
    assert!(world.shelf.arrived.lock().expect("no panic").is_empty());
    assert_eq!(spooled(&world), 0);
}

#[tokio::test]
async fn a_log_cannot_name_a_path() {
    let world = World::start(Setup::default()).await;
    for name in ["../escape.log", "/etc/passwd", "a/b.log", "..", ".", "", "a\0b", &"n".repeat(300)] {
        let mut sent = parts("w1", b"pack");
        sent.insert(1, log(name, b"data"));
        let refused = deliver(&world, None, sent).await.expect_err(name);
        assert_eq!(refused.code(), Code::InvalidArgument, "{name:?}");
    }
    assert!(!world.folder.path().join("escape.log").exists());
    assert_eq!(spooled(&world), 0);
}

#[tokio::test]
async fn a_pack_over_the_limit_is_recorded_as_a_failure_and_costs_no_more() {
    let limits = SpoolLimits { pack_bytes: 2_000, ..SpoolLimits::default() };
    let world = World::start(Setup { limits, ..Setup::default() }).await;
    deliver(&world, None, parts("w1", &[7; 50_000])).await.expect("answered");
    let arrived = world.shelf.arrived.lock().expect("no panic").pop().expect("one");
    let Some(report::Body::Finished(Finished { outcome: Some(finished::Outcome::Failure(failure)), .. })) =
        arrived.report.body
    else {
        panic!("{:?}", arrived.report)
    };
    assert_eq!((failure.class(), arrived.pack), (FailureClass::Result, None));
    assert!(failure.message.contains("2000"), "{}", failure.message);
    let mut wip = parts("w1", &[7; 50_000]);
    let Some(result_part::Part::Report(report)) = &mut wip[0].part else { panic!("a report is first") };
    report.body = Some(report::Body::Wip(Wip::default()));
    assert_eq!(deliver(&world, None, wip).await.expect_err("refused").code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn the_spool_s_bytes_and_logs_are_bounded_and_come_back() {
    let limits = SpoolLimits { total_bytes: 10_000, log_bytes: 100, logs: 2, ..SpoolLimits::default() };
    let world = World::start(Setup { limits, ..Setup::default() }).await;
    let full = deliver(&world, None, parts("w1", &[7; 20_000])).await.expect_err("no room");
    assert_eq!(full.code(), Code::Unavailable);
    assert!(full.message().contains("10000 bytes"), "{}", full.message());
    for _ in 0..3 {
        deliver(&world, None, parts("w1", &[7; 9_000])).await.expect("there is room again");
    }
    let mut long = parts("w1", b"pack");
    long.insert(1, log("a.log", &[b'x'; 500]));
    deliver(&world, None, long).await.expect("taken");
    let arrived = world.shelf.arrived.lock().expect("no panic").pop().expect("one");
    let kept = String::from_utf8_lossy(&arrived.logs[0].1).into_owned();
    assert!(kept.starts_with(&"x".repeat(100)) && kept.len() < 200 && kept.contains("100 bytes"), "{kept}");
    let mut many = parts("w1", b"pack");
    for name in ["a", "b", "c"] {
        many.insert(1, log(name, b"x"));
    }
    assert_eq!(deliver(&world, None, many).await.expect_err("too many").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_the_jobs_say_of_a_result_is_what_its_worker_hears() {
    let world = World::start(Setup::default()).await;
    for (error, code) in [
        (HubError::UnknownJob, Code::NotFound),
        (HubError::NotYours, Code::PermissionDenied),
        (HubError::Unavailable("ending".to_owned()), Code::Unavailable),
        (HubError::NotKept("no space left".to_owned()), Code::Unavailable),
    ] {
        *world.shelf.answer.lock().expect("no panic") = Some(error);
        assert_eq!(deliver(&world, None, parts("w1", b"pack")).await.expect_err("an error").code(), code);
    }
}

#[tokio::test]
async fn a_worker_introduces_itself_only_and_a_person_nobody() {
    let access = [token("w1", "\"work\"", "t"), token("alice", "\"read\", \"submit\"", "p")].concat();
    let world = World::start(Setup { access: Some(access), ..Setup::default() }).await;
    let introduce = async |token: Option<&str>, worker: &str, endpoint: &str| {
        let connection = world.access(token).connect().expect("a connection");
        let said = Introduction {
            worker: worker.to_owned(),
            endpoint: endpoint.to_owned(),
            token: "x".to_owned(),
            certificate: String::new(),
        };
        ResultsClient::new(connection).introduce(said).await.map(drop).map_err(|status| status.code())
    };
    let known = || world.shelf.introductions.endpoint("w1").and_then(Result::ok);
    let here = "http://127.0.0.1:1";
    assert_eq!(introduce(None, "w1", here).await, Err(Code::Unauthenticated));
    assert_eq!(introduce(Some("p"), "w1", here).await, Err(Code::PermissionDenied));
    assert_eq!(introduce(Some("t"), "w2", here).await, Err(Code::PermissionDenied));
    assert_eq!((known(), world.shelf.introductions.endpoint("w2")), (None, None));
    assert_eq!(introduce(Some("t"), "w1", here).await, Ok(()));
    assert_eq!(known().as_deref(), Some(here));
    assert_eq!(introduce(Some("t"), "w1", "http://10.0.0.1:1").await, Err(Code::InvalidArgument));
    assert_eq!(known(), None, "nothing is sent to where it was before");
}
