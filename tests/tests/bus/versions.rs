//! The rule of versions, with real processes: who speaks another protocol is refused in words that
//! say what to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul_common::bus::nats::{NatsConfig, NatsRole};
use longhaul_common::bus::{Bus, Message, Subject};
use longhaul_proto::{FromWorker, PROTOCOL, PROTOCOL_MIN, Presence, from_worker};
use longhaul_tests::World;
use longhaul_tests::fleet::{Fleet, FleetSpec};
use longhaul_tests::nats::NatsServer;
use prost::Message as _;

use crate::rig::{SOON, config, soon};

/// A presence as a worker of another protocol would say it.
fn announce(bus: &dyn Bus, worker: &str, protocol: u32) {
    let presence = Presence {
        worker: worker.to_owned(),
        work_slots: 1,
        protocol,
        version: "9.9.9".to_owned(),
        incarnation: 99,
        sequence: 1,
        ..Presence::default()
    };
    let payload = FromWorker { message: Some(from_worker::Message::Presence(presence)) }.encode_to_vec().into();
    bus.publish(Message { subject: Subject::presence(worker), id: String::new(), payload }).expect("there is room");
}

/// State and reason of a worker as the command line shows them.
fn row(world: &World, url: &str, worker: &str) -> Option<(String, String)> {
    let ran = world.expect(0, &["workers", "--server", url, "--json"]);
    let rows = ran.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.into_iter().find(|row| row["worker"] == worker).map(|row| (text(&row, "state"), text(&row, "reason")))
}

#[test]
fn a_worker_of_another_protocol_is_refused_in_words_and_a_real_one_ends_with_them() {
    if NatsServer::for_test(|| NatsServer::start(&[])).is_none() {
        return;
    }
    let world = World::new(&[("file", "text\n")]);
    let mut fleet = Fleet::start(&world, &FleetSpec { workers: 1, ..FleetSpec::default() }).expect("a fleet");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let settings = NatsConfig { fleet: "default".to_owned(), ..config(&fleet.nats.url(), NatsRole::Coordinator) };
    let bus = runtime.block_on(longhaul_common::bus::nats::NatsBus::connect(settings)).expect("connects");
    let url = fleet.url();
    let said: [(&str, u32, String); 2] = [
        ("older", PROTOCOL_MIN - 1, format!("{PROTOCOL_MIN} at least: upgrade the worker")),
        ("newer", PROTOCOL + 1, format!("up to {PROTOCOL}: upgrade the coordinator first")),
    ];
    let shown = |worker: &str, protocol: u32| {
        announce(&bus, worker, protocol);
        runtime.block_on(soon("it is out", bus.flushed()));
        let begun = Instant::now();
        loop {
            if let Some(found) = row(&world, &url, worker) {
                break found;
            }
            assert!(begun.elapsed() < SOON, "{worker} is not shown");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let oldest = shown("oldest", PROTOCOL_MIN);
    assert_eq!(oldest, ("present".to_owned(), String::new()), "the oldest that the rule lets in");
    for (worker, protocol, sentence) in &said {
        let (state, reason) = shown(worker, *protocol);
        assert_eq!(state, "refused");
        assert!(reason.starts_with(&format!("the worker 9.9.9 speaks protocol {protocol}, ")), "{reason}");
        assert!(reason.ends_with(sentence), "{reason}");
    }
    // In the name of the real worker: its process is refused, as one of that protocol would be.
    announce(&bus, "w1", PROTOCOL + 1);
    let ended = fleet.workers[0].process.as_mut().expect("runs").wait(Duration::from_secs(30)).expect("a status");
    let log = fleet.workers[0].log(&world);
    let status = ended.unwrap_or_else(|| panic!("it goes on: {log}"));
    assert_eq!(status.code(), Some(6), "{log}");
    assert!(log.contains(&said[1].2), "{log}");
    let _bus: Arc<dyn Bus> = Arc::new(bus);
}
