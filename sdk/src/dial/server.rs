//! One server: found, and connected to.

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, ConnectionInfo, aio::MultiplexedConnection};
use tokio::sync::watch;

use super::{
    DialError, Dialer, Driver,
    dialer::{Address, user_of},
    sentinel::Sentinel,
};
use crate::config::{RegionConfig, is_tls, without_credentials};

/// One server: where it is, and how to get in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    place: Place,
    dialer: Dialer,
}

/// Where a server is.
#[derive(Clone)]
enum Place {
    /// At one address.
    Fixed(Arc<str>),
    /// Where another server says that it is.
    Named(Address, IsTls),
    /// Where the Sentinels say that the primary is.
    Primary(Arc<Sentinel>),
    /// Where the Sentinels say that there is a replica: one for each slot.
    Replica(Arc<Sentinel>, usize),
}

type IsTls = bool;

/// A connection, not verified yet.
pub(crate) struct Opened {
    pub(crate) connection: MultiplexedConnection,
    /// Where it leads; `None` but for TCP.
    pub(crate) at: Option<Address>,
    /// As whom it logged in.
    pub(crate) user: String,
}

impl Server {
    /// The server at this address.
    pub(crate) fn at(url: &str, dialer: Dialer) -> Self {
        Self { place: Place::Fixed(url.into()), dialer }
    }

    /// Another server, that is reached in the same way.
    pub(crate) fn elsewhere(&self, address: Address) -> Self {
        Self { place: Place::Named(address, self.is_tls()), dialer: self.dialer.clone() }
    }

    fn is_tls(&self) -> IsTls {
        match &self.place {
            Place::Fixed(url) => is_tls(url),
            Place::Named(_, is_tls) => *is_tls,
            Place::Primary(sentinel) | Place::Replica(sentinel, _) => sentinel.is_tls(),
        }
    }

    /// It did not let us in within that time.
    pub(crate) fn late(&self, limit: Duration) -> DialError {
        if self.is_tls() { DialError::LateOverTls(limit) } else { DialError::Late(limit) }
    }

    /// The same, where the crate's own timer went off first.
    pub(crate) fn or_late(&self, error: DialError, limit: Duration) -> DialError {
        match error {
            DialError::Redis(error) if error.is_timeout() => self.late(limit),
            error => error,
        }
    }

    /// A region's primary; `None` for a cluster.
    pub(crate) fn primary_of(config: &RegionConfig, dialer: &Dialer) -> Option<Self> {
        let place = match &config.sentinel {
            Some(sentinel) => Place::Primary(Arc::new(Sentinel::new(sentinel, config.replicas.values().flatten()))),
            None if config.url.is_empty() => return None,
            None => Place::Fixed(config.url.as_str().into()),
        };
        Some(Self { place, dialer: dialer.clone() })
    }

    /// So many replicas, as the Sentinels of this primary report them.
    pub(crate) fn replicas(&self) -> Vec<Self> {
        let Some(sentinel) = self.sentinel() else { return Vec::new() };
        let replica = |slot| Self { place: Place::Replica(sentinel.clone(), slot), dialer: self.dialer.clone() };
        (0..sentinel.slots()).map(replica).collect()
    }

    /// Who says where it is, if that can change.
    pub(crate) fn sentinel(&self) -> Option<&Arc<Sentinel>> {
        match &self.place {
            Place::Fixed(_) | Place::Named(..) => None,
            Place::Primary(sentinel) | Place::Replica(sentinel, _) => Some(sentinel),
        }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// How to connect to it now.
    pub(crate) async fn info(&self) -> Result<ConnectionInfo, DialError> {
        let (sentinel, found) = match &self.place {
            Place::Fixed(url) => return self.dialer.info(url).await,
            Place::Named(address, is_tls) => return self.dialer.info_at(address, *is_tls).await,
            Place::Primary(sentinel) => (sentinel, sentinel.primary(&self.dialer).await?),
            Place::Replica(sentinel, slot) => (sentinel, sentinel.replica(&self.dialer, *slot).await?),
        };
        self.dialer.info_at(&found, sentinel.is_tls()).await
    }

    /// Connects. Its role is not verified yet: say [`Server::verified`] or [`Server::doubt`] afterwards.
    pub(crate) async fn open(&self, config: &AsyncConnectionConfig) -> Result<Opened, DialError> {
        let info = self.info().await?;
        let (at, user) = (Address::of(&info), user_of(info.redis_settings()));
        let connection = self.dialer.open(info, config).await?;
        Ok(Opened { connection, at, user })
    }

    /// The same, for many callers at a time: see [`Driver`].
    pub(crate) async fn open_shared(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<(Opened, Option<Driver>), DialError> {
        let info = self.info().await?;
        let (at, user) = (Address::of(&info), user_of(info.redis_settings()));
        let (connection, driver) = self.dialer.open_shared(&info, config).await?;
        Ok((Opened { connection, at, user }, driver))
    }

    /// The server there is what it should be.
    pub(crate) fn verified(&self, at: Option<&Address>) {
        if let (Place::Primary(sentinel), Some(at)) = (&self.place, at) {
            sentinel.learn(at.clone());
        }
    }

    /// The connection failed, or led to the wrong server.
    pub(crate) fn doubt(&self) {
        if let Some(sentinel) = self.sentinel() {
            sentinel.doubt();
        }
    }

    /// Follows where it is.
    pub(crate) fn moves(&self) -> Moves {
        let known = self.sentinel().map(|sentinel| sentinel.known());
        Moves { known, is_primary: matches!(self.place, Place::Primary(_)) }
    }
}

/// Follows where a server is: the same for ever, unless Sentinels say otherwise.
pub(crate) struct Moves {
    known: Option<watch::Receiver<Option<Address>>>,
    is_primary: bool,
}

impl Moves {
    /// Of what nobody moves.
    pub(crate) const fn never() -> Self {
        Self { known: None, is_primary: true }
    }

    /// Takes what is known now for old news.
    pub(crate) fn look(&mut self) {
        if let Some(known) = &mut self.known {
            known.borrow_and_update();
        }
    }

    /// Waits for news since the last look.
    pub(crate) async fn news(&mut self) {
        if let Some(known) = &mut self.known
            && known.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Waits until the server there is not the one that is meant: another one is the primary, or a replica became it.
    pub(crate) async fn away_from(&mut self, at: Option<&Address>) {
        if let (Some(known), Some(at)) = (&mut self.known, at) {
            let is_primary = self.is_primary;
            let is_away = |known: &Option<Address>| known.as_ref().is_some_and(|known| (known == at) != is_primary);
            if known.wait_for(is_away).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Whether that has happened.
    pub(crate) fn is_away_from(&self, at: Option<&Address>) -> bool {
        match (&self.known, at) {
            (Some(known), Some(at)) => known.borrow().as_ref().is_some_and(|known| (known == at) != self.is_primary),
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

impl fmt::Debug for Server {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Fixed(url) => f.write_str(&without_credentials(url)),
            Place::Named(address, _) => address.fmt(f),
            Place::Primary(sentinel) => write!(f, "the primary of {sentinel:?}"),
            Place::Replica(sentinel, slot) => write!(f, "replica {} of {sentinel:?}", slot + 1),
        }
    }
}
