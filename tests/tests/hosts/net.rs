//! The harness itself: hosts reach each other, and do not when they are cut or parted.

use std::process::Command;

use longhaul_tests::hosts::{Host, Net};

use crate::fleet::here;

fn reaches(from: &Host, to: &Host) -> bool {
    let mut ping = Command::new("sh");
    // A connection that is refused was answered; one that is lost was not.
    let line = format!("exec 3<>/dev/tcp/{}/9", to.address());
    ping.args(["-c", "timeout 1 bash -c \"$1\" 2>&1 | grep -q refused", "sh", &line]);
    from.inside(&ping).status().expect("ip").success()
}

#[test]
fn hosts_reach_each_other_unless_cut_or_parted() {
    if !here() {
        return;
    }
    let net = Net::new().expect("a switch");
    let [a, b, c] = ["a", "b", "c"].map(|name| net.host(name).expect("a host"));
    assert!(reaches(&a, &b) && reaches(&b, &c) && reaches(&c, &a));
    a.part(&b).expect("parted");
    assert!(!reaches(&a, &b) && !reaches(&b, &a));
    assert!(reaches(&a, &c) && reaches(&b, &c));
    a.join(&b).expect("joined");
    assert!(reaches(&a, &b));
    c.cut().expect("cut");
    assert!(!reaches(&a, &c) && !reaches(&c, &b));
    c.mend().expect("mended");
    assert!(reaches(&a, &c) && reaches(&c, &b));
}

#[test]
fn a_host_takes_its_processes_with_it() {
    if !here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let net = Net::new().expect("a switch");
    let host = net.host("a").expect("a host");
    let mut command = Command::new("sh");
    // It starts a child of its own, and says when both are there.
    command.args(["-c", "sleep 600 & echo $!; wait"]);
    let log = folder.path().join("log");
    let mut process = host.start(&command, &log).expect("started");
    process
        .wait_until("ready", std::time::Duration::from_secs(10), || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.ends_with('\n'))
        })
        .expect("both run");
    let child = format!("/proc/{}/environ", process.said().trim());
    assert!(std::fs::read(&child).is_ok(), "it runs");
    host.power_off();
    drop(process);
    // A zombie has no environment any more.
    assert!(std::fs::read(&child).unwrap_or_default().is_empty(), "{child} lives on");
}
