//! What an agent that asks may do: decided by the kind of action, never by what it calls itself, and by
//! a person where the job says so.

use longhaul_common::command::{CommandPolicy, Decision as Judged};
use longhaul_common::question::{QUESTION_BYTES_MAX, settled};
use longhaul_common::text::clip_head;
use longhaul_proto::{Answer as Said, CommandRule, Decision, Permissions, Question, QuestionKind};
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
    /// A person decides, and did not while the session waited: it ends and goes on with the answer.
    Ask,
}

impl Answer {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Reject => "rejected",
            Self::Ask => "a person is asked",
        }
    }

    /// As a plan says it; a word that is not known allows nothing.
    fn of(word: &str) -> Self {
        match word {
            "allow" => Self::Allow,
            "ask" => Self::Ask,
            _ => Self::Reject,
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

/// An answer, why, and with `Ask` the question for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruled {
    /// The answer.
    pub answer: Answer,
    /// Why.
    pub why: String,
    /// What a person is asked.
    pub question: Option<Box<Question>>,
}

impl Ruled {
    /// What a person said that allows nothing.
    pub fn refused(decision: &Decision) -> Self {
        Self::new(Answer::Reject, longhaul_common::question::decided(decision))
    }

    fn new(answer: Answer, why: String) -> Self {
        Self { answer, why, question: None }
    }

    fn ask(kind: QuestionKind, prefix: Vec<String>, text: &str, why: String) -> Self {
        let text = clip_head(text, QUESTION_BYTES_MAX).to_owned();
        let question = Question { kind: kind.into(), prefix, text, agent: String::new() };
        Self { answer: Answer::Ask, why, question: Some(Box::new(question)) }
    }
}

/// Answers by kind.
#[derive(Clone, Debug)]
pub struct Policy {
    may: Permissions,
    /// What people decided so far.
    decisions: Vec<Decision>,
    commands: CommandPolicy,
    /// The job has rules about single commands.
    ruled: bool,
}

impl Policy {
    /// As a plan says it, with what people decided. Rules about single commands come before the answer
    /// for commands.
    pub fn new(may: Permissions, rules: &[CommandRule], decisions: &[Decision]) -> Self {
        let otherwise = match Answer::of(&may.execute) {
            Answer::Allow => Judged::Allow,
            Answer::Reject => Judged::Deny,
            Answer::Ask => Judged::Ask,
        };
        let commands = CommandPolicy::new(rules, otherwise).with_decisions(decisions);
        Self { may, decisions: decisions.to_vec(), commands, ruled: !rules.is_empty() }
    }

    /// What a person decided meanwhile holds from now on.
    pub fn learn(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
        self.commands = self.commands.clone().with_decisions(std::slice::from_ref(decision));
    }

    /// The answer; `title` is what the agent calls the action.
    pub fn answer(&self, asked: &Asked, title: &str) -> Ruled {
        let executes = matches!(asked.kind, ToolKind::Execute | ToolKind::Other);
        match &asked.command {
            Some(command) if self.ruled || executes && Answer::of(&self.may.execute) == Answer::Ask => {
                self.command(command)
            }
            // Rules that nothing can be held against would be no rules; a person sees what it is called.
            None if self.ruled && asked.kind == ToolKind::Execute && Answer::of(&self.may.execute) != Answer::Ask => {
                Ruled::new(Answer::Reject, "the request does not say which command, and the job has rules".to_owned())
            }
            _ => self.action(asked.kind, title),
        }
    }

    fn command(&self, line: &str) -> Ruled {
        let verdict = self.commands.shell(line);
        match verdict.decision {
            Judged::Allow => Ruled::new(Answer::Allow, verdict.because),
            Judged::Deny => Ruled::new(Answer::Reject, verdict.because),
            // A person would not see what the yes is to.
            Judged::Ask if verdict.about.is_empty() || line.len() > QUESTION_BYTES_MAX => {
                let why = "such a line is not asked for; plain, short commands are";
                Ruled::new(Answer::Reject, format!("{}; {why}", verdict.because))
            }
            Judged::Ask => Ruled::ask(QuestionKind::Command, verdict.about, line, verdict.because),
        }
    }

    fn action(&self, kind: ToolKind, title: &str) -> Ruled {
        let (word, key, kind) = match kind {
            ToolKind::Read => (&self.may.read, "read", QuestionKind::Read),
            ToolKind::Edit => (&self.may.edit, "edit", QuestionKind::Edit),
            ToolKind::Fetch => (&self.may.fetch, "fetch", QuestionKind::Fetch),
            // What is of no known kind may do as much as a command.
            ToolKind::Execute | ToolKind::Other => (&self.may.execute, "execute", QuestionKind::Execute),
        };
        let why = format!("permissions.{key}");
        let ruled = match Answer::of(word) {
            Answer::Ask => Ruled::ask(kind, Vec::new(), title, why),
            answer => return Ruled::new(answer, why),
        };
        let decided = ruled.question.as_ref().and_then(|question| settled(&self.decisions, question));
        match decided.map(Decision::answer) {
            Some(Said::Yes) => Ruled::new(Answer::Allow, format!("{}: a person allowed it", ruled.why)),
            Some(_) => Ruled::new(Answer::Reject, format!("{}: a person refused it", ruled.why)),
            None => ruled,
        }
    }

    /// Whether there is nothing it would say no to, or ask for, but fetching, which no program asks by
    /// itself.
    pub fn allows_work(&self) -> bool {
        let words = [&self.may.read, &self.may.edit, &self.may.execute];
        !self.ruled && words.iter().all(|word| Answer::of(word) == Answer::Allow)
    }
}

#[cfg(test)]
mod tests {
    use longhaul_proto::CommandDecision;

    use super::*;

    fn asked(kind: ToolKind, command: Option<&str>) -> Asked {
        Asked { kind, command: command.map(str::to_owned) }
    }

    fn may(read: &str, edit: &str, execute: &str, fetch: &str) -> Permissions {
        Permissions { read: read.into(), edit: edit.into(), execute: execute.into(), fetch: fetch.into() }
    }

    fn rule(prefix: &[&str], decide: CommandDecision) -> CommandRule {
        CommandRule { prefix: prefix.iter().map(|&word| word.to_owned()).collect(), decide: decide.into() }
    }

    fn decided(question: &Question, answer: Said) -> Decision {
        Decision { question: Some(question.clone()), answer: answer.into(), ..Decision::default() }
    }

    #[test]
    fn kinds_decide_and_what_is_unknown_counts_as_a_command() {
        let policy = Policy::new(may("allow", "allow", "reject", "perhaps"), &[], &[]);
        for (kind, answer, why) in [
            (ToolKind::Read, Answer::Allow, "permissions.read"),
            (ToolKind::Edit, Answer::Allow, "permissions.edit"),
            (ToolKind::Execute, Answer::Reject, "permissions.execute"),
            (ToolKind::Other, Answer::Reject, "permissions.execute"),
            (ToolKind::Fetch, Answer::Reject, "permissions.fetch"),
        ] {
            assert_eq!(policy.answer(&asked(kind, Some("make")), "t"), Ruled::new(answer, why.to_owned()), "{kind:?}");
        }
        assert!(!policy.allows_work());
        let none = Policy::new(Permissions::default(), &[], &[]);
        assert_eq!(none.answer(&asked(ToolKind::Read, None), "").answer, Answer::Reject);
    }

    #[test]
    fn rules_about_commands_come_first() {
        let rules = [rule(&["rm"], CommandDecision::Deny)];
        let policy = Policy::new(may("allow", "allow", "allow", "allow"), &rules, &[]);
        assert_eq!(policy.answer(&asked(ToolKind::Execute, Some("rm -r x")), "").answer, Answer::Reject);
        assert_eq!(policy.answer(&asked(ToolKind::Read, Some("rm -r x")), "").answer, Answer::Reject);
        assert_eq!(policy.answer(&asked(ToolKind::Execute, Some("ls")), "").answer, Answer::Allow);
        let unclear = policy.answer(&asked(ToolKind::Execute, Some("ls $(pwd)")), "");
        assert!(unclear.answer == Answer::Reject && unclear.why.contains("plain, short commands"), "{unclear:?}");
        assert!(!policy.allows_work(), "with rules every command is asked for");
        let unnamed = policy.answer(&asked(ToolKind::Execute, None), "make all");
        assert!(unnamed.answer == Answer::Reject && unnamed.why.contains("which command"), "{unnamed:?}");
        assert_eq!(policy.answer(&asked(ToolKind::Other, None), "motto motto").answer, Answer::Allow, "no command");
    }

    #[test]
    fn a_person_is_asked_once_for_what_is_the_same() {
        let rules = [rule(&["git", "push"], CommandDecision::Ask)];
        let permissions = || may("allow", "ask", "ask", "allow");
        let policy = Policy::new(permissions(), &rules, &[]);
        assert!(!policy.allows_work());
        let ask = |policy: &Policy, kind, command| policy.answer(&asked(kind, command), "change a.rs");
        let push = ask(&policy, ToolKind::Execute, Some("git push origin a")).question.expect("asked");
        assert_eq!((push.kind(), push.prefix.join(" ").as_str()), (QuestionKind::Command, "git push"));
        let make = ask(&policy, ToolKind::Execute, Some("make $X")).question.expect("asked as it is");
        assert_eq!((make.text.as_str(), make.prefix.as_slice()), ("make $X", &["make $X".to_owned()][..]));
        let edit = ask(&policy, ToolKind::Edit, None).question.expect("asked");
        assert_eq!((edit.kind(), edit.text.as_str()), (QuestionKind::Edit, "change a.rs"));
        let long = "x".repeat(QUESTION_BYTES_MAX + 1);
        assert_eq!(ask(&policy, ToolKind::Execute, Some(&long)).answer, Answer::Reject, "nobody reads that");

        let decisions = [decided(&push, Said::Yes), decided(&make, Said::No), decided(&edit, Said::Yes)];
        let policy = Policy::new(permissions(), &rules, &decisions);
        for (kind, command, answer) in [
            (ToolKind::Execute, Some("git push origin b"), Answer::Allow),
            (ToolKind::Execute, Some("make $X"), Answer::Reject),
            (ToolKind::Execute, Some("make"), Answer::Ask),
            (ToolKind::Execute, None, Answer::Ask),
            (ToolKind::Edit, None, Answer::Allow),
        ] {
            assert_eq!(ask(&policy, kind, command).answer, answer, "{kind:?} {command:?}");
        }
    }
}
