//! What docs/agents.md tells a user to write and to type is true: every block of a job file can be
//! planned, and every program is named at the version that is tested.

use longhaul_tests::World;
use longhaul_tests::agents;

const PAGE: &str = include_str!("../../../docs/agents.md");

/// The fenced blocks of a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// A job file as its tables, each with its header; what comes before the first has none.
fn tables(text: &str) -> Vec<(String, String)> {
    let mut tables = vec![(String::new(), String::new())];
    for line in text.lines() {
        if line.starts_with('[') {
            let header = line.split_once(" #").map_or(line, |(header, _)| header).trim();
            tables.push((header.to_owned(), String::new()));
        } else if let Some((_, keys)) = tables.last_mut() {
            keys.push_str(&format!("{line}\n"));
        }
    }
    tables
}

/// The whole job file with a block in it, as the page says: a table replaces the one of its name, and
/// one without what makes it whole adds its keys.
fn with(whole: &str, block: &str) -> String {
    let mut all = tables(whole);
    for (header, keys) in
        tables(block).into_iter().filter(|(header, keys)| !(header.is_empty() && keys.trim().is_empty()))
    {
        let is_whole = header.is_empty() || ["kind =", "api ", "id ="].iter().any(|key| keys.contains(key));
        match all.iter_mut().find(|(other, _)| *other == header) {
            Some((_, old)) if is_whole => *old = keys,
            Some((_, old)) => old.push_str(&keys),
            None => all.push((header, keys)),
        }
    }
    all.into_iter().map(|(header, keys)| format!("{header}\n{keys}\n")).collect()
}

#[test]
fn every_block_of_a_job_file_on_the_page_of_agents_can_be_planned() {
    let world = World::new(&[("src/greeting.rs", "// hello\n"), (".mcp.json", "{}")]);
    let blocks = blocks(PAGE, "toml");
    let (whole, others) = blocks.split_first().expect("a whole job file first");
    assert!(whole.starts_with("goal = ") && others.len() >= 9, "{} blocks", blocks.len());
    for block in std::iter::once(whole).chain(others) {
        let is_whole = block == whole;
        let within = |block: &str| if is_whole { block.to_owned() } else { with(whole, block) };
        let text = within(block);
        let planned = |text: &str| {
            std::fs::write(world.repo().join("longhaul.toml"), text).expect("written");
            world.command(&["plan"]).current_dir(world.repo()).output().expect("it starts")
        };
        let out = planned(&text);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("say-goodbye"), "{text}\n{said}");
        // And it is the block that counts: with a key that there is not it cannot be.
        let header = block.lines().find(|line| line.starts_with('[')).expect("a table");
        let broken = within(&block.replacen(header, &format!("{header}\nno_such_key = 1"), 1));
        assert!(!planned(&broken).status.success(), "{broken}");
    }
}

#[test]
fn programs_are_installed_at_the_versions_that_are_tested() {
    let commands: Vec<&str> = PAGE.split("npm install --global ").skip(1).collect();
    let named: Vec<&str> =
        commands.iter().filter_map(|rest| rest.split(|c: char| c.is_whitespace() || c == '`').next()).collect();
    assert!(named.len() >= 6, "{named:?}");
    let pinned: Vec<String> = agents::packages().collect();
    for package in &named {
        assert!(pinned.iter().any(|pinned| pinned == package), "{package} is none of {pinned:?}");
    }
    for program in ["codex", "codex-acp", "claude-agent-acp", "gemini-cli", "opencode-ai"] {
        assert!(named.iter().any(|package| package.contains(program)), "{program} is not on the page: {named:?}");
    }
}
