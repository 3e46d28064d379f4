//! Seeded choices (SplitMix64).

/// A generator that gives the same sequence for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each number.
    pub fn stream(seed: u64, number: u64) -> Self {
        let mut random = Self(seed ^ number.wrapping_mul(0xA24B_AED4_963E_E407));
        random.draw();
        random
    }

    /// A number below a bound; 0 for none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or_default()
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of `from..to`.
    ///
    /// # Panics
    /// When the range is empty.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        assert!(from < to, "{from}..{to}");
        from + self.draw() % (to - from)
    }

    /// From `range.0` up to and including `range.1`.
    pub fn between(&mut self, range: (i64, i64)) -> i64 {
        let width = u64::try_from(range.1 - range.0).unwrap_or(0);
        range.0 + i64::try_from(self.below(width + 1)).unwrap_or(0)
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
