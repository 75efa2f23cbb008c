//! The dialer of one region: credentials and TLS, put to any address of it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use archipelago_engine::RegionId;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

use super::{
    DialError, Driver, Provider,
    credentials::{Credentials, read_password},
    gather,
    tls::Tls,
};
use crate::{
    config::{Config, RegionConfig},
    error::{Error, ErrorKind},
};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// How each region's servers are reached, for both planes.
///
/// # Errors
/// [`ErrorKind::Config`] when a file that TLS needs cannot be used.
pub(crate) async fn dialers(config: &Config, provider: Option<&Provider>) -> Result<BTreeMap<String, Dialer>, Error> {
    let mut dialers = BTreeMap::new();
    for (name, region) in &config.regions {
        let id = name.parse().map_err(|error| Error::new(ErrorKind::Config, format!("regions.{name}: {error}")))?;
        dialers.insert(name.clone(), Dialer::new(id, region, provider.cloned()).await?);
    }
    Ok(dialers)
}

/// What all connections of one region have in common. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    region: RegionId,
    /// A password in the file comes before this one's; the configuration has only one of them.
    configured: Credentials,
    password_file: Option<std::path::PathBuf>,
    provider: Option<Provider>,
    tls: Tls,
    connect_timeout: Duration,
}

impl Dialer {
    /// Checks the files that TLS needs.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when one cannot be used.
    pub(crate) async fn new(
        region: RegionId,
        config: &RegionConfig,
        provider: Option<Provider>,
    ) -> Result<Self, Error> {
        let tls = Tls::new(config.tls.clone());
        let place = format!("regions.{region}");
        tls.check().await.map_err(|what| Error::new(ErrorKind::Config, what).within(place))?;
        let configured = Credentials { username: config.username.clone(), password: config.password.clone() };
        let password_file = config.password_file.clone();
        let connect_timeout = config.connect_timeout;
        Ok(Self { inner: Arc::new(Inner { region, configured, password_file, provider, tls, connect_timeout }) })
    }

