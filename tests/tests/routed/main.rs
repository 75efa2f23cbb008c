//! The routed plane on real servers: commands, faults, roles, failover.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test may panic")]

mod cluster;
mod commands;
mod embedded;
mod faults;
mod roles;
mod staleness;
mod world;
