//! One region: where its servers are, and how to reach them.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;

use super::{
    defaults, millis,
    text::{check_url, substitute, without_credentials},
};
use crate::routing::Location;

/// One region.
///
/// Its primary is named by `url` or by `cluster`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegionConfig {
    /// `redis://[user:password@]host:port[/db]`. `${NAME}` stands for an
    /// environment variable, here and in every other address, user and password.
    pub url: String,
    /// Some nodes of a Redis Cluster: the region's data is all of its slots. For routed keyspaces.
    pub cluster: Vec<String>,
    /// Replicas of the primary, by the region they stand in. For routed keyspaces.
    pub replicas: BTreeMap<String, Vec<String>>,
    /// Where the region is: degrees north and east.
    pub location: Option<Location>,
    /// How much the region is preferred as the one that writes: the highest weight that is healthy; default 1. Also its
    /// share of the keys under `policy = "key-owner"`. Zero: only when nothing else is left.
    pub weight: u32,
    /// Overrides the user of the addresses.
    pub username: Option<String>,
    /// Overrides the password of the addresses.
    pub password: Option<String>,
    /// Shared connections to each node; default 1. More help when one socket is the bottleneck.
    pub connections: usize,
    /// Connections to each node that are lent to one borrower at a time, for transactions with WATCH and for commands
    /// that wait at the server; default 16. Each is made when it is first needed. The next borrower waits for one to come
    /// back, up to its deadline.
    pub exclusive_connections: usize,
    /// Milliseconds to wait for a connection; default 2000.
    #[serde(rename = "connect_timeout_ms", deserialize_with = "millis")]
    pub connect_timeout: Duration,
    /// Milliseconds to wait for an answer in active-active keyspaces; default 2000. A write that takes longer is
    /// reported as maybe applied. Routed calls have a deadline of their own.
    #[serde(rename = "response_timeout_ms", deserialize_with = "millis")]
    pub response_timeout: Duration,
}

impl Default for RegionConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            cluster: Vec::new(),
            replicas: BTreeMap::new(),
            location: None,
            weight: defaults::WEIGHT,
            username: None,
            password: None,
            connections: defaults::CONNECTIONS,
            exclusive_connections: defaults::EXCLUSIVE_CONNECTIONS,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            response_timeout: defaults::RESPONSE_TIMEOUT,
        }
    }
}

impl RegionConfig {
    /// A region at this URL, everything else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Fills in environment variables and checks what the types cannot. The message begins with the key.
    pub(super) fn complete(&mut self) -> Result<(), String> {
        let addresses = [&mut self.url].into_iter().filter(|url| !url.is_empty()).map(|url| ("url", url));
        let addresses = addresses
            .chain(self.cluster.iter_mut().map(|url| ("cluster", url)))
            .chain(self.replicas.values_mut().flatten().map(|url| ("replicas", url)));
        for (key, url) in addresses {
            fill_in(key, url)?;
            check_url(url).map_err(|what| format!("{key}: {what}"))?;
        }
        for (key, secret) in [("username", &mut self.username), ("password", &mut self.password)] {
            if let Some(secret) = secret {
                fill_in(key, secret)?;
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.url.is_empty() == self.cluster.is_empty() {
            return Err("url: expected exactly one of `url` and `cluster`: together they may name two primaries".into());
        }
        if !self.cluster.is_empty() && !self.replicas.is_empty() {
            return Err("replicas: a cluster knows its own; name none".into());
        }
        for (key, count) in [("connections", self.connections), ("exclusive_connections", self.exclusive_connections)] {
            if !(1..=1024).contains(&count) {
                return Err(format!("{key}: expected 1 to 1024, found {count}"));
            }
        }
        for (key, value) in
            [("connect_timeout_ms", self.connect_timeout), ("response_timeout_ms", self.response_timeout)]
        {
            if value.is_zero() || value > Duration::from_secs(600) {
                return Err(format!("{key}: expected 1 to 600000 milliseconds"));
            }
        }
        Ok(())
    }
}

fn fill_in(key: &str, text: &mut String) -> Result<(), String> {
    *text = substitute(text, |variable| std::env::var(variable).ok()).map_err(|what| format!("{key}: {what}"))?;
    Ok(())
}

fn shown(urls: &[String]) -> Vec<String> {
    urls.iter().map(|url| without_credentials(url)).collect()
}

impl fmt::Debug for RegionConfig {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicas: BTreeMap<_, _> = self.replicas.iter().map(|(region, urls)| (region, shown(urls))).collect();
        f.debug_struct("RegionConfig")
            .field("url", &without_credentials(&self.url))
            .field("cluster", &shown(&self.cluster))
            .field("replicas", &replicas)
            .field("location", &self.location)
            .field("weight", &self.weight)
            .field("connections", &self.connections)
            .field("exclusive_connections", &self.exclusive_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}
