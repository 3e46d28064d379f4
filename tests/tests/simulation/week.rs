//! One long job: ten thousand subtasks over seven days and more, with faults all the way.

use crate::seeds::number;
use crate::setting::{DAY, Setting};
use crate::world::World;

#[test]
fn seven_days_of_ten_thousand_subtasks_end_right() {
    let seed = number("LONGHAUL_SEED").unwrap_or(7);
    let world = World::run(Setting::week(seed, "week::seven_days_of_ten_thousand_subtasks_end_right"));
    let counts = world.state().counts();
    println!(
        "{:.2} days, {counts:?}, {} records, {} turns, faults {:?}, {} requests",
        world.now as f64 / DAY as f64,
        world.state().seq(),
        world.coordinator.turns,
        world.faults,
        world.person.requests,
    );
    assert!(world.now >= 7 * DAY, "it took {} ms", world.now);
    assert!(counts.landed > 9_000, "{counts:?}");
}
