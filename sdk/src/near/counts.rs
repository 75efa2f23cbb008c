//! Counts, and what they say to operators.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// What a near cache did since the client was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Whether the server tells what changes.
    pub tracking: Tracking,
    /// Looks that found the value here.
    pub hits: u64,
    /// Looks that did not.
    pub misses: u64,
    /// Answers that were given to their caller and not kept, since the key changed while they were on their way.
    pub stale: u64,
    /// Keys that were dropped for want of room.
    pub evictions: u64,
    /// Changes that the server told of, whether the key was held or not.
    pub invalidations: u64,
    /// Keys held now.
    pub keys: u64,
    /// Bytes held now, as [`NearConfig::max_bytes`](crate::config::NearConfig::max_bytes) counts.
    pub bytes: u64,
}

/// Whether the server tells what changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tracking {
    /// It does: values are held until they change.
    On,
    /// Not connected: nothing is held, and every read goes to the region. Also before the first read.
    Off {
        /// What was seen last, if anything.
        why: String,
    },
    /// The server does not allow it: values are held for their time to live, and may be stale for as long.
    Refused {
        /// What the server said.
        why: String,
    },
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off { why } => write!(f, "off: {why}"),
            Self::Refused { why } => write!(f, "refused: {why}"),
        }
    }
}

/// The counts behind [`NearStats`], but for the hits, which are counted by slot.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) misses: Count,
    pub(super) stale: Count,
    pub(super) evictions: Count,
    pub(super) invalidations: Count,
}

/// One count. Whoever sees it sees what was done before it was counted.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
