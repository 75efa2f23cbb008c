//! Where a node is, and how a verified connection to it is made.

use std::{fmt, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, RedisError, Value, cluster::ClusterClientBuilder,
    io::tcp::TcpSettings,
};

use tokio::time::Instant;

use super::{
    gather,
    link::{Handle, Link},
};
use crate::{
    config::{RegionConfig, without_credentials},
    routing::Role,
};

/// Where a node is.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// One server.
    Server(Server),
    /// A Redis Cluster, by some of its nodes.
    Cluster { nodes: Arc<[String]>, settings: Settings },
}

/// A server's address, and how to connect to it.
#[derive(Clone)]
pub(crate) struct Server {
    url: Arc<str>,
    settings: Settings,
}

/// What the connections of one region have in common.
#[derive(Clone)]
pub(crate) struct Settings {
    username: Option<String>,
    password: Option<String>,
    pub(crate) connect_timeout: Duration,
}

/// Why a node could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No connection, or the handshake failed. The crate's texts name no secrets, but may name the address.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// The server is up, and not what the topology says.
    #[error("{0}")]
    WrongRole(String),
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Late(Duration),
}

impl Settings {
    pub(crate) fn of(region: &RegionConfig) -> Self {
        Self {
            username: region.username.clone(),
            password: region.password.clone(),
            connect_timeout: region.connect_timeout,
        }
    }

    /// Where to connect. Nagle's algorithm is off: the crate leaves it on, and a small call then waits for the answer to
    /// the one before, a whole round trip.
    fn info(&self, url: &str) -> Result<ConnectionInfo, RedisError> {
        let info = url.into_connection_info()?;
        let mut redis = info.redis_settings().clone();
        if let Some(username) = &self.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password);
        }
        Ok(info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

impl Server {
    pub(crate) fn new(url: &str, settings: Settings) -> Self {
        Self { url: url.into(), settings }
    }

    /// What an exclusive connection connects to.
    pub(crate) fn info(&self) -> Result<ConnectionInfo, RedisError> {
        self.settings.info(&self.url)
    }
}

impl Endpoint {
    /// Connects and verifies that the server has the role it is taken for: a role is never believed.
    ///
    /// Also measures a round trip.
    pub(crate) async fn connect(&self, role: Role) -> Result<(Link, Duration), ConnectError> {
        match self {
            Self::Server(server) => {
                let limit = server.settings.connect_timeout;
                let connecting = async {
                    let link = open(server.info()?).await?;
                    let asked = Instant::now();
                    verify(&mut link.handle(), role).await?;
                    Ok((link, asked.elapsed()))
                };
                tokio::time::timeout(limit, connecting).await.map_err(|_| ConnectError::Late(limit))?
            }
            Self::Cluster { nodes, settings } => {
                let limit = settings.connect_timeout;
                let connecting = async {
                    let infos = nodes.iter().map(|url| settings.info(url)).collect::<Result<Vec<_>, _>>()?;
                    // Redirections count as retries; the crate's default of 16 outlasts every deadline.
                    let client = ClusterClientBuilder::new(infos)
                        .retries(4)
                        .connection_timeout(limit)
                        .response_timeout(limit)
                        .build()?;
                    let link = Link::cluster(client.get_async_connection().await?);
                    let asked = Instant::now();
                    link.handle().send_one(&redis::cmd("PING")).await?;
                    Ok((link, asked.elapsed()))
                };
                tokio::time::timeout(limit, connecting).await.map_err(|_| ConnectError::Late(limit))?
            }
        }
    }

    /// The server alone; a cluster has none.
    #[expect(dead_code, reason = "for exclusive connections")]
    pub(crate) const fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Cluster { .. } => None,
        }
    }
}

async fn open(info: ConnectionInfo) -> Result<Link, RedisError> {
    let config = AsyncConnectionConfig::new()
        // The caller bounds connecting as a whole, and an attempt has the only timer: see `Link`.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let (connection, driver) = gather::open(&info, &config).await?;
    Ok(Link::shared(connection, driver))
}

/// Asks for the role: ROLE, or INFO where an access list does not allow it.
async fn verify(link: &mut Handle, expected: Role) -> Result<(), ConnectError> {
    let found = match link.send_one(&redis::cmd("ROLE")).await {
        Ok(Value::Array(parts)) => match parts.first() {
            Some(Value::BulkString(name)) => String::from_utf8_lossy(name).into_owned(),
            Some(_) | None => String::new(),
        },
        Ok(_) => String::new(),
        Err(error) if error.code().is_some_and(|code| matches!(code, "NOPERM" | "ERR")) => {
            let mut info = redis::cmd("INFO");
            let info: String =
                redis::from_redis_value(link.send_one(info.arg("replication")).await?).map_err(RedisError::from)?;
            info.lines().find_map(|line| line.strip_prefix("role:")).unwrap_or_default().trim().to_owned()
        }
        Err(error) => return Err(error.into()),
    };
    match (expected, found.as_str()) {
        (Role::Primary, "master") | (Role::Replica, "slave" | "replica") => Ok(()),
        (Role::Primary, "slave" | "replica") => {
            Err(ConnectError::WrongRole("it is a replica, a primary was expected".to_owned()))
        }
        (Role::Replica, "master") => {
            Err(ConnectError::WrongRole("it says that it is a primary, a replica was expected".to_owned()))
        }
        (Role::Primary | Role::Replica, _) => Err(ConnectError::WrongRole("it does not tell its role".to_owned())),
    }
}

impl fmt::Debug for Endpoint {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => f.write_str(&without_credentials(&server.url)),
            Self::Cluster { nodes, .. } => {
                f.debug_list().entries(nodes.iter().map(|url| without_credentials(url))).finish()
            }
        }
    }
}
