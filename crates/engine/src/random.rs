//! The engine's chance: a small generator whose seed is injected, so that a
//! test can repeat a run. Not for secrets.

/// A wyrand generator: 64 bits of state, full period.
#[derive(Debug, Default, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same sequence for the same seed.
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    #[allow(
        clippy::should_implement_trait,
        reason = "an endless generator is no iterator here"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// A generator of its own, seeded by this one.
    #[must_use]
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }

    /// A number below `bound`; 0 for 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}
