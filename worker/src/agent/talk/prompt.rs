//! What an agent program is told first: the briefing, and how it works here.

use longhaul_proto::{CommandLine, Task};

use crate::agent::briefing::Briefing;
use crate::agent::split;

/// The prompt of an attempt; `continues` says that it goes on from work in progress.
pub fn prompt(briefing: &Briefing, task: &Task, split_max: u32, continues: bool) -> String {
    let mut text = format!("{}{}", briefing.shared, briefing.own);
    if !task.check.is_empty() {
        let checks: String = task.check.iter().map(|check| format!("- {}\n", shown(check))).collect();
        text.push_str(&format!("# Your work is checked with\n\n{checks}\n"));
    }
    text.push_str(&split::told(split_max));
    text.push_str(CLOSING);
    if continues {
        text.push_str(CONTINUES);
    }
    text
}

/// What holds for every one of them.
const CLOSING: &str = "\
# How to work

Work in the current folder. \
Do not commit, and do not touch .git: your changes are taken from the folder when you are done. \
Nobody can answer questions; decide yourself and say in your last words what you decided. \
When the work is done, stop.
";

const CONTINUES: &str = "
Work on this was interrupted before, and you go on in a folder that holds what was done so far. \
Look at its state before you change it.
";

fn shown(command: &CommandLine) -> String {
    if command.shell.is_empty() { shell_words::join(&command.argv) } else { command.shell.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_to_be_done_and_how_that_is_checked() {
        let check = CommandLine { argv: vec!["grep".into(), "two words".into()], ..CommandLine::default() };
        let task = Task { check: vec![check], ..Task::default() };
        let briefing = Briefing { shared: "Modernise.\n\n".into(), own: "src/a.rs\n\n".into() };
        let text = prompt(&briefing, &task, 3, false);
        assert!(text.starts_with("Modernise.\n\nsrc/a.rs\n\n# Your work is checked with\n\n- grep 'two words'\n\n"));
        assert!(text.ends_with("stop.\n") && prompt(&briefing, &task, 0, true).ends_with("before you change it.\n"));
    }
}
