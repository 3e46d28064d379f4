//! Tokens, certificates and roles over the real command line, and what the journal keeps of it.

use longhaul_common::server::ServerAccess;
use longhaul_coordinator::core::Event;
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::{Finished, Report, ResultPart, report, result_part};
use longhaul_tests::fleet::{Extras, FleetSpec, Guard, Person};
use longhaul_tests::goodbye::words;
use longhaul_tests::nats::NatsServer;
use tonic::Code;

use crate::rig::{HEAD, JOB, Rig, greeting};

/// The job's work, and a gate without a script.
fn work() -> String {
    let further = "pilot = 1\ncheck = \"! grep -q hello {files}\"";
    let gate = "\n[gate]\nrun = \"! grep -rq BROKEN src\"\n";
    words("\"sed -i s/hello/goodbye/ {files}\"", further) + gate
}

#[test]
fn a_guarded_fleet_runs_a_job_and_each_does_what_their_role_says() {
    if NatsServer::is_missing() {
        return;
    }
    let world = greeting(3);
    world.job(&format!("{HEAD}{}", work()));
    let mut guard = Guard::new(&world).expect("a guard");
    let w1 = guard.worker_by_token(&world, "w1").expect("w1");
    let w2 = guard.worker_by_certificate("w2").expect("w2");
    let unlisted = guard.certificate("w9").expect("w9");
    let alice = guard.person(&world, "alice", &["submit", "approve", "read"]).expect("alice");
    let bob = guard.person(&world, "bob", &["read"]).expect("bob");
    let carol = guard.person(&world, "carol", &["submit", "read"]).expect("carol");
    let stranger = Person { token: "lh_wrong".to_owned(), file: world.folder().join("wrong.token") };
    longhaul_tests::certs::secret(&stranger.file, &stranger.token).expect("written");
    let rig = Rig::start(world, &FleetSpec { workers: 2, ..FleetSpec::default() }, Extras::guarded(guard));

    rig.refused(Some(&bob), &["run", "--detach"], "needs the role \"submit\"");
    assert!(rig.stores().is_empty(), "a refused submission leaves nothing");
    rig.expect(0, Some(&alice), &["run", "--detach"]);
    let parked = || {
        let status: serde_json::Value =
            serde_json::from_str(&rig.ask(Some(&bob), &["status", JOB, "--json"]).stdout).ok()?;
        (status["counts"]["parked"].as_u64() == Some(2)).then_some(())
    };
    rig.wait("two wait for a yes", parked);
    let landed = |event: &Event| matches!(event, Event::Landed(_));
    rig.wait("the pilot landed", || rig.events(JOB).iter().any(landed).then_some(()));
    let before = rig.mark(&[JOB]);

    for who in [None, Some(&stranger)] {
        rig.refused(who, &["list", "--jobs"], "does not know you");
        rig.refused(who, &["approve", "--all", "--job", JOB], "does not know you");
    }
    rig.expect(0, Some(&bob), &["list", "--jobs"]);
    for args in [
        &["run", "--new", "--detach"][..],
        &["approve", "--all", "--job", JOB],
        &["steer", "word-f1", "hurry", "--job", JOB],
        &["cancel", "--whole-job", "--job", JOB],
        &["pause", JOB],
        &["retry", "word-f1", "--job", JOB],
        &["drain", "w1"],
    ] {
        rig.refused(Some(&bob), args, "not allowed");
    }
    rig.refused(Some(&carol), &["approve", "--all", "--job", JOB], "needs the role \"approve\"");
    rig.refused(Some(&w1), &["list", "--jobs"], "needs the role \"read\"");
    for (pair, words) in [(&unlisted, "does not know you"), (&w2, "needs the role")] {
        let files = [pair.cert.display().to_string(), pair.key.display().to_string()];
        rig.refused(None, &["list", "--jobs", "--cert", &files[0], "--key", &files[1]], words);
    }
    let as_w2 = ServerAccess {
        url: rig.fleet.url(),
        ca: Some(rig.ca()),
        cert: Some(w2.cert.clone()),
        key: Some(w2.key.clone()),
        ..ServerAccess::default()
    };
    assert_eq!(deliver_as(&as_w2, "w1"), Code::PermissionDenied, "w2's certificate is not w1");
    assert_eq!(rig.mark(&[JOB]), before, "what is refused changes nothing");

    rig.expect(0, Some(&alice), &["approve", "--all", "--job", JOB]);
    rig.expect(0, Some(&bob), &["watch", JOB, "--exit-status"]);
    rig.expect(0, Some(&bob), &["verify", JOB]);
    rig.expect(0, Some(&alice), &["export", JOB]);
    assert_eq!(rig.world.on_branch(&rig.world.branch(), "src/f2.txt"), "goodbye 2\nkeep this line");
    audited(&rig);
}

/// Who asked for what is in the journal, of those and only those who were let.
fn audited(rig: &Rig) {
    let asked: Vec<(String, String, String)> = rig
        .events(JOB)
        .into_iter()
        .filter_map(|event| match event {
            Event::Audited(asked) => Some((asked.who, asked.role, asked.what)),
            _ => None,
        })
        .collect();
    let as_text: Vec<String> = asked.iter().map(|(who, role, what)| format!("{who} {role} {what}")).collect();
    assert_eq!(as_text, ["alice submit submit", "alice approve approve"]);
}

/// What somebody hears who delivers in a worker's name.
fn deliver_as(access: &ServerAccess, worker: &str) -> Code {
    longhaul_common::tls::install();
    let body = report::Body::Finished(Finished::default());
    let report = Report { job: JOB.to_owned(), id: 1, worker: worker.to_owned(), body: Some(body) };
    let part = ResultPart { part: Some(result_part::Part::Report(report)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connection = access.connect().expect("a connection");
        let answer = ResultsClient::new(connection).deliver(futures::stream::iter([part])).await;
        answer.expect_err("refused").code()
    })
}

#[test]
fn listening_to_the_network_without_tls_and_an_access_file_is_refused() {
    let world = greeting(1);
    let guard = Guard::new(&world).expect("a guard");
    std::fs::write(guard.access_file(), "").expect("written");
    let (cert, key) = (guard.server().cert.display().to_string(), guard.server().key.display().to_string());
    let access = guard.access_file().display().to_string();
    let serve = |further: &[&str]| {
        let mut args = vec!["serve", "--listen", "0.0.0.0:0", "--nats", "nats://127.0.0.1:1"];
        args.extend_from_slice(further);
        let ran = world.expect(2, &args);
        assert!(ran.stderr.contains("0.0.0.0") && ran.stderr.contains("--access"), "{}", ran.stderr);
    };
    serve(&[]);
    serve(&["--access", &access]);
    serve(&["--tls-cert", &cert, "--tls-key", &key]);
}
