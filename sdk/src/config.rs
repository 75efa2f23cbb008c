//! Configuration: plain structs, their defaults, the file format, and one validation.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use archipelago_engine::RegionId;
use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// Every default in one place.
pub mod defaults {
    use std::time::Duration;

    /// Partitions of a keyspace; fixed when the keyspace is created.
    pub const PARTITIONS: u16 = 16;
    /// Shared connections to a region; each carries any number of concurrent calls.
    pub const CONNECTIONS: usize = 1;
    /// How long to wait for a connection, handshake included.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long to wait for an answer. Shorter turns slow answers into "maybe applied"; longer holds callers up.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// How many entries a log keeps for destinations that do not fetch them; behind that they get a resync.
    pub const LOG_CAP: u64 = 1_000_000;
    /// How far a region's clock may be pulled ahead by a peer's, and from where skew is reported.
    pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);
    /// How long after its expiry a key's cells are cleared.
    pub const SWEEP_GRACE: Duration = Duration::from_secs(60);
    /// How long a link's lease lasts without renewal: about how long a takeover takes.
    pub const LEASE: Duration = Duration::from_secs(5);
    /// Cells in one join. Larger batches block the server longer and are slower.
    pub const BATCH_CELLS: usize = 200;
    /// Joins in flight on one partition of a link.
    pub const JOINS_IN_FLIGHT: usize = 16;
}

/// The whole configuration.
///
/// ```
/// let config: archipelago::Config = r#"
///     [regions.us-east-1]
///     url = "redis://127.0.0.1:7001"
///
///     [regions.eu-west-1]
///     url = "redis://127.0.0.1:7002"
///
///     [keyspaces.default]
///     mode = "active-active"
/// "#.parse()?;
/// assert_eq!(config.regions.len(), 2);
/// assert_eq!(config.keyspaces["default"].partitions, 16);
/// # Ok::<(), archipelago::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The local region, unless the builder, `--region` or `ARCHIPELAGO_REGION` names another.
    #[serde(default)]
    pub local: Option<String>,
    /// The regions, by name.
    #[serde(default)]
    pub regions: BTreeMap<String, RegionConfig>,
    /// The keyspaces, by name. Without any there is one, `default`, in mode `active-active`.
    #[serde(default)]
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
}

/// One region.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// `redis://[user:password@]host:port[/db]`. `${NAME}` stands for an environment variable.
    pub url: String,
    /// Shared connections; default 1. More help when one socket is the bottleneck.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Milliseconds to wait for a connection; default 2000.
    #[serde(default = "default_connect_timeout", rename = "connect_timeout_ms", deserialize_with = "millis")]
    pub connect_timeout: Duration,
    /// Milliseconds to wait for an answer; default 2000. A write that takes longer is reported as maybe applied.
    #[serde(default = "default_response_timeout", rename = "response_timeout_ms", deserialize_with = "millis")]
    pub response_timeout: Duration,
}

/// One keyspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceConfig {
    /// How it behaves.
    pub mode: Mode,
    /// Partitions, 1 to 1024; default 16. Fixed when the keyspace is created; a client that says otherwise is refused.
    #[serde(default = "default_partitions")]
    pub partitions: u16,
    /// How the region's history is checked; default `exact`.
    #[serde(default)]
    pub history_check: HistoryCheck,
    /// Entries a log keeps for destinations that do not fetch them; default 1,000,000. It bounds memory while a region
    /// is away: behind it the region gets a resync.
    #[serde(default = "default_log_cap")]
    pub log_cap: u64,
    /// Milliseconds a clock may be pulled ahead by a peer's, and from where skew is reported; default 60,000.
    #[serde(default = "default_max_clock_skew", rename = "max_clock_skew_ms", deserialize_with = "millis")]
    pub max_clock_skew: Duration,
    /// Milliseconds between a key's expiry and the clearing of its cells; default 60,000. An extension that arrives
    /// within it revives the key.
    #[serde(default = "default_sweep_grace", rename = "sweep_grace_ms", deserialize_with = "millis")]
    pub sweep_grace: Duration,
}

/// How a keyspace behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every region writes locally; values are merged.
    ActiveActive,
}

/// When the scripts check that the server's history is the one on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryCheck {
    /// In every script (about 1.5 µs each). Nothing acknowledged is lost by an unnoticed promotion.
    #[default]
    Exact,
    /// By a heartbeat four times a second. What was acknowledged between two heartbeats around a promotion may be
    /// lost, in peers too.
    Heartbeat,
}

