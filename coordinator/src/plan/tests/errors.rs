//! Everything that can be wrong between a job file and its repository, with its place.

use super::{HEAD, World, job, map, task};

#[track_caller]
fn check(world: &World, text: &str, expected: &[&str]) {
    let base = longhaul_common::git::Store::open(&world.root()).and_then(|store| store.resolve("HEAD"));
    let base = base.map(longhaul_common::Oid::short).unwrap_or_default();
    let found: Vec<String> = world.problems(text).iter().map(|problem| problem.replace(&base, "BASE")).collect();
    assert_eq!(found, expected, "\nof\n{text}");
}

fn sources() -> World {
    World::new(&[("src/a.rs", "x"), ("src/b/a.rs", "x"), ("src/c.rs", "y")])
}

#[test]
fn repositories_and_bases() {
    let world = sources();
    let base = |extra: &str| job(&task("t", "")).replace("path = \".\"\n", &format!("{extra}\n"));
    check(
        &world,
        &base("path = 'nowhere'"),
        &[
            "4:8: no repository at ROOT/nowhere: No such file or directory (os error 2) (help: `path` is relative to the job file's folder)",
        ],
    );
    check(
        &world,
        &base("path = 'src'"),
        &[
            "4:8: cannot open the repository ROOT/src: \"ROOT/src\" does not appear to be a git repository (help: name the root of a git repository; `git init` makes one)",
        ],
    );
    check(
        &world,
        &base("base = 'mian'"),
        &[
            "4:8: no base: \"mian\" names no commit in ROOT (help: name a branch, a tag or a commit; `git branch -a` lists branches)",
        ],
    );
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
    check(
        &world,
        &text,
        &[
            "12:9: the map `a-{stem}` is empty: \"lib/**\" matched 0 files at BASE (help: correct the globs (`**` crosses folders); only what is committed at the base counts)",
            "20:14: the map `b-{stem}` is empty: \"src/**\" matched 3 files at BASE, `exclude` took 1, 0 of 2 contain /lazy/ (help: correct `containing`, or remove the map if the work is done)",
            "25:11: the map `c-{stem}` is empty: \"src/**\" matched 3 files at BASE, `exclude` took 3 (help: narrow `exclude`, or remove the map)",
        ],
    );
}

#[test]
fn collisions_of_expanded_ids() {
    let world = sources();
    check(
        &world,
        &job(&map("x-{stem}", "src/**/*.rs", "")),
        &[
            "11:6: two subtasks get the id `x-a`: src/a.rs and src/b/a.rs (help: use {path} in the map's id, or different fixed text)",
        ],
    );
    check(
        &world,
        &job(&format!("{}{}", map("x-{stem}", "src/c.rs", ""), task("x-c", ""))),
        &[
            "16:6: two subtasks get the id `x-c`: src/c.rs and the task `x-c` (help: use {path} in the map's id, or different fixed text)",
        ],
    );
    let long = "d".repeat(210);
    let world = World::new(&[(format!("{long}/a").as_str(), "x")]);
    let found = world.problems(&job(&map("{path}", "**", "")));
    assert!(found[0].contains("is too long (help: use {n} or {stem}"), "{found:?}");
}

