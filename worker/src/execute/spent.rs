//! What an attempt may use of models, and what it used.

use longhaul_common::price::Tokens;
use longhaul_proto::{Failure, FailureClass};

use super::Attempt;
use crate::failure::failure;
use crate::gateway::{Allowance, Used};

impl Attempt {
    /// What the attempt may still use; its earlier rungs used the rest.
    pub(super) fn allowance(&self) -> Result<Allowance, Box<Failure>> {
        let left = |allowed: u64, used: u64| match allowed {
            0 => Some(0),
            allowed => allowed.checked_sub(used).filter(|&left| left > 0),
        };
        let tokens = left(self.work.allowance_tokens, self.usage.tokens);
        let usd_micros = left(self.work.allowance_usd_micros, self.usage.usd_micros);
        match (tokens, usd_micros) {
            (Some(tokens), Some(usd_micros)) => Ok(Allowance { tokens, usd_micros }),
            _ => Err(Box::new(failure(FailureClass::Agent, "earlier rungs used up the budget of this attempt"))),
        }
    }

    /// Books what a gateway metered.
    pub(super) fn book(&mut self, used: Used) {
        let (tokens, before) = (used.tokens, self.usage);
        let peak = self.usage.peak.get_or_insert_default();
        peak.tokens = peak.tokens.max(before.tokens.saturating_add(used.peak_tokens));
        peak.usd_micros = peak.usd_micros.max(before.usd_micros.saturating_add(used.peak_usd_micros));
        self.add(tokens);
        self.usage.usd_micros = self.usage.usd_micros.saturating_add(used.usd_micros);
    }

    /// Books what a program says that it used, which nothing metered: no cap holds for it.
    pub(super) fn observe(&mut self, used: Tokens) {
        self.add(used);
        self.usage.observed = true;
    }

    fn add(&mut self, tokens: Tokens) {
        let sum = &mut self.usage;
        for (sum, more) in [
            (&mut sum.tokens, tokens.total()),
            (&mut sum.input_tokens, tokens.input),
            (&mut sum.cached_tokens, tokens.cached),
            (&mut sum.output_tokens, tokens.output),
            (&mut sum.reasoning_tokens, tokens.reasoning),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
