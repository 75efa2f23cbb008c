//! The routed plane on real servers: commands, faults, roles, failover.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test may panic")]

mod access;
mod blocking;
mod cluster;
mod commands;
mod embedded;
mod exclusive;
mod faults;
mod mistakes;
mod promotion;
mod roles;
mod said;
mod sentinel;
mod sessions;
mod staleness;
mod subscribe;
mod tls;
mod values;
mod verdicts;
mod visits;
mod world;
