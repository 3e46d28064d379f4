//! The job of these tests: files to change, with parts that wait for a file outside.

use longhaul_tests::World;
pub use longhaul_tests::goodbye::path;
use longhaul_tests::goodbye::{self, GATE, HEAD, KEPT, words};

/// A repository of `count` files that say hello.
pub fn world(count: usize) -> World {
    goodbye::world(count, KEPT)
}

/// The job over it; `edit` is the shell line that changes one file, `further` what comes besides.
pub fn write(world: &World, edit: &str, further: &str) {
    world.job(&format!("{HEAD}{}{GATE}", words(&format!("'''{edit}'''"), further)));
}

/// Changes a file.
pub const EDIT: &str = "sed -i s/hello/goodbye/ {files}";

/// Changes a file once [`open`] was called; gives up after a minute.
pub fn edit_behind_a_door(world: &World) -> String {
    let door = world.folder().join("door");
    format!(
        "echo at the door; for n in $(seq 600); do test -e {0} && break; sleep 0.1; done; test -e {0}; {EDIT}",
        door.display()
    )
}

/// Lets [`edit_behind_a_door`] go on.
pub fn open(world: &World) {
    std::fs::write(world.folder().join("door"), "").expect("writable");
}

/// Every file is changed on the branch.
pub fn check(world: &World, count: usize) {
    let branch = world.branch();
    for n in 0..count {
        assert_eq!(world.on_branch(&branch, &path(n)), format!("goodbye {n}\nkeep this line"));
    }
}
