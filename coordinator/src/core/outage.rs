//! Time in which the bus was down counts against no lease, up to a bound.
//!
//! Workers go on while the broker is away, and nothing can be given to anybody else: leases that ran
//! out meanwhile would only make the same work twice. But whoever is cut off alone must not believe
//! for ever that others still work for him. So an outage is forgiven up to [`FORGIVEN_MS_MAX`], and
//! what was forgiven comes back only by as much time with the bus up: a link that comes and goes
//! does not add up to more.

use super::Millis;

/// Longest outage of the bus that costs no lease.
pub const FORGIVEN_MS_MAX: Millis = 15 * 60_000;

/// What may still be forgiven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    left_ms: Millis,
}

impl Default for Outage {
    fn default() -> Self {
        Self { left_ms: FORGIVEN_MS_MAX }
    }
}

impl Outage {
    /// Time passed with the bus up or down; gives how much of it every lease is forgiven.
    pub fn pass(&mut self, ms: Millis, up: bool) -> Millis {
        let ms = ms.max(0);
        if up {
            self.left_ms = self.left_ms.saturating_add(ms).min(FORGIVEN_MS_MAX);
            return 0;
        }
        let forgiven = ms.min(self.left_ms);
        self.left_ms -= forgiven;
        forgiven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_forgiven_up_to_its_bound() {
        let mut outage = Outage::default();
        assert_eq!(outage.pass(500, true), 0);
        let forgiven: Millis = (0..3_600).map(|_| outage.pass(500, false)).sum();
        assert_eq!(forgiven, FORGIVEN_MS_MAX, "half an hour without the bus");
        assert_eq!(outage.pass(500, false), 0);
    }

    #[test]
    fn a_link_that_comes_and_goes_does_not_add_up() {
        let mut outage = Outage::default();
        let mut forgiven = 0;
        for _ in 0..1_000 {
            forgiven += outage.pass(60_000, false);
            outage.pass(1_000, true);
        }
        assert!(forgiven <= FORGIVEN_MS_MAX + 1_000 * 1_000, "{forgiven}");
    }
}
