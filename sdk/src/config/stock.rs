//! How rights to stock move between regions.

use std::time::Duration;

use serde::Deserialize;

use super::{defaults, millis};

/// How rights to [`Stock`](crate::Stock) move between the regions of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    /// Whether a region whose rights run out asks the one that has most for some, within the call that needs them; default
    /// true. It costs that call a round trip there. Without it the call fails at once.
    pub on_demand: bool,
    /// Milliseconds between two looks whether rights should move to where units are taken; default 5000, at least 100, and
    /// 0 turns it off. Each look reads every stock of the keyspace in one process for each region.
    #[serde(rename = "rebalance_ms", deserialize_with = "millis")]
    pub rebalance: Duration,
}

impl Default for StockConfig {
    fn default() -> Self {
        Self { on_demand: true, rebalance: defaults::REBALANCE }
    }
}

impl StockConfig {
    /// The message begins with the key.
    pub(super) fn check(self) -> Result<(), String> {
        let millis = self.rebalance.as_millis();
        if millis == 0 || (100..=86_400_000).contains(&millis) {
            Ok(())
        } else {
            Err(format!("rebalance_ms: expected 0, or 100 to 86400000, found {millis}"))
        }
    }
}
