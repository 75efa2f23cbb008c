//! The test kit on itself: each fault is seen at a real server, and nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed test may panic"
)]

mod cluster;
mod proxy;
mod sentinels;
mod servers;
mod tls;
