//! How full the window is, and what goes first: old output becomes a pointer to its file, long
//! before the limit; a summary follows when that no longer helps.

use super::history::{CallResult, Entry, History, Part};

/// The last entries, whose output is never folded.
const RECENT_ENTRIES: usize = 6;

/// Shorter output stays, in bytes: a pointer is no shorter.
const OUTPUT_BYTES_MIN: usize = 400;

/// Sizes of one window, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What the conversation may take: the window without the largest answer and a margin.
    pub room: usize,
    /// From here on old output is folded.
    pub fold_at: usize,
    /// From here on a summary is written.
    pub summarise_at: usize,
    /// What a summary may take.
    pub summary: usize,
    /// What the tools, the system's text and the task may take, which open every generation: beside them
    /// and a summary there has to be room to work in.
    pub opening: usize,
}

impl Window {
    /// Of a model with this window and answers of this size.
    pub fn new(context_tokens: u64, answer_tokens: u64) -> Self {
        let context = usize::try_from(context_tokens).unwrap_or(usize::MAX);
        let answer = usize::try_from(answer_tokens).unwrap_or(usize::MAX);
        // A tenth is for what is counted differently by the provider.
        let room = (context / 10 * 9).saturating_sub(answer).max(context / 4);
        let part = |percent: usize| room / 100 * percent;
        Self { room, fold_at: part(50), summarise_at: part(75), summary: part(20), opening: part(45) }
    }
}

/// The entries with old output folded; `None` when that would free less than a tenth of `room`.
pub fn fold(history: &History, room: usize) -> Option<Vec<Entry>> {
    let old = history.entries().len().saturating_sub(RECENT_ENTRIES);
    let folded = history.entries().iter().enumerate().map(|(at, entry)| match entry {
        Entry::Results { results } if at < old => {
            Entry::Results { results: results.iter().map(folded_result).collect() }
        }
        other => other.clone(),
    });
    let folded: Vec<Entry> = folded.collect();
    let after: usize = folded.iter().map(Entry::tokens).sum();
    (history.tokens().saturating_sub(after) * 10 >= room).then_some(folded)
}

fn folded_result(result: &CallResult) -> CallResult {
    let bytes: usize = result.parts.iter().map(bytes).sum();
    if bytes < OUTPUT_BYTES_MIN {
        return result.clone();
    }
    let place = match &result.file {
        Some(file) => format!("all of it is in {file}, which may be gone; else call {} again", result.name),
        None => format!("call {} again if you need it", result.name),
    };
    let text = format!("[{bytes} bytes of output folded to save room; {place}]");
    CallResult { parts: vec![Part::text(text)], ..result.clone() }
}

fn bytes(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } => text.len(),
        Part::Image(image) => image.base64.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Image;
    use super::*;

    fn results(text: String) -> Entry {
        let result = |id: &str, part: Part, file: Option<&str>| CallResult {
            id: id.into(),
            name: "shell".into(),
            free: false,
            in_words: false,
            parts: vec![part],
            failed: false,
            file: file.map(str::to_owned),
        };
        let image = Image { media_type: "image/png".into(), base64: "A".repeat(500), width: 10, height: 10 };
        Entry::Results {
            results: vec![
                result("1", Part::text(text), Some("/t/1.txt")),
                result("2", Part::text("short"), None),
                result("3", Part::Image(image), None),
            ],
        }
    }

    #[test]
    fn old_output_becomes_a_pointer_and_nothing_else_changes() {
        let mut history = History::default();
        history.push(Entry::user("the task".repeat(300)));
        for number in 0..8 {
            history.push(results(format!("line {number}\n").repeat(500)));
        }
        let folded = fold(&history, 10_000).expect("much to fold");
        assert_eq!(folded.len(), history.entries().len());
        assert_eq!(folded[0], history.entries()[0]);
        assert_eq!(folded[3..], history.entries()[3..], "the latest stay");
        let Entry::Results { results } = &folded[1] else { panic!("{:?}", folded[1]) };
        let text = |at: usize| match &results[at].parts[0] {
            Part::Text { text, .. } => text.clone(),
            Part::Image(_) => "a picture".to_owned(),
        };
        assert!(text(0).starts_with("[3500 bytes of output folded") && text(0).contains("/t/1.txt"), "{}", text(0));
        assert_eq!(text(1), "short");
        assert!(text(2).contains("call shell again"));
        assert_eq!(fold(&History::of(folded, 1), 10_000), None, "nothing more to gain");
    }

    #[test]
    fn sizes_leave_room_for_the_answer() {
        for (context, answer) in [(272_000, 32_000), (8_000, 1_500), (200_000, 32_000), (4_000, 4_000)] {
            let window = Window::new(context, answer);
            assert!(window.fold_at < window.summarise_at && window.summarise_at < window.room);
            assert!(window.room < context as usize && window.summary * 2 < window.summarise_at);
            assert!(window.opening + window.summary < window.summarise_at);
        }
    }
}
