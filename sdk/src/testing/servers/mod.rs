//! Real servers for tests: standalone, replicated, watched by Sentinels, or as a Cluster; with ACL users and with TLS.
//!
//! Each listens on a free port of 127.0.0.1 and works in a temporary directory. Neither the process nor the directory
//! outlives its owner: dropping it sends SIGKILL, reaps the process and removes the files. Only a test process that is
//! itself killed leaves them; each directory `archipelago-*` holds a `server.pid` to find them by.
//!
//! The programs are `redis-server` and `valkey-server` from the path, or what `REDIS_SERVER` and `VALKEY_SERVER` name.
//! A missing program is [`ServerError::MissingProgram`], so that a test that needs it fails, or says why it does not run.
//!
//! Everything that can fail answers a [`Result`], none of it panics: a test says `?` or `unwrap`, and a program that is no
//! test (a benchmark, a demonstration) can clean up first.

mod certificates;
mod cluster;
mod error;
mod options;
mod process;
mod program;
mod sentinels;
mod server;

pub use self::{
    certificates::Certificates,
    cluster::Cluster,
    error::ServerError,
    options::{Login, Options},
    program::Program,
    sentinels::Sentinels,
    server::Server,
};
