//! Dialing: from what the configuration says of a region to an open connection.
//!
//! Where a server is, as whom to log in and how the line is secured is looked up anew at every connection: Sentinels
//! move primaries, and passwords, tokens and certificates are replaced while clients live on. Both planes dial here.

mod credentials;
mod dialer;
mod error;
mod file;
mod gather;
mod pool;
mod sentinel;
mod server;
mod tls;

pub use self::credentials::{Credentials, CredentialsProvider};
pub(crate) use self::{
    credentials::Provider,
    dialer::{Address, Dialer, dialers, tcp_settings},
    error::DialError,
    gather::Driver,
    pool::{Pool, pool},
    sentinel::{News, keep_listening},
    server::{Moves, Opened, Server},
};
