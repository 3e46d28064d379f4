//! Tokens that a program says it used.

use longhaul_common::price::Tokens;

/// Reads totals of a whole thread, which also count what earlier attempts at it used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    last: Option<Tokens>,
}

impl Totals {
    /// For a thread that begins, or goes on after so much.
    pub fn new(before: Option<Tokens>) -> Self {
        Self { last: before }
    }

    /// What was used since the last total.
    pub fn take(&mut self, total: Tokens) -> Tokens {
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
        let total = |input, output| Tokens { input, output, ..Tokens::default() };
        let mut totals = Totals::new(None);
        assert_eq!(totals.take(total(100, 10)), total(100, 10));
        assert_eq!(totals.take(total(250, 30)), total(150, 20));
        assert_eq!(totals.take(total(250, 30)), total(0, 0), "told twice, counted once");
        let mut resumed = Totals::new(Some(total(250, 30)));
        assert_eq!(resumed.take(total(300, 40)), total(50, 10), "what an earlier attempt used is its own");
        assert_eq!(resumed.take(total(10, 1)), total(0, 0), "a total that shrinks takes nothing back");
    }
}
