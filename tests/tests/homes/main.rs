//! Homes on real servers: assigned once, moved under writers, by movers that die.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod access;
mod away;
mod cluster;
mod commands;
mod faults;
mod interrupted;
mod migrations;
mod mistakes;
mod world;
