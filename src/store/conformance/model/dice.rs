//! Random choices that a seed repeats, on every platform and in every version.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(in crate::store::conformance) struct Dice(u64);

impl Dice {
    pub(in crate::store::conformance) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but without, `end`.
    pub(in crate::store::conformance) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    pub(in crate::store::conformance) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    /// One of these, if there are any.
    pub(in crate::store::conformance) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len() as u64);
        from.get(usize::try_from(at).expect("an index"))
    }

    /// One of these names: `prefix0`, `prefix1`…
    pub(in crate::store::conformance) fn name(&mut self, prefix: &str, of: u64) -> String {
        format!("{prefix}{}", self.below(of))
    }
}
