//! Randomness that can be had again: the seed is printed, and `SESSIOND_SEED` sets it.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, even, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Seeded by `SESSIOND_SEED`, else by the clock; prints which, for the log of a failed test.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("SESSIOND_SEED").ok();
        let seed = given.map(|seed| seed.parse().expect("SESSIOND_SEED is a number"));
        let seed = seed.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(since.subsec_nanos()) ^ since.as_secs()
        });
        eprintln!("random choices of this test: SESSIOND_SEED={seed}");
        Self(seed)
    }

    /// Another stream of numbers that follows from this one.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A place in something that has `len` of them.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }
}
