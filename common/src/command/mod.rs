//! Which commands an agent may run: rules by the beginning of an argv, the longest wins.
//!
//! A rule that denies or asks is matched loosely and one that allows strictly: options between the
//! words of a prefix, a path before the program's name and programs that start others (`env`,
//! `sudo`, `xargs`, `sh -c`) hide nothing from a denial and earn no permission. A shell line is
//! split into its commands where that is certain; any other line is for a person to decide, and so
//! is one with a shell that reads what it runs (`… | sh`). The rules keep an honest agent within what was agreed: what a program does once it runs is for the
//! sandbox to hold.
//!
//! What a person decided about a command is for everything that the same rule asks about, or for the
//! very same command where no rule does. It changes what is asked and nothing that is denied.

mod inner;
mod shell;

pub use shell::{Unclear, commands};

use inner::{STARTERS, line_of_reader, line_of_shell, program, program_of, reads_commands};
use longhaul_proto as proto;
use proto::{Answer, QuestionKind};

/// What becomes of a command, mildest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Decision {
    /// It runs.
    Allow,
    /// A person is asked.
    Ask,
    /// It does not run.
    Deny,
}

impl Decision {
    /// The word of the job file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// A decision and what led to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What becomes of it.
    pub decision: Decision,
    /// The rule or the reason, for the agent and for people.
    pub because: String,
    /// With `Ask`: the beginning of the commands that a yes would be about. Empty where no yes can be
    /// given, because nobody can tell what would run.
    pub about: Vec<String>,
}

/// Commands that begin so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    prefix: Vec<String>,
    decision: Decision,
}

/// The rules of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandPolicy {
    rules: Vec<Rule>,
    otherwise: Decision,
    /// What people decided about what is asked.
    decided: Vec<(Vec<String>, Decision)>,
}

/// Shell lines within shell lines that are followed.
const DEPTH_MAX: usize = 4;

impl CommandPolicy {
    /// The rules of a policy; `otherwise` is for what no rule is about.
    pub fn new(rules: &[proto::CommandRule], otherwise: Decision) -> Self {
        let decision = |rule: &proto::CommandRule| match rule.decide() {
            proto::CommandDecision::Allow => Decision::Allow,
            proto::CommandDecision::Deny => Decision::Deny,
            // What a newer program wrote down is for a person.
            proto::CommandDecision::Ask | proto::CommandDecision::Unspecified => Decision::Ask,
        };
        let rule = |rule: &proto::CommandRule| Rule { prefix: rule.prefix.clone(), decision: decision(rule) };
        Self { rules: rules.iter().map(rule).collect(), otherwise, decided: Vec::new() }
    }

    /// The same with what people decided, oldest first.
    pub fn with_decisions(mut self, decisions: &[proto::Decision]) -> Self {
        for decision in decisions {
            let command = decision.question.as_ref().filter(|question| question.kind() == QuestionKind::Command);
            let answer = match decision.answer() {
                Answer::Yes => Decision::Allow,
                Answer::No => Decision::Deny,
                Answer::Words | Answer::Unspecified => continue,
            };
            self.decided.extend(command.map(|question| (question.prefix.clone(), answer)));
        }
        self
    }

    /// What becomes of a program with its arguments.
    pub fn argv(&self, argv: &[String]) -> Verdict {
        self.judge_all(&[argv.to_vec()], &argv.join(" "), DEPTH_MAX)
    }

    /// What becomes of a shell line: the strictest verdict on any of its commands.
    pub fn shell(&self, line: &str) -> Verdict {
        self.judge_line(line, DEPTH_MAX)
    }

    fn judge_line(&self, line: &str, depth: usize) -> Verdict {
        let commands = match commands(line) {
            Ok(commands) if depth > 0 => commands,
            Ok(_) => return self.unclear(line, "shell lines within shell lines"),
            Err(unclear) => return self.unclear(line, &unclear.to_string()),
        };
        self.judge_all(&commands, line, depth - 1)
    }

    /// The strictest verdict on the commands of a line.
    fn judge_all(&self, commands: &[Vec<String>], line: &str, depth: usize) -> Verdict {
        let verdicts = commands.iter().map(|argv| self.judge(argv, depth));
        let verdict = strictest(verdicts).unwrap_or_else(|| self.fallback(&[]));
        if commands.iter().any(|argv| reads_commands(argv)) {
            return stricter(self.unclear(line, "a shell that reads it"), verdict);
        }
        verdict
    }

