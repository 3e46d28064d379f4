//! Budgets of job and subtask, deadline and breaker, command rules, whether tests may change.

use super::{HEAD, TASK, after_head, parsed};
use crate::spec::{BreakerRule, CommandDecision, Interval, TestsRule};

#[test]
fn every_key_is_read() {
    let text = format!(
        "{HEAD}{TASK}budget = {{ usd = 0.5, tokens = 9 }}\ntests = 'may-change'\n[budget]\ndeadline = '07:05'\n\
         breaker = '9 of 10'\n[policy]\nask_wait = '90s'\ndiff_lines_max = 7\ndiff_files_max = 8\n[[policy.command]]\nprefix = ['git', 'push']\ndecide = 'deny'\n"
    );
    let file = parsed(&text).expect("right");
    let work = file.tables()[0].work();
    let own = work.budget.expect("its own");
    assert_eq!((own.usd.as_ref().map(|at| at.value), own.tokens.as_ref().map(|at| at.value)), (Some(0.5), Some(9)));
    assert_eq!(work.tests.map(|at| at.value), Some(TestsRule::MayChange));
    let at = file.budget.deadline.as_ref().expect("a time").value;
    assert_eq!((at.hour(), at.minute()), (7, 5));
    assert_eq!(file.budget.breaker.as_ref().map(|at| at.value), Some(BreakerRule { failed: 9, of: 10 }));
    assert_eq!(file.policy.diff_lines_max.as_ref().map(|at| at.value), Some(7));
    assert_eq!(file.policy.diff_files_max.as_ref().map(|at| at.value), Some(8));
    assert_eq!(file.policy.ask_wait.as_ref().map(|at| at.value), Some(Interval(90_000)));
    let rule = &file.policy.command[0];
    assert_eq!((rule.prefix.len(), rule.decide.value), (2, CommandDecision::Deny));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nbudget = { usd = 0.0, tokens = 0 }\n[[policy.command]]\nprefix = []\n\
         decide = 'ask'\n",
        &[
            "12:18: `usd` must be more than zero, not 0 (help: leave it out for no limit)",
            "12:32: `tokens` must be at least 1, not 0 (help: raise it, or leave it out)",
            "14:10: a command rule without its words (help: write the program and its first arguments, e.g. [\"git\", \"push\"])",
        ],
    );
}

#[test]
fn a_wait_for_people_has_bounds() {
    let wait = |text: &str| parsed(&format!("{HEAD}{TASK}[policy]\nask_wait = '{text}'\n"));
    for (text, ms) in [("off", 0), ("1s", 1_000), ("1h", 3_600_000)] {
        assert_eq!(wait(text).expect(text).policy.ask_wait.map(|at| at.value), Some(Interval(ms)), "{text}");
    }
    let problem =
        "`ask_wait` must be 1 s to 60 min: an agent that waits holds its slot (help: write a time between, or \"off\")";
    for text in ["2h", "1ms"] {
        let job = format!("[[task]]\nid = 'a'\nladder = ['rules']\n[policy]\nask_wait = '{text}'\n");
        after_head(&job, &[&format!("13:12: {problem}")]);
    }
}
