//! Maps, groups, pilots and dependencies over real temporary repositories.

use longhaul_common::Oid;
use longhaul_proto::Sandbox;

use super::{HEAD, World, after, exists, ids, job, map, node, options, task};
use crate::plan::{digest, expand};

fn sources() -> World {
    World::new(&[
        ("src/b.rs", "lazy_static!"),
        ("src/a.rs", "x\nuse lazy_static!"),
        ("src/deep/mod.rs", "lazy_static!"),
        ("src/none.rs", "nothing"),
        ("src/bin.rs", "lazy_static!\0"),
        ("Cargo.toml", "[package]"),
        ("Cargo.lock", "#"),
        ("src/B.rs", "lazy_static!"),
    ])
}

#[test]
fn maps_are_in_path_order_and_read_the_base_alone() {
    let world = sources();
    world.write("src/new.rs", "lazy_static!");
    world.write("src/none.rs", "lazy_static!");
    let text = job(&map("lazy-{stem}", "src/**/*.rs", "containing = 'lazy_static!'"));
    let plan = world.plan(&text);
    assert_eq!(ids(&plan), ["lazy-B", "lazy-a", "lazy-b", "lazy-mod"]);
    assert_eq!(node(&plan, "lazy-mod").claims, ["src/deep/mod.rs"]);
    assert_eq!(node(&plan, "lazy-a").weight, "x\nuse lazy_static!".len() as u64);
    assert_eq!((plan.author_name.as_str(), plan.author_email.as_str()), ("Ada", "ada@example.org"));
    assert_eq!(digest(&plan), digest(&world.plan(&text)), "the same job gives the same plan");
    assert!(!exists(&world.root().join(".git/longhaul")));
    // `^` stands for the start of a line, not of the file.
    assert_eq!(ids(&world.plan(&job(&map("{stem}", "**", "containing = '^use'")))), ["a"]);
}

#[test]
fn groups() {
    let world = World::new(&[
        ("a/1.txt", &"x".repeat(400)),
        ("a/2.txt", &"x".repeat(400)),
        ("b/3.txt", &"x".repeat(4_000)),
        ("b/4.txt", "x"),
        ("top.txt", "x"),
    ]);
    let grouped = |group: &str| {
        let plan = world.plan(&job(&map("{n}:{dir}", "**/*.txt", &format!("group = {group}"))));
        plan.nodes.iter().map(|node| format!("{}={}", node.id, node.files.join("+"))).collect::<Vec<_>>()
    };
    assert_eq!(grouped("'directory'"), ["1:a=a/1.txt+a/2.txt", "2:b=b/3.txt+b/4.txt", "3:.=top.txt"]);
    assert_eq!(grouped("2"), ["1:a=a/1.txt+a/2.txt", "2:b=b/3.txt+b/4.txt", "3:.=top.txt"]);
    assert_eq!(grouped("3"), ["1:a=a/1.txt+a/2.txt+b/3.txt", "2:b=b/4.txt+top.txt"]);
    // 100 + 100 tokens fit, 1,000 stand alone, and the next group starts anew.
    assert_eq!(grouped("'tokens:200'"), ["1:a=a/1.txt+a/2.txt", "2:b=b/3.txt", "3:b=b/4.txt+top.txt"]);
    assert_eq!(grouped("'tokens:199'").len(), 4);
}

#[test]
fn dependencies_by_id_glob_and_name() {
    let world = sources();
    let maps = map("lazy-{stem}", "src/[ab].rs", "after = ['first']");
    let text = job(&format!(
        "{}{maps}{}{}{}{}",
        task("first", ""),
        task("by-name", "after = ['lazy']"),
        task("by-id", "after = ['lazy-a']"),
        task("by-glob", "after = ['lazy-*', 'fir*']"),
        task("last", "after = ['*']"),
    ));
    let plan = world.plan(&text);
    assert_eq!(ids(&plan), ["first", "lazy-a", "lazy-b", "by-name", "by-id", "by-glob", "last"]);
    assert_eq!(after(&plan, "lazy-b"), ["first"]);
    assert_eq!(after(&plan, "by-name"), ["lazy-a", "lazy-b"]);
    assert_eq!(after(&plan, "by-id"), ["lazy-a"]);
    assert_eq!(after(&plan, "by-glob"), ["first", "lazy-a", "lazy-b"]);
    assert_eq!(after(&plan, "last").len(), 6);
}

#[test]
fn footprints() {
    let world = sources();
    let head = HEAD.replace("[agent", "[[repo.derived]]\npaths = ['**/Cargo.lock']\nregenerate = 'x'\n[agent");
    let text = format!(
        "{head}{}{}{}",
        task("cargo", "write = ['Cargo.*', 'new/*.rs']"),
        task("all", ""),
        map("m-{stem}", "src/[ab].rs", "write = ['Cargo.toml']"),
    );
    let plan = world.plan(&text);
    assert_eq!(node(&plan, "cargo").claims, ["Cargo.toml"], "derived files belong to no footprint");
    assert_eq!(node(&plan, "m-a").claims, ["Cargo.toml", "src/a.rs"]);
    assert_eq!(node(&plan, "m-a").files, ["src/a.rs"]);
    let (all, whole) = (node(&plan, "all"), |at: usize| plan.tasks[at].whole_repository);
    assert!(all.claims.is_empty() && whole(1) && !whole(0) && !whole(2));
    assert!(all.weight > node(&plan, "cargo").weight);
    assert_eq!(plan.repo.expect("a repository").env.expect("an environment").lockfiles, ["Cargo.lock"]);
}

