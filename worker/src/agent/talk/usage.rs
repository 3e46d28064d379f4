//! Tokens that a program says it used.

use serde::Serialize;

/// Tokens used; `input` includes the cached ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// All input.
    pub input: u64,
    /// Of it, from a cache.
    pub cached: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// Of it, reasoning.
    pub reasoning: u64,
}

impl Used {
    /// Both together.
    pub fn with(self, more: Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            cached: self.cached.saturating_add(more.cached),
            output: self.output.saturating_add(more.output),
            reasoning: self.reasoning.saturating_add(more.reasoning),
        }
    }

    /// What this is more than `before`, number by number.
    fn beyond(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            cached: self.cached.saturating_sub(before.cached),
            output: self.output.saturating_sub(before.output),
            reasoning: self.reasoning.saturating_sub(before.reasoning),
        }
    }

    /// Input and output.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// Reads totals of a whole thread, which also count what earlier attempts at it used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    last: Option<Used>,
}

impl Totals {
    /// For a thread that begins, or goes on after so much.
    pub fn new(before: Option<Used>) -> Self {
        Self { last: before }
    }

    /// What was used since the last total.
    pub fn take(&mut self, total: Used) -> Used {
        let since = total.beyond(self.last.unwrap_or_default());
        self.last = Some(total);
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_not_summed() {
        let total = |input, output| Used { input, output, ..Used::default() };
        let mut totals = Totals::new(None);
        assert_eq!(totals.take(total(100, 10)), total(100, 10));
        assert_eq!(totals.take(total(250, 30)), total(150, 20));
        assert_eq!(totals.take(total(250, 30)), total(0, 0), "told twice, counted once");
        let mut resumed = Totals::new(Some(total(250, 30)));
        assert_eq!(resumed.take(total(300, 40)), total(50, 10), "what an earlier attempt used is its own");
        assert_eq!(resumed.take(total(10, 1)), total(0, 0), "a total that shrinks takes nothing back");
    }
}
