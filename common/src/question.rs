//! What agents ask people and what people decide: when two questions are the same one, and both in
//! words.
//!
//! Coordinator and worker have to agree on it: the one merges what is the same, the other goes by
//! the answers.

use longhaul_proto::{Answer, Decision, Question, QuestionKind};

use crate::text::clip_head;

/// Longest question, and longest command that is asked for, in bytes.
pub const QUESTION_BYTES_MAX: usize = 4_000;

/// Longest part of a question that a sentence about it quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 600;

/// The name of a kind, in `--json` too.
pub fn kind_name(kind: QuestionKind) -> &'static str {
    match kind {
        QuestionKind::Unspecified | QuestionKind::Words => "question",
        QuestionKind::Command => "command",
        QuestionKind::Read => "read",
        QuestionKind::Edit => "edit",
        QuestionKind::Execute => "execute",
        QuestionKind::Fetch => "fetch",
    }
}

/// Whether it wants words; a yes answers all others.
pub fn wants_words(question: &Question) -> bool {
    matches!(question.kind(), QuestionKind::Unspecified | QuestionKind::Words)
}

/// The same for all questions that one answer is for, whoever asks: the same words, the same
/// beginning of commands, or the same kind of action.
pub fn key(question: &Question) -> (&'static str, String) {
    let what = match wants_words(question) {
        true => question.text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" "),
        false => question.prefix.join("\0"),
    };
    (kind_name(question.kind()), what)
}

/// Whether one answer is for both.
pub fn is_same(one: &Question, two: &Question) -> bool {
    key(one) == key(two)
}

/// Whether a decision leaves nothing to ask. Words about an action are advice: it may be asked for
/// again.
pub fn settles(decision: &Decision, question: &Question) -> bool {
    let about = decision.question.as_ref().is_some_and(|about| is_same(about, question));
    let fits = match decision.answer() {
        Answer::No => true,
        Answer::Yes => !wants_words(question),
        Answer::Words => wants_words(question),
        Answer::Unspecified => false,
    };
    about && fits
}

/// The last decision that settles a question.
pub fn settled<'a>(decisions: &'a [Decision], question: &Question) -> Option<&'a Decision> {
    decisions.iter().rev().find(|decision| settles(decision, question))
}

/// What a yes is about, after "allows" or "wants to".
fn action(question: &Question) -> String {
    let text = clip_head(&question.text, QUOTED_BYTES_MAX);
    match question.kind() {
        QuestionKind::Command => format!("run `{text}`"),
        QuestionKind::Read => format!("read: {text}"),
        QuestionKind::Edit => format!("edit: {text}"),
        QuestionKind::Fetch => format!("fetch: {text}"),
        _ => format!("use a tool: {text}"),
    }
}

/// What waits for an answer, in a sentence. The text of a command that a yes reaches beyond says so.
pub fn sentence(question: &Question) -> String {
    let agent = if question.agent.is_empty() { "an agent" } else { question.agent.as_str() };
    if wants_words(question) {
        return format!("{agent} asks: {}", question.text);
    }
    let prefix = question.prefix.join(" ");
    let wider = question.kind() == QuestionKind::Command && prefix != question.text;
    let holds = if wider { format!(" (a yes is for all that begins with `{prefix}`)") } else { String::new() };
    format!("{agent} wants to {}{holds}", action(question))
}

/// A decision in a sentence, for the agents it is for.
pub fn decided(decision: &Decision) -> String {
    let Some(question) = &decision.question else { return decision.text.clone() };
    let by = if decision.by.is_empty() { "a person" } else { decision.by.as_str() };
    let because = if decision.text.is_empty() { String::new() } else { format!(" ({})", decision.text) };
    if wants_words(question) {
        let asked = clip_head(&question.text, QUOTED_BYTES_MAX);
        return match decision.answer() {
            Answer::No => format!("asked {asked:?}, {by} gives no answer{because}: decide yourself"),
            _ => format!("asked {asked:?}, {by} answers: {}", decision.text),
        };
    }
    let what = match question.kind() {
        QuestionKind::Command => format!("commands that begin with `{}`", question.prefix.join(" ")),
        kind => format!("actions of the kind {}", kind_name(kind)),
    };
    match decision.answer() {
        Answer::Yes => format!("{by} allows {what}"),
        Answer::No => format!("{by} does not allow {what}{because}: go on without"),
        _ => format!("asked whether it may {}, {by} says: {}", action(question), decision.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(prefix: &str, text: &str) -> Question {
        Question {
            kind: QuestionKind::Command.into(),
            prefix: prefix.split(' ').map(str::to_owned).collect(),
            text: text.into(),
            agent: "coder".into(),
        }
    }

    fn words(text: &str) -> Question {
        Question { kind: QuestionKind::Words.into(), text: text.into(), ..Question::default() }
    }

    fn answer(question: &Question, answer: Answer, text: &str) -> Decision {
        Decision { question: Some(question.clone()), answer: answer.into(), text: text.into(), by: "anna".into() }
    }

    #[test]
    fn commands_are_the_same_by_what_a_yes_is_about_and_questions_by_their_words() {
        let push = command("git push", "git push origin a");
        assert!(is_same(&push, &Question { agent: "other".into(), ..command("git push", "git push origin b") }));
        assert!(!is_same(&push, &command("git", "git push origin a")));
        assert!(is_same(&words("Which  one?"), &words("which one?\n")));
        assert!(!is_same(&words("Which one?"), &words("Which two?")));
        let edit = Question { kind: QuestionKind::Edit.into(), text: "a.rs".into(), ..Question::default() };
        assert!(is_same(&edit, &Question { text: "b.rs".into(), ..edit.clone() }));
        assert!(!is_same(&edit, &Question { kind: QuestionKind::Fetch.into(), ..edit.clone() }));
    }

    #[test]
    fn the_last_answer_of_the_right_kind_settles() {
        let (push, which) = (command("git push", "git push"), words("Which?"));
        let all = [
            answer(&push, Answer::Yes, ""),
            answer(&push, Answer::No, "not today"),
            answer(&push, Answer::Words, "try a branch"),
            answer(&which, Answer::Yes, ""),
        ];
        assert_eq!(settled(&all, &push).map(Decision::answer), Some(Answer::No), "words about an action are advice");
        assert_eq!(settled(&all, &which), None, "a yes is no answer to words");
        assert!(settles(&answer(&which, Answer::Words, "the first"), &which));
        assert!(settles(&answer(&which, Answer::No, ""), &which));
        assert_eq!(settled(&all, &command("git", "git push")), None);
    }

    #[test]
    fn sentences_say_how_far_a_yes_reaches() {
        let push = command("git push", "git push origin a");
        assert_eq!(
            sentence(&push),
            "coder wants to run `git push origin a` (a yes is for all that begins with `git push`)"
        );
        assert_eq!(sentence(&command("make", "make")), "coder wants to run `make`");
        assert_eq!(sentence(&words("Which?")), "an agent asks: Which?");
        assert_eq!(decided(&answer(&push, Answer::Yes, "")), "anna allows commands that begin with `git push`");
        assert_eq!(
            decided(&answer(&push, Answer::No, "later")),
            "anna does not allow commands that begin with `git push` (later): go on without"
        );
        assert_eq!(decided(&answer(&words("Which?"), Answer::Words, "A")), "asked \"Which?\", anna answers: A");
    }
}