    fn judge(&self, argv: &[String], depth: usize) -> Verdict {
        let Some(program) = argv.first().map(|word| program(word)) else { return self.fallback(argv) };
        let own = self.by_rules(argv);
        if let Some(line) = line_of_shell(program, argv) {
            let inner = self.judge_line(line, depth);
            return match own {
                Some(own) => stricter(own, inner),
                // The line says all that the shell does.
                None if self.otherwise == Decision::Ask => inner,
                None => stricter(self.fallback(argv), inner),
            };
        }
        if !STARTERS.contains(&program) {
            return own.unwrap_or_else(|| self.fallback(argv));
        }
        // Where the inner command begins depends on the program's options, so every place counts for
        // what is denied or asked, and none for what is allowed.
        let inner = (1..argv.len()).filter_map(|at| {
            let rest = &argv[at..];
            let line = line_of_shell(program_of(rest), rest).map(|line| self.judge_line(line, depth));
            let read = line_of_reader(program, &argv[at]).map(|line| self.judge_line(line, depth));
            let evaluated = (argv[at] == "eval").then(|| self.judge_line(&argv[at + 1..].join(" "), depth));
            let completed = (program == "xargs" && self.may_become(rest))
                .then(|| self.unclear(&argv.join(" "), "xargs reads the rest of it"));
            let inner = [line, read, evaluated, completed].into_iter().flatten();
            let verdict = strictest(self.by_rules(rest).into_iter().chain(inner))?;
            (verdict.decision > Decision::Allow).then_some(verdict)
        });
        inner.fold(own.unwrap_or_else(|| self.fallback(argv)), stricter)
    }

    /// Whether more words make it one that a rule denies or asks about.
    fn may_become(&self, argv: &[String]) -> bool {
        let words: Vec<&str> = argv.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        let Some((name, words)) = words.split_first() else { return false };
        self.rules.iter().filter(|rule| rule.decision > Decision::Allow).any(|rule| {
            let Some((first, rest)) = rule.prefix.split_first() else { return false };
            program(name) == program(first)
                && words.len() < rest.len()
                && rest.iter().zip(words).all(|(one, two)| one == two)
        })
    }

    /// The longest rule that matches; of several the strictest.
    fn by_rules(&self, argv: &[String]) -> Option<Verdict> {
        let matching = self.rules.iter().filter(|rule| rule.matches(argv));
        let rule = matching.max_by_key(|rule| (rule.prefix.len(), rule.decision))?;
        let because = format!(
            "`{}` is {}",
            rule.prefix.join(" "),
            match rule.decision {
                Decision::Allow => "allowed",
                Decision::Ask => "for a person to decide",
                Decision::Deny => "denied",
            }
        );
        Some(self.decided(Verdict { decision: rule.decision, because, about: rule.prefix.clone() }))
    }

    fn fallback(&self, argv: &[String]) -> Verdict {
        let because = "no rule is about it".to_owned();
        self.decided(Verdict { decision: self.otherwise, because, about: argv.to_vec() })
    }

    /// A line of which nobody can tell what it runs: it is asked for as it is where everything is.
    /// Where only some commands are, no yes can be given, for it could be any of them.
    fn unclear(&self, line: &str, why: &str) -> Verdict {
        let about = if self.otherwise == Decision::Ask { vec![line.to_owned()] } else { Vec::new() };
        let because = format!("it cannot be told what it runs: {why}");
        self.decided(Verdict { decision: Decision::Ask, because, about })
    }

    /// What is asked, as people decided.
    fn decided(&self, verdict: Verdict) -> Verdict {
        if verdict.decision != Decision::Ask {
            return Verdict { about: Vec::new(), ..verdict };
        }
        let found = self.decided.iter().rev().find(|(about, _)| *about == verdict.about && !about.is_empty());
        let Some((about, decision)) = found else { return verdict };
        let word = if *decision == Decision::Allow { "allowed" } else { "refused" };
        let because = format!("a person {word} `{}`", about.join(" "));
        Verdict { decision: *decision, because, about: Vec::new() }
    }
}

impl Rule {
    fn matches(&self, argv: &[String]) -> bool {
        let Some((first, rest)) = self.prefix.split_first() else { return false };
        let Some((name, arguments)) = argv.split_first() else { return false };
        match self.decision {
            // A path may lead to another program of that name.
            Decision::Allow => name == first && arguments.starts_with(rest),
            Decision::Ask | Decision::Deny => program(name) == program(first) && follows(rest, arguments),
        }
    }
}

