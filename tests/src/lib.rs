//! Support for the tests: links by hand, seeds, loaders, suites, and worlds of three regions of either kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

pub mod carry;
pub mod loader;
pub mod random;
pub mod suite;
pub mod world;
