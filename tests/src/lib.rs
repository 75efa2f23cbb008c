//! Support for the tests: real servers, faulty links, and worlds of three regions of either kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

pub mod carry;
pub mod poll;
pub mod proxy;
pub mod random;
pub mod servers;
pub mod world;
