//! What passed a proxy so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::shape::Direction;

/// What passed a proxy so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open at present.
    pub open: u64,
    /// Connections that the proxy ended by RST.
    pub resets: u64,
    /// Bytes handed to the server.
    pub bytes_to_server: u64,
    /// Bytes handed to the client.
    pub bytes_to_client: u64,
    /// Bytes that vanished in a cut, both ways together.
    pub bytes_lost: u64,
}

/// The counters at work.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connections: AtomicU64,
    pub(super) resets: AtomicU64,
    pub(super) bytes_lost: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
}

impl Tally {
    pub(super) const fn bytes(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.bytes_to_server,
            Direction::ToClient => &self.bytes_to_client,
        }
    }

    pub(super) fn counters(&self, open: u64) -> Counters {
        Counters {
            connections: self.connections.load(Relaxed),
            open,
            resets: self.resets.load(Relaxed),
            bytes_to_server: self.bytes_to_server.load(Relaxed),
            bytes_to_client: self.bytes_to_client.load(Relaxed),
            bytes_lost: self.bytes_lost.load(Relaxed),
        }
    }
}
