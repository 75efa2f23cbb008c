//! Checks and fixtures for this crate's tests, and for those of its users.

mod policy_laws;

pub use policy_laws::{World, check_policy, worlds};
