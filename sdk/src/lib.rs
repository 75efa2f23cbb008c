//! Several plain Redis or Valkey regions behaving as one: local writes everywhere, merged by CRDTs in the client.

pub mod config;
mod error;
pub mod exec;
mod keyspace;
mod redis;
pub mod store;

pub use archipelago_engine as engine;
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use keyspace::{PhysicalKeys, partition_of};
pub use store::embedded::Embedded;
