//! One region: where its servers are, and how to reach them.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use archipelago_engine::RegionId;
use serde::Deserialize;

use super::{
    SentinelConfig, TlsConfig, defaults, millis,
    text::{check_url, is_tls, substitute, without_credentials},
};
use crate::routing::{Location, RegionInfo};

/// One region.
///
/// Its primary is named by `url`, `sentinel` or `cluster`.
///
/// # Credentials
/// User and password are, in this order: what [`Builder::credentials`](crate::Builder::credentials) answers, `username`
/// and `password` or `password_file`, and those of the address. No message and no `Debug` shows a password.
///
/// # Access rights
/// What an ACL user of the server needs at least, besides the rights to the application's own commands and keys:
///
/// | for | rights |
/// |---|---|
/// | routed keyspaces | `+ping`, `+role` or `+info` |
/// | their write probes; without, a primary that refuses writes is noticed at the next write | `+set +get ~archipelago:heartbeat:*` |
/// | a bound on their replicas' staleness | `+get ~archipelago:heartbeat:*`; `+info` to know a full copy under way |
/// | sessions that are served at replicas, too | `+info +multi +exec` |
/// | their regions with `cluster` | `+cluster\|slots` |
/// | homes of users, feature `homes` | what [`homes`](crate::homes)`::Homes` lists |
/// | active-active keyspaces | `+@read +@write +@scripting +@connection +info +time +unwatch ~{KEYSPACE:*` |
/// | sessions, and reads and writes of several regions there | `+multi +exec` |
/// | writes there that wait for replicas | `+wait` |
/// | near caches; without, they hold values for a time | what the keyspace needs, and `+hello +client\|tracking +role +get +pttl` |
/// | `lossless_restart` | `+config\|get` |
/// | Sentinels | `+sentinel +subscribe +ping`, channel `&+switch-master` |
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegionConfig {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS with the feature `tls`. `${NAME}` stands for an
    /// environment variable, here and in every other address, user, password and path.
    pub url: String,
    /// The Sentinels that know where the primary is.
    pub sentinel: Option<SentinelConfig>,
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
    /// A file with the password, instead of `password`. Read at every connection, so that a new password needs no
    /// restart; blanks at both ends are no part of it; at most 16 KiB. Looked for from the process's working directory.
    pub password_file: Option<PathBuf>,
    /// What `rediss://` addresses need beyond the public authorities.
    pub tls: Option<TlsConfig>,
    /// Whether the region comes back from every restart with all that it had acknowledged; default false. Then what it had
    /// a right to sell of a [`Stock`](crate::Stock) passes to its next incarnation by itself; otherwise it stays frozen
    /// until an operator reclaims it. And readers of a [`Feed`](crate::Feed) go on where they were, rather than start over.
    ///
    /// You declare that this address is always the same server on the same files: with `appendonly yes` and `appendfsync
    /// always`, which is checked at every connection and needs the right to `CONFIG GET`; never a replica that was
    /// promoted, which is noticed until it is restarted; and never a restored backup, which nobody notices. Declared
    /// wrongly, stock can be sold twice. Refused with `sentinel`, whose point is another server.
    pub lossless_restart: bool,
    /// Shared connections to each node; default 2, of which a busy client fills one while the server works on what the
    /// other sent. A routed handle keeps to one of them as long as that lasts. An active-active call goes to the first with
    /// fewer than 16 commands under way, else to the one with fewest: what goes together costs less. One that left a call
    /// without an answer in time takes no more until it answers, while there is another.
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
            sentinel: None,
            cluster: Vec::new(),
            replicas: BTreeMap::new(),
            location: None,
            weight: defaults::WEIGHT,
            username: None,
            password: None,
            password_file: None,
            tls: None,
            lossless_restart: false,
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

    /// The region as policies see it.
    pub(crate) fn info(&self, id: RegionId) -> RegionInfo {
        let info = RegionInfo::new(id).with_weight(self.weight);
        self.location.into_iter().fold(info, RegionInfo::with_location)
    }

    /// Fills in environment variables and checks what the types cannot. The message begins with the key.
    pub(super) fn complete(&mut self) -> Result<(), String> {
        let addresses = [&mut self.url].into_iter().filter(|url| !url.is_empty()).map(|url| ("url", url));
        let sentinels = self.sentinel.iter_mut().flat_map(|sentinel| sentinel.nodes.iter_mut());
        let addresses = addresses
            .chain(sentinels.map(|url| ("sentinel.nodes", url)))
            .chain(self.cluster.iter_mut().map(|url| ("cluster", url)))
            .chain(self.replicas.values_mut().flatten().map(|url| ("replicas", url)));
        let mut any_tls = false;
        for (key, url) in addresses {
            fill_in(key, url)?;
            check_url(url).map_err(|what| format!("{key}: {what}"))?;
            any_tls |= is_tls(url);
        }
        for (key, secret) in [("username", &mut self.username), ("password", &mut self.password)] {
            if let Some(secret) = secret {
                fill_in(key, secret)?;
            }
        }
        let tls = self.tls.iter_mut().flat_map(TlsConfig::paths_mut);
        for (key, path) in self.password_file.iter_mut().map(|path| ("password_file", path)).chain(tls) {
            let mut text = path.to_string_lossy().into_owned();
            fill_in(key, &mut text)?;
            *path = text.into();
        }
        if let Some(tls) = &self.tls {
            tls.check()?;
            if !any_tls {
                return Err("tls: no address of this region is rediss://".into());
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let named = [!self.url.is_empty(), self.sentinel.is_some(), !self.cluster.is_empty()];
        match named.iter().filter(|is_named| **is_named).count() {
            0 => return Err("url: where is the server? Give one of `url`, `sentinel` and `cluster`".into()),
            1 => {}
            _ => {
                return Err(
                    "url: expected only one of `url`, `sentinel` and `cluster`: two may name two primaries".into()
                );
            }
        }
        if let Some(sentinel) = &self.sentinel {
            sentinel.check()?;
        }
        if self.lossless_restart && self.url.is_empty() {
            return Err(
                "lossless_restart: only with `url`: behind a sentinel or in a cluster another server may take over, \
                        without the last writes"
                    .into(),
            );
        }
        if self.password.is_some() && self.password_file.is_some() {
            return Err("password_file: `password` is set, too".into());
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
            .field("sentinel", &self.sentinel)
            .field("cluster", &shown(&self.cluster))
            .field("replicas", &replicas)
            .field("location", &self.location)
            .field("weight", &self.weight)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .field("lossless_restart", &self.lossless_restart)
            .field("connections", &self.connections)
            .field("exclusive_connections", &self.exclusive_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}