    /// How long a connection may take, everything included.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.inner.connect_timeout
    }

    /// How to connect to a server of the region.
    pub(crate) async fn info(&self, url: &str) -> Result<ConnectionInfo, DialError> {
        let info = parse(url)?;
        let credentials = self.credentials().await?;
        self.complete(info, credentials).await
    }

    /// How to connect to one of several servers that share what is secret: asked for once.
    pub(crate) async fn infos(&self, urls: &[String]) -> Result<Vec<ConnectionInfo>, DialError> {
        let credentials = self.credentials().await?;
        let mut infos = Vec::new();
        for url in urls {
            infos.push(self.complete(parse(url)?, credentials.clone()).await?);
        }
        Ok(infos)
    }

    /// How to connect to a server that Sentinels named.
    pub(super) async fn info_at(&self, address: &Address, is_tls: bool) -> Result<ConnectionInfo, DialError> {
        let Address { host, port } = address.clone();
        let address = if is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let credentials = self.credentials().await?;
        self.complete(address.into_connection_info()?, credentials).await
    }

    /// How to connect to a Sentinel: its credentials are those of its own address.
    pub(super) async fn sentinel_info(&self, url: &str) -> Result<ConnectionInfo, DialError> {
        let info = parse(url)?;
        // Messages of a subscription come in another form by the newer protocol.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        self.complete(info.set_redis_settings(settings), Credentials::default()).await
    }

    /// What a cluster's connections are secured by; `None` for the public authorities.
    #[cfg(feature = "tls")]
    pub(crate) async fn certificates(&self) -> Result<Option<redis::TlsCertificates>, DialError> {
        self.inner.tls.certificates().await.map_err(DialError::Unprepared)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`DialError::Denied`] when the server does not let the user in.
    pub(super) async fn open(
        &self,
        info: ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, DialError> {
        let user = user_of(info.redis_settings());
        let opened = Client::open(info)?.get_multiplexed_async_connection_with_config(config).await;
        opened.map_err(|error| self.understood(error, &user))
    }

    /// Opens a connection that many callers share.
    ///
    /// # Errors
    /// [`DialError::Denied`] when the server does not let the user in.
    pub(super) async fn open_shared(
        &self,
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Option<Driver>), DialError> {
        let opened = gather::open(info, config).await;
        opened.map_err(|error| self.understood(error, &user_of(info.redis_settings())))
    }

    /// An error of a connection's first steps, in words that help: the crate's do not say who was refused where.
    pub(crate) fn understood(&self, error: RedisError, user: &str) -> DialError {
        let region = &self.inner.region;
        match refusal(&error) {
            Some(Refusal::Wrong) => DialError::Denied(format!(
                "region {region} does not let user {user} in: its password is wrong, or it is unknown or disabled"
            )),
            Some(Refusal::Missing) => self.lacks_password(user),
            None => DialError::Redis(error),
        }
    }

    /// The server asks for a password, and there is none.
    pub(crate) fn lacks_password(&self, user: &str) -> DialError {
        let region = &self.inner.region;
        DialError::Denied(format!("region {region} asks for a password, and none is configured for user {user}"))
    }

    /// As whom these log in: one and the same.
    pub(crate) fn user_of(&self, infos: &[ConnectionInfo]) -> String {
        infos.first().map(|info| user_of(info.redis_settings())).unwrap_or_default()
    }

    /// The region's name.
    pub(crate) fn region(&self) -> &RegionId {
        &self.inner.region
    }

    async fn credentials(&self) -> Result<Credentials, DialError> {
        let Inner { region, configured, password_file, provider, .. } = &*self.inner;
        let mut credentials = match provider {
            Some(Provider(provider)) => provider.credentials(region).await.map_err(|error| {
                DialError::Unprepared(format!("region {region}: the provider gives no credentials: {error}"))
            })?,
            None => Credentials::default(),
        };
        if credentials.password.is_none()
            && let Some(path) = password_file
        {
            let password = read_password(path).await;
            let unprepared = |what| DialError::Unprepared(format!("region {region}: {what}"));
            credentials.password = Some(password.map_err(unprepared)?);
        }
        credentials.username = credentials.username.or_else(|| configured.username.clone());
        credentials.password = credentials.password.or_else(|| configured.password.clone());
        Ok(credentials)
    }

    /// The one place where what both planes connect with is put together. Nagle's algorithm is off: the crate leaves it
    /// on, and a small call then waits for the answer to the one before, a whole round trip.
    async fn complete(&self, info: ConnectionInfo, credentials: Credentials) -> Result<ConnectionInfo, DialError> {
        let mut settings = info.redis_settings().clone();
        if let Some(username) = credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = credentials.password {
            settings = settings.set_password(password);
        }
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        self.inner.tls.secure(info).await.map_err(DialError::Unprepared)
    }
}

/// How a login fails.
enum Refusal {
    /// By its user or password.
    Wrong,
    /// For want of a password.
    Missing,
}

/// Whether a login was refused. A cluster's client wraps what its nodes said into a text.
fn refusal(error: &RedisError) -> Option<Refusal> {
    let within = error.detail().unwrap_or_default();
    let is_wrong = error.kind() == redis::ErrorKind::AuthenticationFailed
        || error.code() == Some("WRONGPASS")
        || within.contains("AuthenticationFailed")
        || within.contains("WRONGPASS");
    let is_missing = error.code() == Some("NOAUTH") || within.contains("NOAUTH");
    if is_wrong { Some(Refusal::Wrong) } else { is_missing.then_some(Refusal::Missing) }
}

/// A crate's cluster client takes these apart from the addresses.
pub(crate) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// As whom a connection logs in.
pub(super) fn user_of(settings: &RedisConnectionInfo) -> String {
    settings.username().unwrap_or("default").to_owned()
}

fn parse(url: &str) -> Result<ConnectionInfo, DialError> {
    // The crate's own message may quote the URL, and with it the password.
    url.into_connection_info().map_err(|_| DialError::Malformed)
}

impl Address {
    /// Of a connection over TCP.
    pub(crate) fn of(info: &ConnectionInfo) -> Option<Self> {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Dialer {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("region", &self.inner.region).finish_non_exhaustive()
    }
}
