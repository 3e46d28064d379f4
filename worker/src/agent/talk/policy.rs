//! What an agent that asks may do: decided by the kind of action, never by what it calls itself.

use std::sync::Arc;

use longhaul_proto::Permissions;
use serde::Serialize;

use super::event::ToolKind;

/// An answer. There is no "always": each use is asked for, so that each is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes, this once.
    Allow,
    /// No.
    Reject,
}

impl Answer {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Reject => "rejected",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The kind of action.
    pub kind: ToolKind,
    /// The command line, for one that runs a command.
    pub command: Option<String>,
}

/// Rules about single commands: `None` where they say nothing.
pub type CommandRules = Arc<dyn Fn(&str) -> Option<(Answer, String)> + Send + Sync>;

/// Answers by kind.
#[derive(Clone)]
pub struct Policy {
    read: Answer,
    edit: Answer,
    execute: Answer,
    fetch: Answer,
    rules: Option<CommandRules>,
}

impl Policy {
    /// As a plan says it; a word that is not known allows nothing. Rules about single commands come
    /// before the answer for commands.
    pub fn new(may: &Permissions, rules: Option<CommandRules>) -> Self {
        let answer = |word: &str| if word == "allow" { Answer::Allow } else { Answer::Reject };
        Self {
            read: answer(&may.read),
            edit: answer(&may.edit),
            execute: answer(&may.execute),
            fetch: answer(&may.fetch),
            rules,
        }
    }

    /// The answer, and why.
    pub fn answer(&self, asked: &Asked) -> (Answer, String) {
        if let (Some(rules), Some(command)) = (&self.rules, &asked.command)
            && let Some(found) = rules(command)
        {
            return found;
        }
        let (answer, key) = match asked.kind {
            ToolKind::Read => (self.read, "read"),
            ToolKind::Edit => (self.edit, "edit"),
            ToolKind::Fetch => (self.fetch, "fetch"),
            // What is of no known kind may do as much as a command.
            ToolKind::Execute | ToolKind::Other => (self.execute, "execute"),
        };
        (answer, format!("permissions.{key}"))
    }

    /// Whether there is nothing it would say no to but fetching, which no program asks by itself.
    pub fn allows_work(&self) -> bool {
        self.rules.is_none() && [self.read, self.edit, self.execute].iter().all(|&answer| answer == Answer::Allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: ToolKind, command: Option<&str>) -> Asked {
        Asked { kind, command: command.map(str::to_owned) }
    }

    #[test]
    fn kinds_decide_and_what_is_unknown_counts_as_a_command() {
        let allow = || "allow".to_owned();
        let may = Permissions { read: allow(), edit: allow(), execute: "reject".into(), fetch: "perhaps".into() };
        let policy = Policy::new(&may, None);
        for (kind, answer, why) in [
            (ToolKind::Read, Answer::Allow, "permissions.read"),
            (ToolKind::Edit, Answer::Allow, "permissions.edit"),
            (ToolKind::Execute, Answer::Reject, "permissions.execute"),
            (ToolKind::Other, Answer::Reject, "permissions.execute"),
            (ToolKind::Fetch, Answer::Reject, "permissions.fetch"),
        ] {
            assert_eq!(policy.answer(&asked(kind, None)), (answer, why.to_owned()), "{kind:?}");
        }
        assert!(!policy.allows_work());
        assert_eq!(Policy::new(&Permissions::default(), None).answer(&asked(ToolKind::Read, None)).0, Answer::Reject);
    }

    #[test]
    fn rules_about_commands_come_first() {
        let allow = || "allow".to_owned();
        let may = Permissions { read: allow(), edit: allow(), execute: allow(), fetch: allow() };
        let rules: CommandRules =
            Arc::new(|line| line.starts_with("rm ").then(|| (Answer::Reject, "rule `rm`".to_owned())));
        let policy = Policy::new(&may, Some(rules));
        assert_eq!(policy.answer(&asked(ToolKind::Execute, Some("rm -r x"))).0, Answer::Reject);
        assert_eq!(policy.answer(&asked(ToolKind::Execute, Some("ls"))).0, Answer::Allow);
        assert!(!policy.allows_work(), "with rules every command is asked for");
    }
}
