//! What the routed plane does when regions die.

use std::time::Duration;

use serde::Deserialize;

use super::{defaults, millis};
use crate::resilience::OptionRow;

/// What the routed plane does when regions die.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutedConfig {
    /// Whether the region that writes is left when it is unhealthy; default `automatic`.
    pub failover: Failover,
    /// Milliseconds without any answer after which a region that is down is left by writes; default 500. Shorter, and a
    /// broken connection or a quick restart moves them to a region with other data.
    #[serde(rename = "patience_ms", deserialize_with = "millis")]
    pub patience: Duration,
    /// Milliseconds within which every call ends, unless it says otherwise itself; default 1000.
    #[serde(rename = "deadline_ms", deserialize_with = "millis")]
    pub deadline: Duration,
    /// Who may write while regions are cut off from each other; default `auto`.
    pub fence: Fenced,
    /// Milliseconds that the confirmation of a majority lasts under `fence = "majority"`; default 2000. Shorter stops
    /// writes at short interruptions, longer lets a client that is cut off write longer.
    #[serde(rename = "lease_ms", deserialize_with = "millis")]
    pub lease: Duration,
    /// Milliseconds between two probes of a node; default 200. A replica's staleness is known to about this much.
    #[serde(rename = "probe_interval_ms", deserialize_with = "millis")]
    pub probe_interval: Duration,
    /// Milliseconds a probe may take, unless three times the node's mean latency is longer; default 200.
    #[serde(rename = "probe_timeout_ms", deserialize_with = "millis")]
    pub probe_timeout: Duration,
}

/// Whether the region that writes is left when it is unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// Each client goes to the next region by weight when its breakers and probes say so, and back when it recovers.
    /// Fit for caches and data that can be rebuilt: the next region may not have what the last one wrote.
    #[default]
    Automatic,
    /// Only [`Client::switch_to`](crate::Client::switch_to) moves the writer.
    Manual,
}

/// Who may write while regions are cut off from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fenced {
    /// [`Fenced::Majority`] with three regions or more, [`Fenced::None`] with fewer: of two, one alone is no majority.
    #[default]
    Auto,
    /// Whoever reaches a writer. After an unplanned promotion a client that is cut off with the old writer goes on
    /// writing to it, and what it writes there is lost to the others.
    None,
    /// Whoever reads the topology record from a majority of regions: see [`promotion`](crate::promotion).
    Majority,
}

impl Default for RoutedConfig {
    fn default() -> Self {
        Self {
            failover: Failover::default(),
            patience: defaults::PATIENCE,
            deadline: defaults::DEADLINE,
            fence: Fenced::default(),
            lease: defaults::FENCE_LEASE,
            probe_interval: defaults::PROBE_INTERVAL,
            probe_timeout: defaults::PROBE_TIMEOUT,
        }
    }
}

impl RoutedConfig {
    /// Whether writes need the confirmation of a majority, with so many regions.
    #[must_use]
    pub const fn is_fenced(&self, regions: usize) -> bool {
        match self.fence {
            Fenced::Auto => regions >= 3,
            Fenced::None => false,
            Fenced::Majority => true,
        }
    }

    /// Every option: its key, its default and what it does, from the code's own defaults.
    #[must_use]
    pub fn table() -> Vec<OptionRow> {
        let Self { failover, patience, deadline, fence, lease, probe_interval, probe_timeout } = Self::default();
        let failover = match failover {
            Failover::Automatic => "\"automatic\"",
            Failover::Manual => "\"manual\"",
        };
        let fence = match fence {
            Fenced::Auto => "\"auto\"",
            Fenced::None => "\"none\"",
            Fenced::Majority => "\"majority\"",
        };
        let row = |key: &str, default: String, meaning| OptionRow { key: format!("routed.{key}"), default, meaning };
        let millis = |duration: Duration| duration.as_millis().to_string();
        vec![
            row("failover", failover.to_owned(), "Whether writes leave a region that is unhealthy by themselves."),
            row(
                "patience_ms",
                millis(patience),
                "Without any answer for so long, a region that is down is left by writes.",
            ),
            row(
                "fence",
                fence.to_owned(),
                "Whether writes need a majority of regions to confirm the writer: auto with three regions or more.",
            ),
            row("lease_ms", millis(lease), "How long such a confirmation lasts."),
            row("deadline_ms", millis(deadline), "Within which every call ends, unless it says otherwise itself."),
            row(
                "probe_interval_ms",
                millis(probe_interval),
                "Between two probes of a node: how exactly staleness is known.",
            ),
            row(
                "probe_timeout_ms",
                millis(probe_timeout),
                "How long a probe may take; at least three times the node's latency.",
            ),
        ]
    }

    /// Checks what the types cannot. The message begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("patience_ms", self.patience),
            ("deadline_ms", self.deadline),
            ("lease_ms", self.lease),
            ("probe_interval_ms", self.probe_interval),
            ("probe_timeout_ms", self.probe_timeout),
        ] {
            if value < Duration::from_millis(10) || value > Duration::from_secs(600) {
                return Err(format!("{key}: expected 10 to 600000 milliseconds"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_table_read_as_a_file_is_the_defaults() {
        let lines = RoutedConfig::table().into_iter().map(|row| format!("{} = {}\n", row.key, row.default));
        let text: String = lines.collect();
        let read: std::collections::BTreeMap<String, RoutedConfig> = toml::from_str(&text).unwrap();
        assert_eq!(read.into_values().collect::<Vec<_>>(), [RoutedConfig::default()], "{text}");
    }
}
