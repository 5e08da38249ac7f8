//! Draws from a seed. The same seed gives the same draws.

/// A sequence of draws.
#[derive(Debug)]
pub(crate) struct SeededDraws(u64);

impl SeededDraws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Returns a number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }

    /// Returns one of the items, or `None` where there are none.
    pub(crate) fn of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(items.len().max(1) as u64)).ok()?;
        items.get(index).copied()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), which spreads neighbouring numbers.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
