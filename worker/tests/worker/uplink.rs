//! Results over gRPC, to a server that keeps what comes.

use std::sync::Arc;
use std::sync::Mutex;

use longhaul_common::server::ServerAccess;
use longhaul_proto::results_server::{Results, ResultsServer};
use longhaul_proto::{Ack, Finished, Introduced, Introduction, Report, ResultPart, report, result_part};
use longhaul_worker::introduce::{IntroduceError, introduce};
use longhaul_worker::uplink::GrpcSink;
use longhaul_worker::{Delivery, ResultSink as _, SinkError};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

#[derive(Clone, Default)]
struct Keeper {
    parts: Arc<Mutex<Vec<result_part::Part>>>,
    refuse: Arc<Mutex<Option<Code>>>,
    introduced: watch::Sender<Introduction>,
}

#[tonic::async_trait]
impl Results for Keeper {
    async fn deliver(&self, request: Request<Streaming<ResultPart>>) -> Result<Response<Ack>, Status> {
        let mut parts = request.into_inner();
        let refuse = *self.refuse.lock().expect("not poisoned");
        if let Some(code) = refuse {
            return Err(Status::new(code, "told to"));
        }
        while let Some(part) = parts.message().await? {
            self.parts.lock().expect("not poisoned").extend(part.part);
        }
        Ok(Response::new(Ack { disposition: "kept".into() }))
    }

    async fn introduce(&self, request: Request<Introduction>) -> Result<Response<Introduced>, Status> {
        self.introduced.send(request.into_inner()).map_err(|_| Status::unavailable("the test ended"))?;
        Ok(Response::new(Introduced {}))
    }
}

#[tokio::test]
async fn a_result_goes_up_in_pieces_with_its_hash() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let keeper = Keeper::default();
    let router = tonic::transport::Server::builder().add_service(ResultsServer::new(keeper.clone()));
    let server = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (pack, log, empty) = (dir.path().join("pack"), dir.path().join("log"), dir.path().join("empty"));
    let bytes: Vec<u8> = (0..2_500_000_u32).flat_map(|n| n.to_le_bytes()[..1].to_vec()).collect();
    std::fs::write(&pack, &bytes).expect("written");
    std::fs::write(&log, "a line\n").expect("written");
    std::fs::write(&empty, "").expect("written");
    let report =
        Report { job: "a".into(), id: 1, body: Some(report::Body::Finished(Finished::default())), ..Report::default() };
    let logs = vec![("01-a".to_owned(), log), ("02-b".to_owned(), empty)];
    let delivery = Delivery { report: report.clone(), pack: Some(pack), logs };
    let sink = GrpcSink::new(&ServerAccess { url, ..ServerAccess::default() }).expect("an address");

    let ack = sink.deliver(delivery.clone()).await.expect("kept");
    assert_eq!(ack.disposition, "kept");
    let parts = std::mem::take(&mut *keeper.parts.lock().expect("not poisoned"));
    assert!(matches!(&parts[0], result_part::Part::Report(found) if *found == report));
    let pieces: Vec<&Vec<u8>> = parts
        .iter()
        .filter_map(|part| if let result_part::Part::Pack(data) = part { Some(data) } else { None })
        .collect();
    assert!(pieces.len() == 3 && pieces.iter().all(|piece| piece.len() <= 1 << 20));
    assert_eq!(pieces.into_iter().flatten().copied().collect::<Vec<u8>>(), bytes);
    let names: Vec<&str> = parts
        .iter()
        .filter_map(|part| if let result_part::Part::Log(log) = part { Some(log.name.as_str()) } else { None })
        .collect();
    assert_eq!(names, ["01-a", "02-b"]);
    let Some(result_part::Part::End(end)) = parts.last() else { panic!("no end") };
    assert_eq!(
        (end.pack_bytes, end.pack_hash.as_slice()),
        (bytes.len() as u64, blake3::hash(&bytes).as_bytes().as_slice())
    );

    for (code, refused) in [(Code::NotFound, false), (Code::Unavailable, false), (Code::PermissionDenied, true)] {
        *keeper.refuse.lock().expect("not poisoned") = Some(code);
        let error = sink.deliver(delivery.clone()).await.expect_err("told to");
        assert_eq!(matches!(error, SinkError::Refused(_)), refused, "{error}");
    }
    server.abort();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let sink = GrpcSink::new(&ServerAccess { url: format!("http://{closed}"), ..ServerAccess::default() })
        .expect("an address");
    let away = sink.deliver(delivery).await.expect_err("nobody is there");
    assert!(matches!(away, SinkError::Unavailable(_)), "{away}");
}

#[tokio::test]
async fn a_worker_introduces_itself_and_never_in_clear_text() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let keeper = Keeper::default();
    let mut introduced = keeper.introduced.subscribe();
    let router = tonic::transport::Server::builder().add_service(ResultsServer::new(keeper.clone()));
    let server = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let said = Introduction { worker: "w".into(), token: "t".into(), ..Introduction::default() };
    let stop = CancellationToken::new();
    for far in ["http://far.example:7117", "http://127.0.0.1:x@far.example", "http://192.0.2.1"] {
        let access = ServerAccess { url: far.into(), ..ServerAccess::default() };
        let refused = introduce(&access, said.clone(), stop.clone()).expect_err("clear text");
        assert!(matches!(refused, IntroduceError::Clear { .. }), "{refused}");
    }
    introduce(&ServerAccess { url, ..ServerAccess::default() }, said.clone(), stop.clone()).expect("an address");
    let heard = introduced.wait_for(|heard| heard.worker == "w").await.expect("it is there").clone();
    assert_eq!(heard, said);
    stop.cancel();
    server.abort();
}
