//! What a plan carries to other machines, and what workers need to know of a subtask there.

use std::os::unix::fs::PermissionsExt as _;

use super::{HEAD, World, job, map, options, task};

fn carried(world: &World, text: &str) -> Vec<(String, usize, bool)> {
    let plan = world.plan(text);
    plan.files.into_iter().map(|file| (file.path, file.content.len(), file.executable)).collect()
}

fn world() -> World {
    let world = World::new(&[("a.txt", "a")]);
    world.write("scripts/run.sh", "true\n");
    world.write("scripts/lib/one.py", "1");
    world.write("scripts/notes.md", "x");
    world.write("gate.sh", "exit 0\n");
    let run = world.root().join("scripts/run.sh");
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).expect("our own file");
    world
}

#[test]
fn what_commands_name_and_carry_adds() {
    let world = world();
    let named = job(&task("t", "check = ['{job_dir}/./scripts//run.sh', 'x']"))
        .replace("[gate]\nrun = \"true\"", "[gate]\nrun = 'sh {job_dir}/gate.sh'");
    let expected = [("gate.sh".to_owned(), 7, false), ("scripts/run.sh".to_owned(), 5, true)];
    assert_eq!(carried(&world, &named), expected);
    let servers = "[mcp.docs]\nrun = 'sh {job_dir}/gate.sh'\nenv = { LIB = '{job_dir}/scripts/lib/one.py' }\n";
    let paths: Vec<String> =
        carried(&world, &format!("{}{servers}", job(&task("t", "")))).into_iter().map(|file| file.0).collect();
    assert_eq!(paths, ["gate.sh", "scripts/lib/one.py"]);
    let more = format!("carry = ['scripts/**/*.py', 'scripts/run.sh']\n{named}");
    let paths: Vec<String> = carried(&world, &more).into_iter().map(|file| file.0).collect();
    assert_eq!(paths, ["gate.sh", "scripts/lib/one.py", "scripts/run.sh"]);
    let all = format!("carry = 'scripts/**'\n{}", job(&task("t", "")));
    let paths: Vec<String> = carried(&world, &all).into_iter().map(|file| file.0).collect();
    assert_eq!(paths, ["scripts/lib/one.py", "scripts/notes.md", "scripts/run.sh"]);
    assert_eq!(carried(&world, &job(&task("t", ""))), []);
}

#[test]
fn what_cannot_travel_is_a_problem_with_its_place() {
    let world = world();
    std::os::unix::fs::symlink("/etc/hostname", world.root().join("scripts/host")).expect("a link");
    let help = "(help: workers on other machines need it; name fewer or smaller files, or commit it to the repository)";
    let text = format!("carry = ['scripts/host', 'none/*', '*.none']\n{}", job(&task("t", "")));
    assert_eq!(
        world.problems(&text),
        [
            format!("1:10: scripts/host cannot be carried to a worker: it is a symbolic link {help}"),
            "1:26: cannot look for \"none/*\": No such file or directory (os error 2) (help: `carry` is relative to the job file's folder, e.g. \"scripts/**\")".to_owned(),
            "1:36: \"*.none\" matches no file in ROOT (help: `carry` is relative to the job file's folder, e.g. \"scripts/**\")".to_owned(),
        ]
    );
    world.write("big/0", &"x".repeat((1 << 20) + 1));
    let text = job(&task("t", "check = '{job_dir}/big/0'"));
    assert_eq!(
        world.problems(&text),
        [format!("13:9: big/0 cannot be carried to a worker: it has 1048577 bytes, and 1 MiB is the most {help}")]
    );
    (0..9).for_each(|n| world.write(&format!("big/{n}"), &"x".repeat(1_000_000)));
    let text = format!("carry = 'big/**'\n{}", job(&task("t", "")));
    assert_eq!(
        world.problems(&text),
        [format!("1:9: with big/8, the carried files have more than 8 MiB together {help}")]
    );
}

#[test]
fn labels_and_limits_of_tasks_and_gates() {
    let world = world();
    let tasks = [
        map("m-{stem}", "*.txt", "labels = ['rust', 'big']\nidle_timeout = '5m'\nwip_every = 'off'"),
        task("long", ""),
        task("short", "timeout = '1m'"),
        task("often", "wip_every = '5s'"),
        task("ruled", "").replace("'go'", "'rules'"),
    ];
    world.write("r.yml", "id: x\n");
    let head = HEAD.replace("run = \"true\"\n[gate]\nrun = \"true\"", "run = \"true\"\n[agent.rules]\nkind = 'codemod'\nrules = 'r.yml'\n[gate]\nrun = \"true\"\nlabels = 'trusted'\nidle_timeout = '90s'");
    let plan = world.plan(&format!("{head}{}", tasks.concat()));
    let wip: Vec<u64> = plan.tasks.iter().map(|task| task.wip_every_ms).collect();
    assert_eq!(wip, [0, 60_000, 0, 5_000, 0]);
    assert_eq!((plan.tasks[0].labels.join("+"), plan.tasks[0].idle_timeout_ms), ("rust+big".to_owned(), 300_000));
    let gate = plan.gate.as_ref().expect("a gate");
    assert_eq!((gate.labels.join("+"), gate.idle_timeout_ms), ("trusted".to_owned(), 90_000));
    let text = crate::plan::PlanView::new(&plan, &Default::default()).text(60);
    assert!(text.contains("on rust+big") && text.contains("gates on trusted only"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
}

#[test]
fn one_path_on_two_machines_is_two_repositories() {
    let world = world();
    let text = job(&task("t", ""));
    let on = |host: Option<&str>| {
        let options = crate::plan::ExpandOptions { host: host.map(str::to_owned), ..options() };
        let plan = world.expand_with(&text, &options).expect("a plan");
        let parallel = plan.budget.expect("a budget").parallel;
        assert_eq!(parallel == longhaul_common::spec::PARALLEL_MAX, host.is_some(), "workers bound a job on a server");
        (plan.repo.expect("a repository").key, plan.source_path, plan.nodes[0].key.clone())
    };
    let (here, one, two) = (on(None), on(Some("one")), on(Some("two")));
    let root = world.root().canonicalize().expect("it exists");
    assert_eq!(here.0, longhaul_common::layout::repo_key(&root));
    assert!(one.0 != two.0 && one.0 != here.0 && one.0.starts_with("repo-"));
    assert!(one.1.starts_with("one:/") && here.1.starts_with('/'), "{}", one.1);
    assert!(one.2 == here.2 && one.2 == two.2, "a machine's name is in no node key");
}