impl Default for KeyspaceConfig {
    fn default() -> Self {
        Self {
            mode: Mode::ActiveActive,
            partitions: defaults::PARTITIONS,
            history_check: HistoryCheck::Exact,
            log_cap: defaults::LOG_CAP,
            max_clock_skew: defaults::MAX_CLOCK_SKEW,
            sweep_grace: defaults::SWEEP_GRACE,
        }
    }
}

impl RegionConfig {
    /// A region at this URL, everything else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: defaults::CONNECTIONS,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            response_timeout: defaults::RESPONSE_TIMEOUT,
        }
    }
}

impl fmt::Debug for RegionConfig {
    /// Without the URL's credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionConfig")
            .field("url", &without_credentials(&self.url))
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish()
    }
}

/// A URL that may be shown: user and password replaced.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    // A query may carry a password, too.
    let address = address.split(['?', '#']).next().unwrap_or(address);
    let hidden = if rest.contains('@') { "***@" } else { "" };
    format!("{scheme}://{hidden}{address}")
}

/// The part of a URL that names a server.
fn address_of(url: &str) -> String {
    let shown = without_credentials(url);
    shown
        .rsplit_once("***@")
        .or_else(|| shown.split_once("://"))
        .map_or(shown.clone(), |(_, address)| address.to_owned())
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read or says what it cannot say; names the file, and the line and
    /// key where there is one.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(ErrorKind::Config, format!("cannot read {}: {error}", path.display())))?;
        text.parse().map_err(|error: Error| error.within(path.display().to_string()))
    }

    /// Checks what the types cannot, fills in environment variables and the default keyspace.
    fn validate(mut self) -> Result<Self, Error> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Config, what));
        if self.regions.is_empty() {
            return refuse("no regions: expected at least one [regions.NAME] with a url".into());
        }
        for (name, region) in &mut self.regions {
            if let Err(error) = name.parse::<RegionId>() {
                return refuse(format!("regions.{name}: {error}"));
            }
            region.url = substitute(&region.url, |variable| std::env::var(variable).ok())
                .map_err(|what| Error::new(ErrorKind::Config, format!("regions.{name}.url: {what}")))?;
            check_url(&region.url)
                .map_err(|what| Error::new(ErrorKind::Config, format!("regions.{name}.url: {what}")))?;
            if !(1..=1024).contains(&region.connections) {
                return refuse(format!("regions.{name}.connections: expected 1 to 1024, found {}", region.connections));
            }
            for (key, value) in
                [("connect_timeout_ms", region.connect_timeout), ("response_timeout_ms", region.response_timeout)]
            {
                if value.is_zero() || value > Duration::from_secs(600) {
                    return refuse(format!("regions.{name}.{key}: expected 1 to 600000 milliseconds"));
                }
            }
        }
        let mut servers = BTreeMap::new();
        for (name, region) in &self.regions {
            if let Some(other) = servers.insert(address_of(&region.url), name) {
                return refuse(format!("regions.{other} and regions.{name} are one server: each region needs its own"));
            }
        }
        if let Some(local) = &self.local
            && !self.regions.contains_key(local)
        {
            return refuse(format!("local: unknown region {local:?}, known: {}", names(&self.regions)));
        }
        if self.keyspaces.is_empty() {
            self.keyspaces.insert("default".into(), KeyspaceConfig::default());
        }
        for (name, keyspace) in &self.keyspaces {
            if !is_keyspace_name(name) {
                return refuse(format!("keyspaces.{name}: a keyspace name has 1 to 64 of A-Z a-z 0-9 - _ ."));
            }
            if !(1..=1024).contains(&keyspace.partitions) {
                return refuse(format!(
                    "keyspaces.{name}.partitions: expected 1 to 1024, found {}",
                    keyspace.partitions
                ));
            }
            if keyspace.log_cap < 1000 {
                return refuse(format!("keyspaces.{name}.log_cap: expected at least 1000, found {}", keyspace.log_cap));
            }
        }
        Ok(self)
    }
}

impl std::str::FromStr for Config {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| place_of(text, span.start)).unwrap_or_default();
            // Only the message: the error's own display quotes the source line, and that may hold a password.
            Error::new(ErrorKind::Config, format!("{place}{}", without_values(error.message())))
        })?;
        config.validate()
    }
}

/// Whether a keyspace can have this name: it stands in the hash tag of physical keys.
pub(crate) fn is_keyspace_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain && (1..=64).contains(&name.len())
}

