//! The promises of the routed plane in virtual time: a discrete-event simulation of one client and two nodes.
//!
//! Breaker, latency, budget, backoff and retry run as they are, joined as a client joins them; the nodes, the network
//! and the clock are made up from a seed that every failed assertion prints.
#![allow(clippy::indexing_slicing, reason = "a failed test may panic")]

mod client;
mod promises;
mod world;

/// SplitMix64: the same seed gives the same history, on every machine.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
