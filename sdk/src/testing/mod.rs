//! A test kit, ours and our users': faulty links and real servers.
//!
//! Behind the feature `testing`. It is for tests: nothing here is made for the load or the threats of production.

pub mod poll;
#[cfg(unix)]
pub mod proxy;
#[cfg(unix)]
pub mod servers;
