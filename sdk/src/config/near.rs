//! The near cache of one keyspace.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{defaults, millis};

/// The near cache of one keyspace: `[keyspaces.NAME.near_cache]`. See [`near`](crate::near).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearConfig {
    /// About how many bytes it may take in this process, 4096 to 2^40; default 67,108,864 (64 MiB). Values count with the
    /// size of their stored form, which may be less than what they take when decoded. Beyond it the least used go.
    pub max_bytes: u64,
    /// Milliseconds that a value is believed without being asked for again, 1 to 86,400,000; default 10,000. With tracking
    /// it bounds what a defect anywhere could cost; where the server does not allow tracking, it is how stale a value may
    /// be.
    #[serde(rename = "ttl_ms", deserialize_with = "millis")]
    pub ttl: Duration,
    /// Milliseconds after its last use that a value is dropped, 1 to 86,400,000; default none. It may go 100 ms too early, or
    /// a tenth of this where that is less: not every use is noted.
    #[serde(rename = "tti_ms", deserialize_with = "some_millis")]
    pub tti: Option<Duration>,
}

impl Default for NearConfig {
    fn default() -> Self {
        Self { max_bytes: defaults::NEAR_BYTES, ttl: defaults::NEAR_TTL, tti: None }
    }
}

impl NearConfig {
    /// Checks what the types cannot. The message begins with the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(4096..=1 << 40).contains(&self.max_bytes) {
            return Err(format!("max_bytes: expected 4096 to 2^40, found {}", self.max_bytes));
        }
        for (key, time) in [("ttl_ms", Some(self.ttl)), ("tti_ms", self.tti)] {
            if time.is_some_and(|time| time.as_millis() == 0 || time > Duration::from_secs(86_400)) {
                return Err(format!("{key}: expected 1 to 86400000 milliseconds"));
            }
        }
        Ok(())
    }
}

fn some_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    millis(deserializer).map(Some)
}
