//! A primary that Sentinels watch over.

use std::{collections::BTreeSet, fmt};

use serde::Deserialize;

use super::text::{address_of, is_tls, without_credentials};

/// A primary that Sentinels watch over: its address is asked of them at every connection.
///
/// The Sentinels' user and password stand in their own addresses; the region's are for the servers they watch. These
/// are reached over TLS when the Sentinels are, in their database 0. Every Sentinel is also listened to, so that a
/// failover is followed at once: between the promotion and the moment when the former primary hears of it, it still
/// takes writes that will be lost.
///
/// ```
/// let config: archipelago::Config = r#"
///     [regions.eu-west-1.sentinel]
///     master = "mymaster"
///     nodes = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"]
///     replicas = 2
/// "#.parse()?;
/// assert_eq!(config.regions["eu-west-1"].sentinel.as_ref().unwrap().replicas, 2);
/// # Ok::<(), archipelago::Error>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentinelConfig {
    /// The name by which the Sentinels know the primary.
    pub master: String,
    /// The addresses of the Sentinels, 1 to 16, as a region's `url`.
    pub nodes: Vec<String>,
    /// How many of the replicas that the Sentinels report serve reads, 0 to 16; default 0. Each takes the first by
    /// address that is well and not taken, and keeps it as long as it is well. One that the region's own `replicas`
    /// name is not taken. For routed keyspaces.
    #[serde(default)]
    pub replicas: usize,
}

/// Enough for every real deployment; each is listened to.
const MOST: usize = 16;

impl SentinelConfig {
    /// Checks what the types cannot. The message begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.master.is_empty() || self.master.contains(char::is_whitespace) {
            return Err("sentinel.master: expected the name by which the Sentinels know the primary".into());
        }
        if !(1..=MOST).contains(&self.nodes.len()) {
            return Err(format!("sentinel.nodes: expected 1 to {MOST} addresses, found {}", self.nodes.len()));
        }
        if self.replicas > MOST {
            return Err(format!("sentinel.replicas: expected 0 to {MOST}, found {}", self.replicas));
        }
        if self.nodes.iter().map(|url| address_of(url)).collect::<BTreeSet<_>>().len() != self.nodes.len() {
            return Err("sentinel.nodes: one Sentinel is named twice".into());
        }
        if self.nodes.iter().any(|url| is_tls(url)) && !self.is_tls() {
            return Err("sentinel.nodes: either all are reached over TLS, and with them the primary, or none".into());
        }
        Ok(())
    }

    /// Whether the Sentinels, and so the servers they watch, are reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.nodes.iter().all(|url| is_tls(url))
    }
}

impl fmt::Debug for SentinelConfig {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|url| without_credentials(url)).collect();
        f.debug_struct("SentinelConfig")
            .field("master", &self.master)
            .field("nodes", &nodes)
            .field("replicas", &self.replicas)
            .finish()
    }
}
