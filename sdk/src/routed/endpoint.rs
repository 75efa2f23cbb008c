//! What a node connects to, and how a verified connection to it is made.

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, RedisError, cluster::ClusterClientBuilder};
use tokio::time::{Instant, timeout};

use super::{link::Link, role::role_of};
use crate::{
    config::without_credentials,
    dial::{Address, DialError, Dialer, Moves, Server, tcp_settings},
    routing::Role,
};

/// What a node connects to.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// One server.
    Server(Server),
    /// A Redis Cluster, by some of its nodes.
    Cluster { nodes: Arc<[String]>, dialer: Dialer },
}

/// A verified connection.
pub(crate) struct Connected {
    pub(crate) link: Link,
    /// Measured on the way.
    pub(crate) round_trip: Duration,
    /// Where it leads, if that can change.
    pub(crate) at: Option<Address>,
}

/// Why a node could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no connection.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// The server is up, and not what the topology says.
    #[error("{0}")]
    WrongRole(String),
}

impl Endpoint {
    /// Connects and verifies that the server has the role it is taken for: a role is never believed.
    pub(crate) async fn connect(&self, role: Role) -> Result<Connected, ConnectError> {
        let limit = self.dialer().connect_timeout();
        let late = || Err(DialError::Late(limit).into());
        match self {
            Self::Server(server) => {
                let connected = timeout(limit, connect_to_server(server, role)).await.unwrap_or_else(|_| late());
                match &connected {
                    Ok(connected) => server.verified(connected.at.as_ref()),
                    Err(ConnectError::WrongRole(_) | ConnectError::Dial(DialError::Redis(_) | DialError::Late(_))) => {
                        server.doubt();
                    }
                    // Whoever says "there is none" is not doubted, nor is a place for what keeps us out of it.
                    Err(ConnectError::Dial(
                        DialError::NotFound(_) | DialError::Denied(_) | DialError::Unprepared(_) | DialError::Malformed,
                    )) => {}
                }
                connected
            }
            Self::Cluster { nodes, dialer } => {
                timeout(limit, connect_to_cluster(nodes, dialer)).await.unwrap_or_else(|_| late())
            }
        }
    }

    /// Follows where it is.
    pub(crate) fn moves(&self) -> Moves {
        match self {
            Self::Server(server) => server.moves(),
            Self::Cluster { .. } => Moves::never(),
        }
    }

    /// The server alone; a cluster has none.
    pub(crate) const fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Cluster { .. } => None,
        }
    }

    fn dialer(&self) -> &Dialer {
        match self {
            Self::Server(server) => server.dialer(),
            Self::Cluster { dialer, .. } => dialer,
        }
    }
}

async fn connect_to_server(server: &Server, expected: Role) -> Result<Connected, ConnectError> {
    let config = AsyncConnectionConfig::new()
        // The caller bounds connecting as a whole, and an attempt has the only timer: see `Link`.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let opened = server.open(&config).await?;
    let mut link = Link::Shared(opened.connection);
    let asked = Instant::now();
    let found = role_of(&mut link).await.map_err(|error| denied(error, server.dialer(), &opened.user))?;
    verify(expected, found)?;
    Ok(Connected { link, round_trip: asked.elapsed(), at: opened.at })
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

fn verify(expected: Role, found: Option<Role>) -> Result<(), ConnectError> {
    match (expected, found) {
        (Role::Primary, Some(Role::Primary)) | (Role::Replica, Some(Role::Replica)) => Ok(()),
        (Role::Primary, Some(Role::Replica)) => {
            Err(ConnectError::WrongRole("it is a replica, a primary was expected".to_owned()))
        }
        (Role::Replica, Some(Role::Primary)) => {
            Err(ConnectError::WrongRole("it says that it is a primary, a replica was expected".to_owned()))
        }
        (Role::Primary | Role::Replica, None) => Err(ConnectError::WrongRole("it does not tell its role".to_owned())),
    }
}

impl fmt::Debug for Endpoint {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Cluster { nodes, .. } => {
                f.debug_list().entries(nodes.iter().map(|url| without_credentials(url))).finish()
            }
        }
    }
}
