//! Three Sentinels that watch a primary and its replicas.

use std::collections::HashMap;

use redis::RedisError;

use super::{
    Options, Program, Server, ServerError,
    error::late,
    server::{Role, quoted},
};
use crate::testing::poll;

/// How many Sentinels there are.
const SENTINELS: usize = 3;
/// How many have to agree.
const QUORUM: usize = 2;
/// After how many milliseconds of silence a server counts as down. Sentinels ask once a second or in this time.
const DOWN_AFTER: u64 = 500;
/// How many milliseconds a failover may take before the next is tried.
const FAILOVER_TIMEOUT: u64 = 5000;

/// Three Sentinels that watch a primary and its replicas: quorum 2, down after half a second.
///
/// A primary that is killed is replaced within seconds; [`Sentinels::primary`] says by whom.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Server>,
    servers: Vec<Server>,
}

impl Sentinels {
    /// The name by which the Sentinels know the primary.
    pub const NAME: &'static str = "main";

    /// Starts a primary, its replicas and three Sentinels; waits until all know each other.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn start(program: Program, options: Options, replicas: usize) -> Result<Self, ServerError> {
        let mut primary = Server::start(program, options).await?.with_replicas(replicas).await?;
        let watching = watching(&primary);
        let mut servers = primary.take_replicas();
        servers.insert(0, primary);
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(Server::start_as(Role::Sentinel, program, watching.clone()).await?);
        }
        let started = Self { sentinels, servers };
        for sentinel in &started.sentinels {
            let knows_all =
                poll::within(poll::PATIENCE, || async { knows(sentinel, replicas).await.ok()?.then_some(()) });
            knows_all.await.ok_or_else(|| late("Sentinels that know each other and the replicas"))?;
        }
        Ok(started)
    }

    /// The servers they watch, in the order of their start: the first was the primary then.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The servers they watch, to be killed, paused and restarted.
    #[must_use]
    pub fn servers_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// The Sentinels themselves.
    #[must_use]
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The Sentinels themselves, to be killed, paused and restarted.
    #[must_use]
    pub fn sentinels_mut(&mut self) -> &mut [Server] {
        &mut self.sentinels
    }

    /// The URLs of the Sentinels.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// Which of [`Sentinels::servers`] is the primary by the word of the Sentinels that answer; `None` while fewer than
    /// two answer, or they do not agree.
    pub async fn primary(&self) -> Option<usize> {
        let ask = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(Self::NAME).to_owned();
        let mut ports = Vec::new();
        for sentinel in self.running() {
            if let Ok((_, port)) = sentinel.run::<(String, u16)>(&ask).await {
                ports.push(port);
            }
        }
        let first = *ports.first()?;
        let agreed = ports.len() >= QUORUM && ports.iter().all(|port| *port == first);
        self.servers.iter().position(|server| agreed && server.port() == first)
    }

    /// Waits until the Sentinels agree on another primary than this one and it takes writes; says which.
    ///
    /// # Errors
    /// When that takes longer than [`poll::PATIENCE`].
    pub async fn primary_other_than(&self, former: usize) -> Result<usize, ServerError> {
        let other = poll::within(poll::PATIENCE, || async {
            let now = self.primary().await.filter(|now| *now != former)?;
            let role = self.servers.get(now)?.info("role").await.ok()?;
            (role == "master").then_some(now)
        });
        other.await.ok_or_else(|| late("another primary"))
    }

    /// Has the Sentinels promote a replica although the primary is well; waits until it is done and says which.
    ///
    /// # Errors
    /// When there is no replica to promote, or it does not happen within [`poll::PATIENCE`].
    pub async fn failover(&self) -> Result<usize, ServerError> {
        let former = poll::within(poll::PATIENCE, || self.primary()).await.ok_or_else(|| late("a primary"))?;
        let order = redis::cmd("SENTINEL").arg("FAILOVER").arg(Self::NAME).to_owned();
        // Refused for a while after another failover (INPROG), or while a replica's state is not known (NOGOODSLAVE).
        let ordered = poll::within(poll::PATIENCE, || async { self.running().next()?.run::<()>(&order).await.ok() });
        ordered.await.ok_or_else(|| late("a Sentinel that orders a failover"))?;
        self.primary_other_than(former).await
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.sentinels.iter().filter(|sentinel| sentinel.process_id().is_some())
    }
}

/// The options of a Sentinel that watches this primary.
fn watching(primary: &Server) -> Options {
    let name = Sentinels::NAME;
    let mut lines = vec![
        format!("monitor {name} 127.0.0.1 {} {QUORUM}", primary.port()),
        format!("down-after-milliseconds {name} {DOWN_AFTER}"),
        format!("failover-timeout {name} {FAILOVER_TIMEOUT}"),
        format!("parallel-syncs {name} 1"),
    ];
    if let Some(login) = &primary.options().login {
        lines.push(format!("auth-user {name} {}", quoted(&login.user)));
        lines.push(format!("auth-pass {name} {}", quoted(&login.password)));
    }
    let more = lines.into_iter().map(|line| ("sentinel".to_owned(), line)).collect();
    Options { tls: primary.options().tls.clone(), more, ..Options::default() }
}

/// Whether this Sentinel sees the primary up, the other Sentinels, and all replicas.
async fn knows(sentinel: &Server, replicas: usize) -> Result<bool, RedisError> {
    let ask = redis::cmd("SENTINEL").arg("MASTER").arg(Sentinels::NAME).to_owned();
    let seen: HashMap<String, String> = sentinel.run(&ask).await?;
    let is = |field: &str, value: &str| seen.get(field).is_some_and(|seen| seen == value);
    Ok(is("flags", "master")
        && is("num-other-sentinels", &(SENTINELS - 1).to_string())
        && is("num-slaves", &replicas.to_string()))
}
