//! A small seeded generator: the same seed gives the same history, on every machine.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// On nothing to pick from.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.get(self.below(from.len())).expect("something to pick from")
    }
}

/// The seeds of a random test: `ARCHIPELAGO_SEEDS` (`7`, or `100..200`) instead of the default ones.
///
/// # Panics
/// When the variable says something else.
#[must_use]
pub fn seeds(default: std::ops::Range<u64>) -> Vec<u64> {
    let Ok(text) = std::env::var("ARCHIPELAGO_SEEDS") else { return default.collect() };
    let number = |text: &str| text.trim().parse::<u64>().expect("ARCHIPELAGO_SEEDS: a number, or FROM..TO");
    match text.split_once("..") {
        Some((from, to)) => (number(from)..number(to)).collect(),
        None => vec![number(&text)],
    }
}
