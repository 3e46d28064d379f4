//! The cluster alone: three members over TLS find a leader, and find one again whoever goes.

use longhaul_tests::World;

use crate::fleet::{Fleet, here, nats_server};

#[test]
fn three_members_agree_on_a_leader_whichever_of_them_is_rolled_or_stopped() {
    if !here() {
        return;
    }
    let Some(nats_server) = nats_server() else { return };
    let mut fleet = Fleet::stopped(World::new(&[("a", "a")]), &nats_server).expect("a fleet");
    fleet.start_nats().expect("a cluster");
    for member in 0..fleet.nats.len() {
        fleet.nats[member].end().expect("it ends");
        fleet.nats[member].start().expect("it comes back and finds the others");
    }
    // Two thirds of it lose their power at once; one of them is enough to go on.
    fleet.nats[0].power_off();
    fleet.nats[1].power_off();
    fleet.nats[0].start().expect("a majority finds a leader");
}
