//! A test kit, ours and our users': faulty links, real servers, what routing and retry policies owe, whether sessions
//! kept their guarantees, and whether reads saw what was acknowledged.
//!
//! Behind the feature `testing`. It is for tests: nothing here is made for the load or the threats of production.

mod acknowledged;
mod history;
mod policy_laws;
pub mod poll;
#[cfg(unix)]
pub mod proxy;
mod retry_laws;
#[cfg(unix)]
pub mod servers;

pub use acknowledged::{Acknowledged, Effect, MissedWrite, Saw, Tick};
pub use history::{History, Violation};
pub use policy_laws::{World, check_policy, worlds};
pub use retry_laws::check_retry_policy;
