//! Homes as an application sees them: decision tables, and databases made for the tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod database;
mod mmdb;
mod table;
