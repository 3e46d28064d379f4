//! What a repository brings along for agents: real programs are told of it what the job lets them be told.

use serde_json::json;

use super::rig::{ALL, Coder, More, Rig};

const FILES: &[(&str, &str)] = &[
    ("AGENTS.md", "Root words.\n"),
    ("AGENTS.override.md", "Other root words.\n"),
    ("CLAUDE.md", "Words for another.\n"),
    ("sub/AGENTS.md", "Near words.\n"),
    ("sub/CLAUDE.md", "Near words for another.\n"),
    ("skills/good/SKILL.md", "---\nname: good\ndescription: A good skill.\n---\n"),
    (".agents/skills/own/SKILL.md", "---\nname: own\ndescription: A skill of its own.\n---\n"),
    (".env", "SAID=yes\nGEMINI_SYSTEM_MD=./system.md\nOPENCODE_CONFIG_CONTENT={\"instructions\":[\"system.md\"]}\n"),
    ("system.md", "Words of a file.\n"),
];

#[test]
fn every_program_is_told_what_the_job_lets_it_and_nothing_else() {
    for coder in ALL {
        let script = json!({"turns": [[(coder.call)("echo \"it said: $SAID\" > one.txt"), {"text": "done"}]]});
        let table = format!("{}skills = [\"skills\"]\n", coder.table);
        let coder = Coder { table: &table, ..*coder };
        let more = More { files: FILES, task: "write = [\"one.txt\", \"sub/new/**\"]\n", ..More::default() };
        let Some(rig) = Rig::of(&coder, &script.to_string(), &more) else { return };
        rig.run();
        assert_eq!(rig.landed("one.txt"), "it said:", "{}: variables of a file of the repository", coder.install);
        let asked = rig.first_asked();
        for (words, times) in [
            ("Root words.", 1),
            ("Near words.", 1),
            ("A good skill.", 1),
            ("Other root words.", 0),
            ("Words for another.", 0),
            ("Near words for another.", 0),
            ("A skill of its own.", 0),
            ("Words of a file.", 0),
        ] {
            assert_eq!(asked.matches(words).count(), times, "{}: {words}\n{asked}", coder.install);
        }
    }
}
