//! Jobs that several tests run.

use longhaul_tests::World;
use longhaul_tests::goodbye::{self, GATE, HEAD, KEPT, words};

/// A job of `count` subtasks, each changing its own file, with a gate that looks at all of them.
pub fn greeting(count: usize) -> World {
    let world = goodbye::world(count, &format!("{KEPT}! grep -rq BROKEN src\n"));
    world.job(&greeting_job("s/hello/goodbye/"));
    world
}

/// The job file of [`greeting`], with another edit.
pub fn greeting_job(edit: &str) -> String {
    let run = format!(r#"["sed", "-i", "{edit}", "{{files}}"]"#);
    format!("{HEAD}{}{GATE}", words(&run, "check = \"! grep -q hello src/none\""))
}
