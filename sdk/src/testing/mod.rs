//! A test kit, ours and our users': faulty links, real servers, and what a routing policy owes.
//!
//! Behind the feature `testing`. It is for tests: nothing here is made for the load or the threats of production.

mod policy_laws;
pub mod poll;
#[cfg(unix)]
pub mod proxy;
#[cfg(unix)]
pub mod servers;

pub use policy_laws::{World, check_policy, worlds};