#[test]
fn submodules_and_large_files_only_where_they_are_claimed() {
    let world = sources();
    world.commit(&[
        (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"),
        ("data/a.bin", "x"),
        ("data/b.bin", "x"),
        ("data/c.txt", "x"),
    ]);
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
    check(
        &world,
        &text,
        &[
            "17:10: `vendor` may write vendor/lib (a submodule), which no patch can hold (help: narrow the globs of `write`)",
            "20:9: the map `d-{stem}` covers data/a.bin, data/b.bin (kept in Git LFS), which no patch can hold (help: add them to `exclude`)",
            "32:10: the map `f-{stem}` may write data/a.bin, data/b.bin (kept in Git LFS), which no patch can hold (help: narrow the globs of `write`)",
        ],
    );
}

#[test]
fn references_known_only_after_expansion() {
    let world = sources();
    let text = job(&format!("{}{}", map("x-{dir}", "src/c.rs", ""), task("t", "after = ['x-scr', 'y-*', 'x-src']")));
    check(
        &world,
        &text,
        &[
            "18:10: unknown subtask `x-scr` in the `after` of `t` (help: did you mean `x-src`?)",
            "18:19: `y-*` in the `after` of `t` matches no subtask (help: `longhaul plan` lists the ids)",
        ],
    );
    let text = job(&format!(
        "{}{}{}",
        map("x-{stem}", "src/c.rs", "after = ['t*']"),
        task("t", "after = ['u']"),
        task("u", "after = ['x-*']")
    ));
    check(
        &world,
        &text,
        &["14:10: subtasks wait for each other: x-c -> t -> u -> x-c (help: remove one of these from an `after`)"],
    );
}

#[test]
fn files_of_the_job_folder() {
    let world = sources();
    world.write("empty.yml", " \n");
    let agents = "[agent.a]\nkind = 'codemod'\nrules = 'no.yml'\n[agent.b]\nkind = 'codemod'\nrules = 'empty.yml'\n[agent.c]\nkind = 'command'\nrun = '{job_dir}/no.sh'\n[agent.d]\nkind = 'command'\nrun = ['{job_dir}/../x']\n";
    let text = format!("{HEAD}{agents}{}", task("t", ""))
        .replace("[gate]\nrun = \"true\"", "[gate]\nrun = '{job_dir}/gate.sh'");
    check(
        &world,
        &text,
        &[
            "9:7: cannot read {job_dir}/gate.sh: No such file or directory (os error 2) (help: `{job_dir}` is the job file's folder; the file must lie below it)",
            "12:9: cannot read the rule file ROOT/no.yml: No such file or directory (os error 2) (help: `rules` is relative to the job file's folder)",
            "15:9: the rule file ROOT/empty.yml is empty (help: write at least one ast-grep rule)",
            "18:7: cannot read {job_dir}/no.sh: No such file or directory (os error 2) (help: `{job_dir}` is the job file's folder; the file must lie below it)",
            "21:7: {job_dir}/../x lies outside the job file's folder (help: `{job_dir}` is the job file's folder; the file must lie below it)",
        ],
    );
    check(
        &world,
        &job(&task("t", "check = '{job_dir}/check.sh'")),
        &[
            "13:9: cannot read {job_dir}/check.sh: No such file or directory (os error 2) (help: `{job_dir}` is the job file's folder; the file must lie below it)",
        ],
    );
}

#[test]
fn too_many_edges() {
    let files: Vec<(String, &str)> = (0..3_000).map(|n| (format!("f{n}.txt"), "x")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let world = World::new(&files);
    let text = job(&format!("{}{}", map("a-{stem}", "*.txt", ""), map("b-{stem}", "*.txt", "after = ['a']")));
    check(
        &world,
        &text,
        &[
            "16:6: 9000000 dependencies; at most 8000000 are allowed, and `b` has most (help: group more files into one subtask, or put one task between the two maps)",
        ],
    );
}

#[test]
fn a_write_that_could_only_be_refused_is_told() {
    let world = sources();
    let head = HEAD.replace("[gate]\nrun = \"true\"", "[gate]\nrun = 'npx jest'");
    let of = |write: &str| format!("{head}{}", task("t", &format!("write = {write}")));
    for write in ["['jest.config.*']", "['{package,package}.json']", "['src/**', '{package.json,jest.config.*}']"] {
        let problems = world.problems(&of(write));
        assert_eq!(problems.len(), 1, "{write}: {problems:?}");
        assert!(problems[0].contains("covers only what the gate or a check goes by"), "{problems:?}");
    }
    for write in ["['src/**']", "['*']", "['package.json']", "['jest.config.js']", "['{src/*,package.json}']"] {
        world.plan(&of(write));
    }
}
