//! What an attempt may use of models, and what it used.

use longhaul_common::price::{Price, Tokens};
use longhaul_proto::{Failure, FailureClass};

use super::Attempt;
use crate::books::{self, Books};
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
        books::add(&mut self.usage, &used);
    }

    /// Books what a program says that it used, which nothing metered: no cap holds for it.
    pub(super) fn observe(&mut self, used: Tokens, price: Option<&Price>) {
        let usd_micros = price.map_or(0, |price| price.cost(&used));
        books::add(&mut self.usage, &Used { tokens: used, usd_micros, ..Used::default() });
        self.usage.observed = true;
    }

    /// The books of the agent that comes now, on disk.
    pub(super) fn books(&self) -> Books {
        Books::new(&self.execution.entry, self.usage)
    }
}
