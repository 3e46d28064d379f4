//! What an attempt may spend, has reserved, and has spent. Pure: data in, data out.

use std::collections::BTreeMap;

use longhaul_common::price::Tokens;

use super::config::Allowance;

/// What was used so far, and what calls under way may still use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Calls that were settled.
    pub calls: u64,
    /// Their tokens.
    pub tokens: Tokens,
    /// Their cost in micro-dollars.
    pub usd_micros: u64,
    /// Tokens reserved by calls under way.
    pub reserved_tokens: u64,
    /// Micro-dollars reserved by them.
    pub reserved_usd_micros: u64,
    /// The most tokens that were used, reserved and asked for at once.
    pub peak_tokens: u64,
    /// The most micro-dollars.
    pub peak_usd_micros: u64,
    /// A provider reported more than was reserved for a call.
    pub overrun: bool,
}

/// The worst case of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worst {
    pub input: u64,
    pub output: u64,
    pub usd_micros: u64,
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("the call may take {wanted} tokens, {left} of {cap} are left")]
    Tokens { wanted: u64, left: u64, cap: u64 },
    #[error("the call may cost {wanted} micro-dollars, {left} of {cap} are left")]
    Usd { wanted: u64, left: u64, cap: u64 },
}

/// The books of one attempt: settled and reserved together never exceed the allowance, unless a
/// provider reports more than the worst case of a call.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    allowance: Allowance,
    used: Used,
    open: BTreeMap<u64, Worst>,
    next: u64,
}

impl Ledger {
    /// Nothing spent.
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, ..Self::default() }
    }

    /// The books as they stand.
    pub fn used(&self) -> Used {
        self.used
    }

    pub(super) fn reserve(&mut self, worst: Worst) -> Result<u64, Exceeded> {
        let (used, cap) = (&mut self.used, self.allowance);
        let wanted = worst.input.saturating_add(worst.output);
        let tokens = used.tokens.total().saturating_add(used.reserved_tokens);
        let usd_micros = used.usd_micros.saturating_add(used.reserved_usd_micros);
        used.peak_tokens = used.peak_tokens.max(tokens.saturating_add(wanted));
        used.peak_usd_micros = used.peak_usd_micros.max(usd_micros.saturating_add(worst.usd_micros));
        let left = cap.tokens.saturating_sub(tokens);
        if cap.tokens > 0 && wanted > left {
            return Err(Exceeded::Tokens { wanted, left, cap: cap.tokens });
        }
        let left = cap.usd_micros.saturating_sub(usd_micros);
        if cap.usd_micros > 0 && worst.usd_micros > left {
            return Err(Exceeded::Usd { wanted: worst.usd_micros, left, cap: cap.usd_micros });
        }
        self.used.reserved_tokens = self.used.reserved_tokens.saturating_add(wanted);
        self.used.reserved_usd_micros = self.used.reserved_usd_micros.saturating_add(worst.usd_micros);
        self.next += 1;
        self.open.insert(self.next, worst);
        Ok(self.next)
    }

    /// Books what a call really used, once; a call that is not open changes nothing.
    pub(super) fn settle(&mut self, call: u64, tokens: Tokens, usd_micros: u64) {
        let Some(worst) = self.open.remove(&call) else { return };
        let used = &mut self.used;
        let reserved = worst.input.saturating_add(worst.output);
        used.reserved_tokens = used.reserved_tokens.saturating_sub(reserved);
        used.reserved_usd_micros = used.reserved_usd_micros.saturating_sub(worst.usd_micros);
        used.overrun |= tokens.total() > reserved || usd_micros > worst.usd_micros;
        used.calls += 1;
        used.usd_micros = used.usd_micros.saturating_add(usd_micros);
        used.tokens = used.tokens.plus(tokens);
    }

    /// Gives back what a call reserved that never reached a provider.
    pub(super) fn release(&mut self, call: u64) {
        let Some(worst) = self.open.remove(&call) else { return };
        let used = &mut self.used;
        used.reserved_tokens = used.reserved_tokens.saturating_sub(worst.input.saturating_add(worst.output));
        used.reserved_usd_micros = used.reserved_usd_micros.saturating_sub(worst.usd_micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, output: u64) -> Tokens {
        Tokens { input, output, ..Tokens::default() }
    }

    #[test]
    fn settled_and_reserved_never_exceed_the_cap() {
        let cap = Allowance { tokens: 10_000, usd_micros: 5_000 };
        for seed in 1..200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let (mut ledger, mut open) = (Ledger::new(cap), Vec::new());
            for _ in 0..200 {
                let worst = Worst { input: draw(900), output: draw(900), usd_micros: draw(900) };
                match draw(3) {
                    0 if !open.is_empty() => {
                        let at = draw(open.len() as u64) as usize;
                        let (call, worst): (u64, Worst) = open.swap_remove(at);
                        let usd = draw(worst.usd_micros + 1);
                        ledger.settle(call, tokens(draw(worst.input + 1), draw(worst.output + 1)), usd);
                    }
                    1 if !open.is_empty() => ledger.release(open.swap_remove(0).0),
                    _ => open.extend(ledger.reserve(worst).ok().map(|call| (call, worst))),
                }
                let used = ledger.used();
                assert!(used.tokens.total() + used.reserved_tokens <= cap.tokens, "seed {seed}: {used:?}");
                assert!(used.usd_micros + used.reserved_usd_micros <= cap.usd_micros, "seed {seed}: {used:?}");
                assert!(!used.overrun);
            }
        }
    }

    #[test]
    fn a_call_is_booked_once_and_an_overrun_is_shown() {
        let mut ledger = Ledger::new(Allowance { tokens: 100, usd_micros: 0 });
        let call = ledger.reserve(Worst { input: 50, output: 50, usd_micros: 9 }).expect("fits");
        assert_eq!(
            ledger.reserve(Worst { input: 1, output: 0, usd_micros: 0 }),
            Err(Exceeded::Tokens { wanted: 1, left: 0, cap: 100 })
        );
        ledger.settle(call, tokens(60, 50), 3);
        ledger.settle(call, tokens(60, 50), 3);
        let used = ledger.used();
        assert_eq!((used.calls, used.tokens.total(), used.usd_micros, used.overrun), (1, 110, 3, true));
        assert_eq!((used.reserved_tokens, used.reserved_usd_micros), (0, 0));
        assert_eq!((used.peak_tokens, used.peak_usd_micros), (101, 9), "what was refused was asked for too");
    }
}
