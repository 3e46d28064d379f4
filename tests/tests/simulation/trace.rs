//! The last steps of a run, for the words of a failure.

use std::collections::VecDeque;
use std::fmt;

/// How many steps are shown.
const STEPS_MAX: usize = 60;

#[derive(Clone, Copy)]
struct Step {
    at_ms: i64,
    what: &'static str,
    who: usize,
    id: u64,
}

#[derive(Default)]
pub struct Trace(VecDeque<Step>);

impl Trace {
    /// Notes a step: what happened, to whom (a worker's number), about which id.
    pub fn note(&mut self, at_ms: i64, what: &'static str, who: usize, id: u64) {
        if self.0.len() == STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Step { at_ms, what, who, id });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { at_ms, what, who, id } in &self.0 {
            writeln!(f, "{:>12}.{:03} s  {what:<28} w{who} #{id}", at_ms / 1000, at_ms % 1000)?;
        }
        Ok(())
    }
}
