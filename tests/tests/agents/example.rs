//! The example whose codemod leaves a residue that only an agent closes: real code from the
//! registry, real cargo, a scripted model.

use std::path::{Path, PathBuf};
use std::process::Command;

use longhaul_tests::World;
use longhaul_tests::model::{Script, ScriptedModel};

/// The subtasks whose files hold a block of several items.
const RESIDUE: [&str; 4] = ["lazy-common", "lazy-property_aliases", "lazy-property_value_aliases", "lazy-unicode_data"];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("examples")
}

/// The repository as the example's users get it, and its job with the model at `url`.
fn world(url: &str) -> World {
    let world = World::new(&[]);
    std::fs::remove_dir_all(world.repo()).expect("the empty repository goes");
    let fetched = Command::new("bash").arg(examples().join("rust-lazy-lock/fetch.sh")).arg(world.repo()).output();
    let fetched = fetched.expect("bash");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let example = examples().join("rust-codemod-then-agent");
    let job = std::fs::read_to_string(example.join("longhaul.toml")).expect("a job");
    assert!(job.contains("https://api.openai.com"), "{job}");
    world.job(&job.replace("https://api.openai.com", url));
    std::fs::create_dir(world.folder().join("rules")).expect("a folder");
    let rules = "rules/single-item.yml";
    std::fs::copy(example.join(rules), world.folder().join(rules)).expect("copied");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_codemod_leaves_the_agent_closes() {
    let script = Script::read(&examples().join("rust-codemod-then-agent/scripted.json")).expect("a script");
    let model = ScriptedModel::start(script).await.expect("a model");
    let url = model.url();
    let ran = tokio::task::spawn_blocking(move || {
        let world = world(&url);
        let out = world.command(&["run"]).env("OPENAI_API_KEY", "sk-of-the-example").output().expect("it starts");
        (world, out)
    });
    let (world, out) = ran.await.expect("it does not panic");
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");

    let branch = world.branch();
    let trailers =
        "--format=%(trailers:key=Subtask-Id,valueonly,separator=%x2C) %(trailers:key=Agent,valueonly,separator=%x2C)";
    let log = world.git(&["log", "--no-merges", trailers, &format!("main..{branch}")]);
    let mut by_agent: Vec<&str> = log.lines().filter(|line| line.contains("coder")).collect();
    by_agent.sort_unstable();
    let closed: Vec<&str> = by_agent.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(closed, RESIDUE, "{log}");
    assert_eq!(log.lines().filter(|line| line.starts_with("lazy-")).count(), 10, "{log}");
    let left = Command::new("git")
        .arg("-C")
        .arg(world.repo())
        .args(["grep", "-c", "lazy_static", &branch, "--", "src"])
        .output()
        .expect("git");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "nothing is left");

    // The model was asked for these alone.
    for request in model.requests() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let files = ["common", "property_aliases", "property_value_aliases", "unicode_data"];
        assert!(files.iter().any(|file| body.contains(&format!("- src/{file}.rs"))), "{body}");
    }
    let verified = world.expect(0, &["verify"]);
    assert!(verified.stdout.contains("10 subtasks proven landed, 0 findings"), "{}", verified.stdout);
}
