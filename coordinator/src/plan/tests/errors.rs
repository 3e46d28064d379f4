use super::{HEAD, World, job, map, task};

#[track_caller]
fn check(world: &World, text: &str, expected: &[&str]) {
    let base = longhaul_common::git::Store::open(&world.root()).and_then(|store| store.resolve("HEAD"));
    let base = base.map(longhaul_common::Oid::short).unwrap_or_default();
    let found: Vec<String> = world.problems(text).iter().map(|problem| problem.replace(&base, "BASE")).collect();
    if std::env::var_os("BLESS").is_some() { let l = std::panic::Location::caller(); let o = found.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join("\u{1}"); eprintln!("\nBLESS\u{2}{}\u{2}{}\u{2}{o}", l.file().trim_start_matches("/work/main/"), l.line()); return; }
    assert_eq!(found, expected, "\nof\n{text}");
}

fn sources() -> World {
    World::new(&[("src/a.rs", "x"), ("src/b/a.rs", "x"), ("src/c.rs", "y")])
}

#[test]
fn repositories_and_bases() {
    let world = sources();
    let base = |extra: &str| job(&task("t", "")).replace("path = \".\"\n", &format!("{extra}\n"));
    check(&world, &base("path = 'nowhere'"), &["?"]);
    check(&world, &base("path = 'src'"), &["?"]);
    check(&world, &base("base = 'mian'"), &["?"]);
    let mut options = super::options();
    options.base = Some(longhaul_common::Oid([7; 20]));
    let problems = world.expand_with(&job(&task("t", "")), &options).expect_err("no such commit");
    assert!(problems.to_string().contains("the commit this job started from is gone"), "{problems}");
}

#[test]
fn empty_maps_say_what_matched() {
    let world = sources();
    let text = job(&format!(
        "{}{}{}",
        map("a-{stem}", "lib/**", ""),
        map("b-{stem}", "src/**", "exclude = ['src/c.rs']\ncontaining = 'lazy'"),
        map("c-{stem}", "src/**", "exclude = '**/*.rs'"),
    ));
    check(&world, &text, &["?"]);
}

#[test]
fn collisions_of_expanded_ids() {
    let world = sources();
    check(&world, &job(&map("x-{stem}", "src/**/*.rs", "")), &["?"]);
    check(&world, &job(&format!("{}{}", map("x-{stem}", "src/c.rs", ""), task("x-c", ""))), &["?"]);
    let long = "d".repeat(210);
    let world = World::new(&[(format!("{long}/a").as_str(), "x")]);
    let found = world.problems(&job(&map("{path}", "**", "")));
    assert!(found[0].contains("is too long (help: use {n} or {stem}"), "{found:?}");
}

#[test]
fn submodules_and_large_files_only_where_they_are_claimed() {
    let world = sources();
    world.commit(&[(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"), ("data/a.bin", "x"), ("data/b.bin", "x"), ("data/c.txt", "x")]);
    let commit = "0123456789012345678901234567890123456789";
    world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},vendor/lib")]);
    world.git(&["commit", "-q", "-m", "submodule"]);
    let text = job(&format!(
        "{}{}{}{}{}",
        task("whole", ""),
        task("vendor", "write = ['src/**', 'vendor/**']"),
        map("d-{stem}", "data/*", ""),
        map("e-{stem}", "data/*", "exclude = '*/*.bin'"),
        map("f-{stem}", "src/c.rs", "write = ['data/*.bin']"),
    ));
    check(&world, &text, &["?"]);
}

#[test]
fn references_known_only_after_expansion() {
    let world = sources();
    let text = job(&format!("{}{}", map("x-{dir}", "src/c.rs", ""), task("t", "after = ['x-scr', 'y-*', 'x-src']")));
    check(&world, &text, &["?"]);
    let text = job(&format!("{}{}{}", map("x-{stem}", "src/c.rs", "after = ['t*']"), task("t", "after = ['u']"), task("u", "after = ['x-*']")));
    check(&world, &text, &["?"]);
}

#[test]
fn files_of_the_job_folder() {
    let world = sources();
    world.write("empty.yml", " \n");
    let agents = "[agent.a]\nkind = 'codemod'\nrules = 'no.yml'\n[agent.b]\nkind = 'codemod'\nrules = 'empty.yml'\n[agent.c]\nkind = 'command'\nrun = '{job_dir}/no.sh'\n[agent.d]\nkind = 'command'\nrun = ['{job_dir}/../x']\n";
    let text = format!("{HEAD}{agents}{}", task("t", "")).replace("[gate]\nrun = \"true\"", "[gate]\nrun = '{job_dir}/gate.sh'");
    check(&world, &text, &["?"]);
    check(&world, &job(&task("t", "check = '{job_dir}/check.sh'")), &["?"]);
}

#[test]
fn too_many_edges() {
    let files: Vec<(String, &str)> = (0..3_000).map(|n| (format!("f{n}.txt"), "x")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let world = World::new(&files);
    let text = job(&format!("{}{}", map("a-{stem}", "*.txt", ""), map("b-{stem}", "*.txt", "after = ['a']")));
    check(&world, &text, &["?"]);
}
