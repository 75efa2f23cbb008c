//! What a node connects to, and how a verified connection to it is made.

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, RedisError, cluster::ClusterClientBuilder};
use tokio::time::{Instant, timeout};

use super::{embedded::EmbeddedServer, link::Link, role::role_of};
use crate::{
    config::without_credentials,
    dial::{Address, DialError, Dialer, Moves, Opened, Server, tcp_settings},
    promotion::KEY,
    routing::Role,
};

/// What a node connects to.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// One server.
    Server(Server),
    /// A Redis Cluster, by some of its nodes.
    Cluster { nodes: Arc<[String]>, dialer: Dialer },
    /// A node of an embedded region.
    Embedded(EmbeddedServer),
}

/// A verified connection.
pub(crate) struct Connected {
    pub(crate) link: Link,
    /// Measured on the way.
    pub(crate) round_trip: Duration,
    /// Where it leads, if that can change.
    pub(crate) at: Option<Address>,
}

/// A node as it was found.
pub(crate) struct Seen {
    pub(crate) link: Link,
    /// `None` when it does not tell.
    pub(crate) role: Option<Role>,
}

/// Why a node could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no connection.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// The server is up, and not what the topology says.
    #[error("{what}")]
    WrongRole {
        what: String,
        /// What it is, if it tells.
        found: Option<Role>,
        /// Its copy of the topology record, which may say why.
        copy: Option<Vec<u8>>,
    },
}

impl Endpoint {
    /// Connects and verifies that the server has the role it is taken for: a role is never believed.
    pub(crate) async fn connect(&self, role: Role) -> Result<Connected, ConnectError> {
        match self {
            Self::Server(server) => connect_to(server, role).await,
            Self::Cluster { nodes, dialer } => {
                let limit = dialer.connect_timeout();
                let connected = timeout(limit, connect_to_cluster(nodes, dialer)).await;
                connected.unwrap_or_else(|_| Err(DialError::Late(limit).into()))
            }
            Self::Embedded(server) => {
                let (link, round_trip) = server.connect(role).await?;
                Ok(Connected { link: Link::Embedded(link), round_trip, at: None })
            }
        }
    }

    /// Connects, whatever role the server has, for an operator's command.
    pub(crate) async fn look(&self) -> Result<Seen, ConnectError> {
        match self {
            Self::Server(server) => {
                let looking = async {
                    let Opened { connection, .. } = server.open(&shared()).await?;
                    let mut link = Link::shared(connection, None);
                    let role = role_of(&mut link).await.map_err(DialError::Redis)?;
                    Ok(Seen { link, role })
                };
                let limit = server.dialer().connect_timeout();
                timeout(limit, looking).await.unwrap_or_else(|_| Err(server.late(limit).into()))
            }
            Self::Cluster { .. } | Self::Embedded(_) => {
                let Connected { link, .. } = self.connect(Role::Primary).await?;
                Ok(Seen { link, role: Some(Role::Primary) })
            }
        }
    }

    /// Follows where it is.
    pub(crate) fn moves(&self) -> Moves {
        match self {
            Self::Server(server) => server.moves(),
            Self::Cluster { .. } | Self::Embedded(_) => Moves::never(),
        }
    }

    /// The server alone; a cluster and an embedded node have none.
    pub(crate) const fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Cluster { .. } | Self::Embedded(_) => None,
        }
    }

    /// Whether its data are spread over servers that it names itself.
    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    /// Every server that is named: in a cluster each hears what is published at any other.
    pub(crate) fn servers(&self) -> Vec<Server> {
        match self {
            Self::Server(server) => vec![server.clone()],
            Self::Cluster { nodes, dialer } => nodes.iter().map(|url| Server::at(url, dialer.clone())).collect(),
            Self::Embedded(_) => Vec::new(),
        }
    }
}

fn shared() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        // The caller bounds connecting as a whole, and an attempt has the only timer: see `Link`.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024)
}

