//! Why there is no connection.

use std::time::Duration;

use redis::RedisError;

/// Why there is no connection. No text shows a password.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No connection, or the handshake failed. The crate's texts name no secrets, but may name the address.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// The server does not let the user in, or lets it do too little.
    #[error("{0}")]
    Denied(String),
    /// No Sentinel says where the server is.
    #[error("{0}")]
    NotFound(String),
    /// The password file, a certificate or the provider's answer cannot be used.
    #[error("{0}")]
    Unprepared(String),
    /// The address is none. The configuration is checked for that, if it was read from a file.
    #[error("the address is malformed")]
    Malformed,
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Late(Duration),
    /// The same where TLS was spoken: a server that does not understand it says nothing.
    #[error("no connection within {0:?}: does the server speak TLS there?")]
    LateOverTls(Duration),
}