/// The names of a map, for messages.
pub(crate) fn names<V>(map: &BTreeMap<String, V>) -> String {
    map.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The line and the key at an offset of the file, for messages.
fn place_of(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let number = before.matches('\n').count();
    let plain = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let key = text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let tables = text.lines().take(number + 1).map(str::trim).filter(|line| line.starts_with('['));
    let table = tables.last().map(|line| line.trim_matches(['[', ']', ' ']));
    let path: Vec<&str> = [table, key].into_iter().flatten().filter(|part| plain(part)).collect();
    let colon = if path.is_empty() { "" } else { ", " };
    format!("line {}{colon}{}: ", number + 1, path.join("."))
}

/// A message without what it quotes: the value of a misplaced `url` may hold a password.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!(
                "{}\"...\"{}",
                message.get(..first).unwrap_or_default(),
                message.get(last + 1..).unwrap_or_default()
            )
        }
        _ => message.to_owned(),
    }
}

/// Replaces `${NAME}`.
fn substitute(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or("${ without }")?;
        out.push_str(before);
        out.push_str(&variable(name).ok_or_else(|| format!("environment variable {name} is not set"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn check_url(url: &str) -> Result<(), String> {
    if url.starts_with("rediss://") {
        return Err("rediss:// needs TLS, which this build does not have; use redis://".into());
    }
    if !url.starts_with("redis://") && !url.starts_with("valkey://") {
        return Err("expected redis://[user:password@]host:port[/db]".into());
    }
    // The crate's own message may quote the URL, and with it the password.
    redis::Client::open(url).map(drop).map_err(|_| {
        "expected redis://[user:password@]host:port[/db], special characters of a password percent-encoded".to_owned()
    })
}

fn millis<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

const fn default_connections() -> usize {
    defaults::CONNECTIONS
}
const fn default_connect_timeout() -> Duration {
    defaults::CONNECT_TIMEOUT
}
const fn default_response_timeout() -> Duration {
    defaults::RESPONSE_TIMEOUT
}
const fn default_partitions() -> u16 {
    defaults::PARTITIONS
}
const fn default_log_cap() -> u64 {
    defaults::LOG_CAP
}
const fn default_max_clock_skew() -> Duration {
    defaults::MAX_CLOCK_SKEW
}
const fn default_sweep_grace() -> Duration {
    defaults::SWEEP_GRACE
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<Config>().map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_named_by_line_and_key() {
        let message = refusal("[regions.eu]\nurl = \"redis://h:1\"\nconections = 2\n");
        assert!(message.contains("line 3") && message.contains("conections"), "{message}");
        let message = refusal("[regions.eu]\nurl = 5\n");
        assert!(message.contains("line 2") && message.contains("string"), "{message}");
        let message = refusal("[regions.eu]\nurl = \"http://x\"\n");
        assert!(message.contains("regions.eu.url") && message.contains("redis://"), "{message}");
        let message = refusal("local = \"mars\"\n[regions.eu]\nurl = \"redis://h:1\"\n");
        assert!(message.contains("mars") && message.contains("eu"), "{message}");
        assert!(refusal("").contains("no regions"));
        let tls = refusal("[regions.eu]\nurl = \"rediss://h:1\"\n");
        assert!(tls.contains("TLS"), "{tls}");
    }

    #[test]
    fn secrets_appear_in_no_message_and_no_debug() {
        let message = refusal("[regions.eu]\nurl = \"http://user:hunter2@h\"\n");
        assert!(!message.contains("hunter2"), "{message}");
        let message = refusal("[regions]\neu = \"redis://user:hunter2@h:1\"\n");
        assert!(!message.contains("hunter2") && message.contains("line 2, regions.eu"), "{message}");
        let message = refusal("[regions.eu]\nurl = \"redis://user:hunter2@h:1\" x\n");
        assert!(!message.contains("hunter2"), "{message}");
        let region = RegionConfig::new("redis://user:hunter2@h:1/0?password=hunter2");
        assert!(!format!("{region:?}").contains("hunter2"), "{region:?}");
    }

    #[test]
    fn two_regions_are_two_servers() {
        let message = refusal("[regions.a]\nurl = \"redis://h:1\"\n[regions.b]\nurl = \"redis://u:p@h:1\"\n");
        assert!(message.contains("regions.a and regions.b"), "{message}");
    }

    #[test]
    fn environment_variables_fill_in() {
        let lookup = |name: &str| (name == "PW").then(|| "s3".to_owned());
        assert_eq!(substitute("redis://:${PW}@h", lookup), Ok("redis://:s3@h".to_owned()));
        assert!(substitute("${NO}", lookup).is_err_and(|e| e.contains("NO")));
        assert!(substitute("${PW", lookup).is_err());
    }
}