#[test]
fn pilots_are_varied_and_hold_the_others_back() {
    let files: Vec<(String, String)> =
        (0..12).map(|n| (format!("d{}/f{n}.txt", n % 3), "x".repeat(n * 10 + 1))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::new(&files);
    let plan = world.plan(&job(&map("{stem}", "**/*.txt", "pilot = 3")));
    let pilots: Vec<_> = plan.nodes.iter().filter(|node| node.pilot).collect();
    let folders: std::collections::BTreeSet<&str> = pilots.iter().map(|node| &node.files[0][..2]).collect();
    assert_eq!((pilots.len(), folders.len()), (3, 3));
    assert!(
        pilots.iter().map(|node| node.weight).max() > Some(80)
            && pilots.iter().map(|node| node.weight).min() < Some(30)
    );
    assert!(plan.nodes.iter().all(|node| node.pilot != node.behind_pilot));
    let plan = world.plan(&job(&map("{stem}", "**/*.txt", "pilot = 50")));
    assert!(plan.nodes.iter().all(|node| node.pilot && !node.behind_pilot));
    let plan = world.plan(&job(&map("{stem}", "**/*.txt", "")));
    assert!(plan.nodes.iter().all(|node| !node.pilot && !node.behind_pilot));
}

#[test]
fn the_base_is_pinned() {
    let world = sources();
    let text = job(&map("{stem}", "src/*.rs", ""));
    let first = world.plan(&text);
    world.commit(&[("src/later.rs", "x")]);
    let mut pinned = options();
    pinned.base = Some(Oid::from_bytes(&first.repo.as_ref().expect("a repository").base).expect("an object id"));
    assert_eq!(digest(&world.expand_with(&text, &pinned).expect("a plan")), digest(&first));
    assert_eq!(world.plan(&text).nodes.len(), first.nodes.len() + 1);
}

#[test]
fn defaults_and_settings() {
    let world = World::new(&[("scripts/gate.sh", "true"), ("tests/a.rs", ""), ("a", "x")]);
    let text = job(&task("t", ""))
        .replace("[gate]\nrun = \"true\"", "[gate]\nrun = ['sh', './scripts/gate.sh']\n[budget]\nusd = 0.5\nhours = 2");
    let plan = world.plan(&text);
    assert_eq!((plan.tasks[0].max_attempts, plan.tasks[0].timeout_ms), (3, 1_800_000));
    let gate = plan.gate.expect("a gate");
    assert_eq!((gate.batch, gate.timeout_ms), (8, 1_800_000));
    let budget = plan.budget.expect("a budget");
    assert_eq!((budget.usd_micros, budget.wall_ms, budget.tokens), (500_000, 7_200_000, 0));
    assert!(budget.parallel > 0);
    let policy = plan.policy.expect("a policy");
    assert_eq!((policy.sandbox(), policy.network, policy.setup_offline), (Sandbox::WorkspaceWrite, false, false));
    let protect = policy.protect;
    assert!(protect.contains(&"scripts/gate.sh".to_owned()) && protect.contains(&"**/tests/**".to_owned()));
    assert_eq!(policy.judging, ["scripts/gate.sh"]);
    assert!(plan.job_dir.ends_with("/repo") && plan.source_path.ends_with("/repo/longhaul.toml"));
    assert_eq!(plan.repo.expect("a repository").base_name, "HEAD");
    let text = job(&task("t", ""))
        + "\n[policy]\nsandbox = 'off'\nnetwork = true\nhosts = ['*.example.org', '[::1]:80']\nsetup_network = false\n";
    let policy = world.plan(&text).policy.expect("a policy");
    assert_eq!((policy.sandbox(), policy.network, policy.setup_offline), (Sandbox::DangerFullAccess, true, true));
    assert_eq!(policy.hosts, ["*.example.org", "[::1]:80"]);
}

#[test]
fn what_runs_before_a_gate_judges_as_well() {
    let world = World::new(&[("scripts/setup.sh", "true"), ("scripts/db.sh", "true"), ("a", "x")]);
    let env = "[repo.env]\nsetup = 'npm ci && make deps && bash -eu scripts/setup.sh'\n";
    let service = "[[repo.env.services]]\nname = 'db'\nstart = 'sh scripts/db.sh'\n";
    let text = job(&task("t", "")).replace("path = \".\"\n", &format!("path = \".\"\n{env}{service}"));
    let judging = world.plan(&text).policy.expect("a policy").judging;
    assert_eq!(judging, ["GNUmakefile", "Makefile", "makefile", "scripts/db.sh", "scripts/setup.sh"]);
}

#[test]
fn a_large_repository() {
    let files: Vec<(String, String)> = (0..2_000).map(|n| (format!("d{}/f{n}.txt", n % 50), format!("{n}"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::new(&files);
    let plan = world.plan(&job(&format!(
        "{}{}",
        map("{stem}", "**/*.txt", "containing = '7'"),
        task("end", "after = ['map']")
    )));
    let expected = (0..2_000).filter(|n| n.to_string().contains('7')).count();
    assert_eq!(plan.nodes.len(), expected + 1, "several threads find what one would");
    assert!(plan.nodes.windows(2).all(|pair| pair[0].files <= pair[1].files || pair[1].files.is_empty()));
    assert_eq!(node(&plan, "end").deps.len(), expected);
    let file =
        longhaul_common::spec::parse(&world.root().join("longhaul.toml"), &job(&task("a", ""))).expect("a job file");
    assert_eq!(
        expand(&file, &options()).expect("a plan").nodes[0].weight,
        files.iter().map(|(_, text)| text.len() as u64).sum::<u64>()
    );
}