/// Connects to one server within its region's time, and verifies its role.
pub(super) async fn connect_to(server: &Server, role: Role) -> Result<Connected, ConnectError> {
    let limit = server.dialer().connect_timeout();
    let late = || Err(server.late(limit).into());
    let connected = timeout(limit, connect_to_server(server, role)).await.unwrap_or_else(|_| late());
    match &connected {
        Ok(connected) => server.verified(connected.at.as_ref()),
        Err(
            ConnectError::WrongRole { .. }
            | ConnectError::Dial(DialError::Redis(_) | DialError::Late(_) | DialError::LateOverTls(_)),
        ) => {
            server.doubt();
        }
        // Whoever says "there is none" is not doubted, nor is a place for what keeps us out of it.
        Err(ConnectError::Dial(
            DialError::NotFound(_) | DialError::Denied(_) | DialError::Unprepared(_) | DialError::Malformed,
        )) => {}
    }
    connected
}

/// Verifies the role of a server once more.
pub(super) async fn verify_again(link: &mut Link, expected: Role) -> Result<(), ConnectError> {
    let found = role_of(link).await.map_err(DialError::Redis)?;
    verify(link, expected, found).await
}

async fn connect_to_server(server: &Server, expected: Role) -> Result<Connected, ConnectError> {
    let (Opened { connection, at, user }, driver) = server.open_shared(&shared()).await?;
    let mut link = Link::shared(connection, driver);
    let asked = Instant::now();
    let found = role_of(&mut link).await.map_err(|error| denied(error, server.dialer(), &user))?;
    verify(&mut link, expected, found).await?;
    Ok(Connected { link, round_trip: asked.elapsed(), at })
}

async fn connect_to_cluster(nodes: &[String], dialer: &Dialer) -> Result<Connected, ConnectError> {
    let limit = dialer.connect_timeout();
    let infos = dialer.infos(nodes).await?;
    let user = dialer.user_of(&infos);
    // Redirections count as retries; the crate's default of 16 outlasts every deadline. What the crate connects to later
    // is not in the addresses, so that it takes TCP's settings and certificates apart from them.
    let builder = ClusterClientBuilder::new(infos)
        .retries(4)
        .connection_timeout(limit)
        .response_timeout(limit)
        .tcp_settings(tcp_settings());
    #[cfg(feature = "tls")]
    let builder = dialer.certificates().await?.into_iter().fold(builder, ClusterClientBuilder::certs);
    let understood = |error| dialer.understood(error, &user);
    let client = builder.build().map_err(understood)?;
    let mut link = Link::Cluster(client.get_async_connection().await.map_err(understood)?);
    let asked = Instant::now();
    link.send_one(&redis::cmd("PING")).await.map_err(understood)?;
    Ok(Connected { link, round_trip: asked.elapsed(), at: None })
}

/// A server whose role cannot be known is not used: its data may be a copy, or nobody's.
fn denied(error: RedisError, dialer: &Dialer, user: &str) -> DialError {
    if error.code() != Some("NOPERM") {
        return dialer.understood(error, user);
    }
    let what = "may run neither ROLE nor INFO: one of them has to be granted, or nobody knows what the server is";
    DialError::Denied(format!("user {user} of region {} {what}", dialer.region()))
}

async fn verify(link: &mut Link, expected: Role, found: Option<Role>) -> Result<(), ConnectError> {
    if found == Some(expected) {
        return Ok(());
    }
    let what = match found {
        Some(Role::Primary) => "it says that it is a primary, a replica was expected",
        Some(Role::Replica) => "it is a replica, a primary was expected",
        None => "it does not tell its role",
    };
    let copy = link.send_one(redis::cmd("GET").arg(KEY)).await.ok();
    let copy = copy.and_then(|copy| redis::from_redis_value(copy).ok()).flatten();
    Err(ConnectError::WrongRole { what: what.to_owned(), found, copy })
}

impl fmt::Debug for Endpoint {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Embedded(server) => server.fmt(f),
            Self::Cluster { nodes, .. } => {
                f.debug_list().entries(nodes.iter().map(|url| without_credentials(url))).finish()
            }
        }
    }
}
