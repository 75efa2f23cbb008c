//! One server of an embedded region, below the command interpreter: connections that break or hang as on a real network,
//! and one command after the other.

use std::{
    fmt, future, io,
    sync::{Arc, Weak},
    time::Duration,
};

use archipelago_engine::RegionId;

use super::{
    World,
    calls::{Connection, EmbeddedStore},
    lineage::Lineage,
    listeners::Listener,
    region::Region,
    replica::Replica,
};
use crate::store::Store;

/// A region's primary or a replica, as an app server somewhere sees it.
#[derive(Clone)]
pub(crate) struct EmbeddedNode {
    world: Arc<World>,
    vantage: RegionId,
    name: Arc<str>,
    region: RegionId,
    stands_in: RegionId,
    server: Arc<Region>,
    replica: Option<Arc<Replica>>,
}

impl EmbeddedNode {
    pub(super) fn primary(world: Arc<World>, vantage: RegionId, server: Arc<Region>) -> Self {
        let (name, region) = (format!("{}/primary", server.id).into(), server.id.clone());
        Self { world, vantage, name, stands_in: region.clone(), region, server, replica: None }
    }

    pub(super) fn replica(world: Arc<World>, vantage: RegionId, replica: Arc<Replica>, number: u32) -> Self {
        let (region, stands_in) = (replica.of.id.clone(), replica.stands_in.clone());
        let name = format!("{region}/replica-{number}@{stands_in}").into();
        Self { world, vantage, name, region, stands_in, server: replica.copy.clone(), replica: Some(replica) }
    }

    /// Named as a node of real servers is.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whose data it holds.
    pub(crate) const fn region(&self) -> &RegionId {
        &self.region
    }

    pub(crate) const fn stands_in(&self) -> &RegionId {
        &self.stands_in
    }

    pub(crate) const fn is_replica(&self) -> bool {
        self.replica.is_some()
    }

    /// Its plain keys, for work that [`EmbeddedNode::call`] runs. No call of it waits.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::new(EmbeddedStore::within(self.world.clone(), self.server.clone()))
    }

    /// Lets somebody hear of every key that changes here. A replica catches up when it is asked for something.
    pub(crate) fn listen(&self, listener: Weak<dyn Listener>) {
        self.server.listeners.add(listener);
    }

    /// How far behind its primary it is at most; a primary never is.
    pub(crate) fn behind(&self) -> Duration {
        self.replica.as_ref().map_or(Duration::ZERO, |replica| replica.behind(&self.world.clock))
    }

    /// Where its history stands. Within a call: with all that the call has changed so far.
    pub(crate) fn lineage(&self) -> Lineage {
        let state = self.server.state();
        state.lineage.after(state.unsent.len())
    }

    /// A connection to the process that serves at present. Costs no time: what follows it does.
    ///
    /// # Errors
    /// Of the kinds that a network has for it.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        if self.is_cut() {
            let text = format!("no way from {} to {}", self.vantage, self.stands_in);
            return Err(io::Error::new(io::ErrorKind::HostUnreachable, text));
        }
        Connection::to(&self.server.state()).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    /// A call: there, the work with nobody else's in between, and back. Over a cut network it hangs, and its caller has
    /// the timer: who sent, hears nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionReset`] when the process is gone: the work may have been done.
    ///
    /// # Cancel safety
    /// Dropped before the server was reached, nothing was done. The work itself is done as a whole.
    pub(crate) async fn call<T>(&self, connection: Connection, work: impl FnOnce() -> T) -> io::Result<T> {
        self.travel(connection).await?;
        let done = self.run(connection, work)?;
        self.travel(connection).await?;
        if self.world.network.loses_replies(&self.vantage, &self.stands_in) {
            future::pending::<()>().await;
        }
        Ok(done)
    }

    fn run<T>(&self, connection: Connection, work: impl FnOnce() -> T) -> io::Result<T> {
        let _alone = self.server.serving();
        self.check(connection)?;
        if let Some(replica) = &self.replica {
            self.world.catch_up(replica);
        }
        let done = work();
        let changes = std::mem::take(&mut self.server.state().unsent);
        self.world.publish(&self.server, changes);
        // The process may have died meanwhile: then nobody hears how it went.
        self.check(connection)?;
        Ok(done)
    }

    async fn travel(&self, connection: Connection) -> io::Result<()> {
        self.arrive(connection).await?;
        self.world.travel(&self.vantage, &self.stands_in).await;
        self.arrive(connection).await
    }

    async fn arrive(&self, connection: Connection) -> io::Result<()> {
        if self.is_cut() {
            future::pending::<()>().await;
        }
        self.check(connection)
    }

    fn check(&self, connection: Connection) -> io::Result<()> {
        let is_served = connection.is_to(&self.server.state());
        if is_served { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }

    fn is_cut(&self) -> bool {
        self.world.network.is_cut(&self.vantage, &self.stands_in)
    }
}

impl fmt::Debug for EmbeddedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedded {} from {}", self.name, self.vantage)
    }
}
