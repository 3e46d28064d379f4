//! The text of the job file.

use super::{Toolchain, below};

/// Gate of a repository in which nothing was recognised: red on the base, so nothing is spent.
const NO_GATE: &str = "echo 'longhaul.toml: name the command that proves a change good' >&2; exit 1";

/// The commented file, in the order a person reads it.
pub(super) fn job_file(found: &[Toolchain]) -> String {
    let mut out = String::new();
    head(found, &mut out);
    repository(found, &mut out);
    work(found, &mut out);
    gate(found, &mut out);
    limits(&mut out);
    out
}

fn head(found: &[Toolchain], out: &mut String) {
    out.push_str("# A job of Longhaul. `longhaul plan` shows what it would do and spends nothing;\n");
    out.push_str("# `longhaul run` does it. Everywhere a string is a shell line and an array an argv.\n");
    if !found.is_empty() {
        let names: Vec<&str> = found.iter().map(|toolchain| toolchain.name.as_str()).collect();
        out.push_str(&format!("# Recognised here: {}.\n", names.join(", ")));
    }
    out.push_str(
        "\n# What the job is for, in a sentence; every agent reads it.\ngoal = \"Rename old_name to new_name\"\n",
    );
}

fn repository(found: &[Toolchain], out: &mut String) {
    out.push_str("\n[[repo]]\npath = \".\"          # relative to this file\n");
    out.push_str("base = \"HEAD\"       # branch, tag or commit; pinned when the job starts\n");
    match joined(found, |toolchain| toolchain.fix.as_deref()) {
        Some(fix) => line(out, "fix", &fix, "formatter, run on a result before its checks"),
        None => out.push_str("# fix = \"…\"         # formatter, run on a result before its checks\n"),
    }
    out.push_str("\n# How a fresh workspace becomes able to build and test.\n[repo.env]\n");
    match joined(found, |toolchain| toolchain.setup.as_deref()) {
        Some(setup) => line(out, "setup", &setup, "run again when a lockfile changed"),
        None => out.push_str("# setup = \"…\"       # run again when a lockfile changed\n"),
    }
    let cache: Vec<String> = found
        .iter()
        .flat_map(|toolchain| toolchain.cache.iter().map(|cache| quoted(&below(&toolchain.folder, cache))))
        .collect();
    out.push_str(&format!("cache = [{}]  # folders kept between attempts\n", cache.join(", ")));
    out.push_str("secrets = []        # names of variables for checks and gates, never for agents\n");
    out.push_str("pass = []           # names of further variables that agents may see too\n");
    for toolchain in found {
        if let Some((path, regenerate)) = &toolchain.derived {
            out.push_str("\n# Made again at landing, so that subtasks cannot collide in it.\n[[repo.derived]]\n");
            out.push_str(&format!("paths = [{}]\n", quoted(&below(&globset::escape(&toolchain.folder), path))));
            out.push_str(&format!("regenerate = {}\n", quoted(&inside(&toolchain.folder, regenerate))));
        }
    }
}

fn work(found: &[Toolchain], out: &mut String) {
    let first = found.first();
    let sources = first
        .map_or_else(|| "**/*".to_owned(), |toolchain| below(&globset::escape(&toolchain.folder), &toolchain.sources));
    out.push_str("\n# Agents do the work. A command gets the subtask as JSON on stdin; {files} are its files and\n");
    out.push_str("# {job_dir} is this file's folder.\n[agent.rename]\nkind = \"command\"\n");
    out.push_str("run = 'sed -i \"s/old_name/new_name/g\" {files}'\n");
    out.push_str(
        "# [agent.rules]\n# kind = \"codemod\"     # ast-grep rules, applied in process\n# rules = \"rules.yml\"\n",
    );
    out.push_str("\n# One subtask for each file that matches.\n[[map]]\nid = \"rename-{path}\"\n");
    out.push_str(&format!("files = {}\ncontaining = 'old_name'\n", quoted(&sources)));
    out.push_str("# exclude = [\"vendor/**\"]\n# group = \"file\"      # or \"directory\", a number of files, \"tokens:20000\"\n");
    out.push_str("pilot = 3           # these first; the rest waits for a yes\n");
    out.push_str("ladder = [\"rename\"] # cheapest first; the next gets what the last one left\n");
    out.push_str("left = 'old_name'   # work is left while this matches\n");
    match joined(found, |toolchain| toolchain.check.as_deref()) {
        Some(check) => line(out, "check", &check, "each result must pass it"),
        None => out.push_str("# check = \"…\"       # each result must pass it\n"),
    }
    out.push_str("\n# A subtask written out; without `write` it claims the whole repository.\n");
    out.push_str(
        "# [[task]]\n# id = \"clean-up\"\n# after = [\"rename-*\"]\n# write = [\"docs/**\"]\n# ladder = [\"rename\"]\n",
    );
}

fn gate(found: &[Toolchain], out: &mut String) {
    out.push_str(
        "\n# Runs on the integrated tree before anything lands, and on the base before anything is spent.\n[gate]\n",
    );
    match joined(found, |toolchain| toolchain.gate.as_deref()) {
        Some(gate) => out.push_str(&format!("run = {}\n", quoted(&gate))),
        None => out.push_str(&format!("# Nothing to test with was recognised: name it.\nrun = {}\n", quoted(NO_GATE))),
    }
    out.push_str("# final = \"…\"       # once more at the end of the job\nbatch = 8           # most subtasks gated together\ntimeout = \"30m\"\n");
}

fn limits(out: &mut String) {
    out.push_str("\n# What is left out has no limit.\n[budget]\nhours = 12\n# usd = 20\n# tokens = 5_000_000\n");
    out.push_str("# parallel = 4      # one a core when left out\n# attempts = 500\n");
    out.push_str("\n[policy]\n# Paths no patch may touch outside its footprint; tests and CI when left out.\n# protect = [\"tests/**\"]\n");
    out.push_str("# max_file = \"5MB\"\n# max_files = 2000\n");
}

fn line(out: &mut String, key: &str, command: &str, comment: &str) {
    out.push_str(&format!("{key} = {}  # {comment}\n", quoted(command)));
}

/// One command of every toolchain that has it, each in its folder.
fn joined<'a>(found: &'a [Toolchain], part: impl Fn(&'a Toolchain) -> Option<&'a str>) -> Option<String> {
    let parts: Vec<String> =
        found.iter().filter_map(|toolchain| Some(inside(&toolchain.folder, part(toolchain)?))).collect();
    if parts.is_empty() { None } else { Some(parts.join(" && ")) }
}

/// A command run in a folder of the repository.
fn inside(folder: &str, command: &str) -> String {
    match folder {
        "" => command.to_owned(),
        folder => format!("(cd '{}' && {command})", folder.replace('\'', "'\\''")),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
