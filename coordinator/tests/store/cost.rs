//! What 100,000 attempts cost (or `LONGHAUL_COST_ATTEMPTS`): `cargo nextest run -p longhaul-coordinator --test store --run-ignored
//! all cost --no-capture`.

use std::path::Path;
use std::time::Instant;

use longhaul_common::git::Git;
use longhaul_coordinator::repos::{Prune, maintain, prune};

use crate::world::{World, random};

/// How many, where the environment says nothing else.
const ATTEMPTS: u64 = 100_000;

fn disk(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(bytes, files), entry| {
        let data = entry.metadata().expect("there");
        match data.is_dir() {
            true => {
                let (more, inside) = disk(&entry.path());
                (bytes + more, files + inside)
            }
            false => (bytes + data.blocks() * 512, files + 1),
        }
    })
}

#[test]
#[ignore = "a measurement of a minute"]
fn a_hundred_thousand_attempts() {
    let wanted = std::env::var("LONGHAUL_COST_ATTEMPTS").ok().and_then(|count| count.parse().ok());
    let attempts: u64 = wanted.unwrap_or(ATTEMPTS) / 100 * 100;
    let base: Vec<_> = (0..400_u64).map(|at| (format!("src/m{}/f{at}.rs", at % 20), random(at, 2_000))).collect();
    let files: Vec<_> = base.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    let world = World::new(&files);
    let git = Git::at(&world.store);
    // In packs of 1,000 attempts each, as consolidation would leave them, none with a ref.
    let begin = Instant::now();
    for round in 0..100_u64 {
        let mut input = Vec::new();
        for at in 0..attempts / 100 {
            let number = round * (attempts / 100) + at;
            let content = format!("// attempt {number}\nfn f{number}() {{}}\n");
            let path = &base[(number % 400) as usize].0;
            let head = format!(
                "commit refs/tmp/{number}\ncommitter A <a@b.c> {number} +0000\ndata 1\nm\nfrom {}\n",
                world.base
            );
            input.extend(format!("{head}M 100644 inline {path}\ndata {}\n{content}\n", content.len()).into_bytes());
            input.extend(
                format!("reset refs/tmp/{number}\nfrom 0000000000000000000000000000000000000000\n\n").into_bytes(),
            );
        }
        // Without refs at the end, fast-import keeps its pack all the same.
        let args = [
            "-c",
            "fastimport.unpackLimit=0",
            "fast-import",
            "--quiet",
            "--force",
            &format!("--export-marks={}", world.folder.path().join("m").display()),
        ];
        git.run_with_input(args, &input).expect("fast-import");
    }
    let built = begin.elapsed();
    let all = git
        .line(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)", "--unordered"])
        .expect("listed");
    let commits: Vec<_> = all
        .lines()
        .filter_map(|line| line.strip_prefix("commit "))
        .filter_map(|id| id.parse().ok())
        .filter(|&id| id != world.base)
        .collect();
    assert_eq!(commits.len() as u64, attempts);
    let refs = git.line(["for-each-ref", "--count=5"]).expect("refs").lines().count();
    println!("built in {built:.1?}; {refs} ref(s); disk (bytes, files): {:?}", disk(&world.store));
    let begin = Instant::now();
    let report = maintain(&world.store).expect("maintained");
    println!("maintain: {:.1?} {report:?}; disk {:?}", begin.elapsed(), disk(&world.store));
    let shown = git.line([
        "-c",
        "uploadpack.hideRefs=refs/",
        "-c",
        "uploadpack.hideRefs=!refs/longhaul/one/",
        "upload-pack",
        "--advertise-refs",
        "--strict",
        &world.store.to_string_lossy(),
    ]);
    println!("advertisement: {} bytes", shown.expect("shown").len());
    let begin = Instant::now();
    let report = prune(&world.store, &Prune { attempts: &commits, keep: &Vec::new }).expect("pruned");
    println!("prune: {:.1?} {report:?}; disk {:?}", begin.elapsed(), disk(&world.store));
    assert_eq!(report.objects % attempts, 0);
    world.fsck();
}