/// Whether the words come in order, with nothing but options and their values between them.
fn follows(words: &[String], arguments: &[String]) -> bool {
    let Some((word, words)) = words.split_first() else { return true };
    let mut may_be_value = false;
    for (at, argument) in arguments.iter().enumerate() {
        if argument == word {
            return follows(words, &arguments[at + 1..]);
        }
        let is_option = argument.starts_with('-');
        if !is_option && !may_be_value {
            return false;
        }
        may_be_value = is_option;
    }
    false
}

fn strictest(verdicts: impl IntoIterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.into_iter().reduce(stricter)
}

/// The stricter of two; the first where they are as strict, but for one that a yes can be given to
/// behind one that none can be given to.
fn stricter(one: Verdict, two: Verdict) -> Verdict {
    let unaskable = |verdict: &Verdict| verdict.decision == Decision::Ask && verdict.about.is_empty();
    if two.decision > one.decision || two.decision == one.decision && unaskable(&two) { two } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> CommandPolicy {
        let rule = |prefix: &str, decide: proto::CommandDecision| proto::CommandRule {
            prefix: prefix.split(' ').map(str::to_owned).collect(),
            decide: decide.into(),
        };
        use proto::CommandDecision as D;
        let rules = [
            rule("git", D::Allow),
            rule("git push", D::Deny),
            rule("git push --dry-run", D::Allow),
            rule("rm", D::Ask),
            rule("cargo publish", D::Deny),
            rule("npm install", D::Ask),
        ];
        CommandPolicy::new(&rules, Decision::Allow)
    }

    #[test]
    fn the_longest_prefix_wins_and_options_or_paths_hide_nothing() {
        let cases = [
            ("git status", Decision::Allow),
            ("git push origin main", Decision::Deny),
            ("git push --dry-run", Decision::Allow),
            ("git -C /tmp push", Decision::Deny),
            ("git --no-pager -c user.name=x push", Decision::Deny),
            ("git log push", Decision::Allow),
            ("/usr/bin/git push", Decision::Deny),
            ("cargo +nightly publish", Decision::Allow),
            ("cargo --locked publish", Decision::Deny),
            ("echo git push", Decision::Allow),
        ];
        for (line, expected) in cases {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(policy().argv(&argv).decision, expected, "{line}");
        }
    }

    #[test]
    fn programs_that_start_others_earn_nothing_and_hide_nothing() {
        let cases = [
            ("sudo -u root git push", Decision::Deny),
            ("env A=b git push", Decision::Deny),
            ("timeout 5 rm -rf x", Decision::Ask),
            ("find . -name x -exec rm {} +", Decision::Ask),
            ("xargs cargo publish", Decision::Deny),
            ("sh -c 'git push'", Decision::Deny),
            ("bash -lc \"make && git push\"", Decision::Deny),
            ("sudo sh -c 'rm x'", Decision::Ask),
            ("sh -c 'sh -c \"git push\"'", Decision::Deny),
            ("sh -c 'git status'", Decision::Allow),
            ("sh -c -- 'git push'", Decision::Deny),
            ("bash -c -e 'git push'", Decision::Deny),
            ("bash -co errexit 'git push'", Decision::Deny),
            ("bash -c -o pipefail 'git push'", Decision::Deny),
            ("env -S 'git push'", Decision::Deny),
            ("env '-Sgit push'", Decision::Deny),
            ("watch -n 5 'git push'", Decision::Deny),
            ("script -c 'git push' /dev/null", Decision::Deny),
            ("flock lock --command='git push'", Decision::Deny),
            ("env MESSAGE='git push' make", Decision::Allow),
            ("command eval 'git push'", Decision::Deny),
            ("time eval git push", Decision::Deny),
            ("echo push | xargs git", Decision::Ask),
            ("echo push | xargs -n 1 git -q", Decision::Ask),
            ("ls | xargs git add", Decision::Allow),
            ("ls | xargs grep push", Decision::Allow),
        ];
        for (line, expected) in cases {
            assert_eq!(policy().shell(line).decision, expected, "{line}");
        }
    }

    #[test]
    fn a_shell_that_reads_what_it_runs_is_unclear() {
        for line in [
            "echo git push | sh",
            "printf 'git push' | sudo bash -s",
            "bash -euo pipefail",
            "sh < script",
            "sh - < script",
            "cat x | xargs -n1 /bin/sh",
            "env A=b bash",
            "bash -i",
            "printf 'git push' | bash -xs a",
            "cat x | sh /dev/fd/0",
            "sh -c 'cat x | sh'",
            "find . -exec sh ;",
        ] {
            let verdict = policy().shell(line);
            assert_eq!((verdict.decision, verdict.about.len()), (Decision::Ask, 0), "{line}");
        }
        for line in
            ["sh build.sh", "bash -x ./a.sh b", "command -v bash", "find . -name sh", "bash --version", "echo sh"]
        {
            assert_eq!(policy().shell(line).decision, Decision::Allow, "{line}");
        }
        assert_eq!(policy().shell("git push | sh").decision, Decision::Deny);
        assert_eq!(policy().argv(&["sh".to_owned()]).decision, Decision::Ask);
        let asked = CommandPolicy::new(&[], Decision::Ask).shell("echo x | sh");
        assert_eq!(asked.about, ["echo x | sh"], "a yes is to the whole line");
    }

    #[test]
    fn a_line_is_as_strict_as_its_strictest_command_and_what_is_unclear_is_asked() {
        let cases = [
            ("make test && git push", Decision::Deny),
            ("ls | xargs rm", Decision::Ask),
            ("A=1 git push; true", Decision::Deny),
            ("make > out.log 2>&1", Decision::Allow),
            ("$CMD push", Decision::Ask),
            ("git $(echo push)", Decision::Ask),
            ("g*t push", Decision::Ask),
            ("eval \"git push\"", Decision::Ask),
            ("echo 'git push'", Decision::Allow),
            ("", Decision::Allow),
        ];
        for (line, expected) in cases {
            let verdict = policy().shell(line);
            assert_eq!(verdict.decision, expected, "{line}: {verdict:?}");
        }
        assert_eq!(policy().shell("git push").because, "`git push` is denied");
    }

    #[test]
    fn without_a_rule_it_is_as_the_caller_says() {
        let none = CommandPolicy::new(&[], Decision::Ask);
        for (line, about) in
            [("make all", &["make", "all"][..]), ("sh -c 'make all'", &["make", "all"]), ("$X", &["$X"]), ("", &[])]
        {
            let verdict = none.shell(line);
            assert_eq!(
                (verdict.decision, verdict.about),
                (Decision::Ask, about.iter().map(|&word| word.into()).collect())
            );
        }
    }

    fn decision(prefix: &[&str], answer: Answer) -> proto::Decision {
        let prefix = prefix.iter().map(|&word| word.to_owned()).collect();
        let question = proto::Question { kind: QuestionKind::Command.into(), prefix, ..proto::Question::default() };
        proto::Decision { question: Some(question), answer: answer.into(), ..proto::Decision::default() }
    }

    #[test]
    fn a_decision_is_for_what_the_rule_asks_about_and_for_nothing_that_is_denied() {
        assert_eq!(policy().shell("/bin/rm -r a").about, ["rm"]);
        let decided = policy().with_decisions(&[
            decision(&["rm"], Answer::No),
            decision(&["rm"], Answer::Yes),
            decision(&["npm", "install"], Answer::No),
            decision(&["git", "push"], Answer::Yes),
        ]);
        for (line, expected) in [
            ("rm -r a", Decision::Allow),
            ("sudo rm -r a && make", Decision::Allow),
            ("npm install x", Decision::Deny),
            ("git push", Decision::Deny),
            ("rm a && git push", Decision::Deny),
            ("rm $(echo a)", Decision::Ask),
        ] {
            assert_eq!(decided.shell(line).decision, expected, "{line}");
        }
        assert!(decided.shell("rm $(echo a)").about.is_empty(), "it may run anything");
        assert!(policy().shell("rm a; $X").about.is_empty(), "a yes to the one would let the other run");
        assert_eq!(decided.shell("npm install x").because, "a person refused `npm install`");
        let asked = CommandPolicy::new(&[], Decision::Ask).with_decisions(&[decision(&["make", "a"], Answer::Yes)]);
        assert_eq!(asked.shell("make a").decision, Decision::Allow);
        assert_eq!(asked.shell("make a b").decision, Decision::Ask, "the very same command");
    }
}
