//! What the examples share: serving a page, and visiting it without a browser. The examples are listed in `README.md`
//! beside this file.

pub mod browser;
pub mod serving;

/// What can go wrong in many ways, all of them told in words.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
