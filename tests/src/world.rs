//! Three regions of either kind, with the clients and stores that look at them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago::{
    Builder, Client, Config, Embedded,
    config::{KeyspaceConfig, RegionConfig},
    engine::{Key, Kind, Mutation, Outcome},
    store::{Query, Read, Reply, Store, StoreError, Write},
};
use bytes::Bytes;

use archipelago::testing::{
    poll,
    proxy::ChaosProxy,
    servers::{Options, Program, Server, ServerError},
};

/// The regions' names, in byte order.
pub const REGIONS: [&str; 3] = ["ap-south-1", "eu-west-1", "us-east-1"];

/// What the regions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// In this process.
    Embedded,
    /// Real servers.
    Servers(Program),
}

/// Three regions.
#[derive(Debug)]
pub struct World {
    /// Embedded regions, if it is these.
    pub embedded: Option<Embedded>,
    /// Real servers, if it is these.
    pub servers: Vec<Server>,
    proxies: BTreeMap<(usize, usize), ChaosProxy>,
    settings: KeyspaceConfig,
}

/// Few partitions: tests look at all of them.
#[must_use]
pub fn settings() -> KeyspaceConfig {
    KeyspaceConfig { partitions: 2, ..KeyspaceConfig::default() }
}

impl World {
    /// Three Redis regions.
    ///
    /// # Panics
    /// When the machine lacks Redis.
    pub async fn redis(options: Options) -> Self {
        Self::with(Ground::Servers(Program::Redis), options, settings()).await.expect("redis-server")
    }

    /// Three regions with these settings; `None` when the machine lacks Valkey.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn with(ground: Ground, options: Options, settings: KeyspaceConfig) -> Option<Self> {
        // What a failed test did: `RUST_LOG=archipelago=debug`.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let mut world = Self { embedded: None, servers: Vec::new(), proxies: BTreeMap::new(), settings };
        match ground {
            Ground::Embedded => {
                let builder = REGIONS.iter().fold(Embedded::builder(), |builder, name| builder.region(*name));
                let builder = builder.partitions(world.settings.partitions).log_cap(world.settings.log_cap);
                world.embedded = Some(builder.build().unwrap());
            }
            Ground::Servers(program) => {
                for _ in REGIONS {
                    match Server::start(program, options.clone()).await {
                        Ok(server) => world.servers.push(server),
                        // Valkey is welcome; a test on Redis that does not run must not look like one that passed.
                        Err(ServerError::MissingProgram { .. }) if program == Program::Valkey => return None,
                        Err(error) => panic!("{error}"),
                    }
                }
                for (from, to) in pairs() {
                    world.proxies.insert((from, to), ChaosProxy::before(world.servers[to].address()).await.unwrap());
                }
            }
        }
        Some(world)
    }

    /// The configuration of an app server in a region: its own server directly, the others through proxies.
    #[must_use]
    pub fn config(&self, at: usize) -> Config {
        let url = |to: usize| self.proxies.get(&(at, to)).map_or_else(|| self.servers[to].url(), ChaosProxy::url);
        let regions = REGIONS.iter().enumerate().map(|(to, name)| ((*name).to_owned(), RegionConfig::new(url(to))));
        Config {
            local: Some(REGIONS[at].to_owned()),
            regions: regions.collect(),
            keyspaces: BTreeMap::from([("default".to_owned(), self.settings.clone())]),
            ..Config::default()
        }
    }

    /// A client in a region that drives links in the background.
    ///
    /// # Panics
    /// When it cannot be built.
    pub async fn client(&self, at: usize) -> Client {
        self.builder(at).build().await.expect("a client")
    }

    /// A client in a region that leaves the links alone.
    ///
    /// # Panics
    /// When it cannot be built.
    pub async fn idle_client(&self, at: usize) -> Client {
        self.builder(at).without_sync().build().await.expect("a client")
    }

    /// An idle client in each region.
    pub async fn idle_clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for at in 0..REGIONS.len() {
            clients.push(self.idle_client(at).await);
        }
        clients
    }

    /// A builder of a client in a region.
    pub fn builder(&self, at: usize) -> Builder {
        let builder = Client::builder().local_region(REGIONS[at]);
        match &self.embedded {
            Some(embedded) => builder.embedded(embedded),
            None => builder.config(self.config(at)),
        }
    }

    /// The proxy between app servers of one region and the server of another.
    ///
    /// # Panics
    /// On embedded regions.
    #[must_use]
    pub fn proxy(&self, from: usize, to: usize) -> &ChaosProxy {
        &self.proxies[&(from, to)]
    }

    /// Cuts both ways between two regions.
    ///
    /// # Panics
    /// When there is no such region.
    pub async fn cut(&self, a: usize, b: usize) {
        match &self.embedded {
            Some(embedded) => embedded.partition(REGIONS[a], REGIONS[b]).unwrap(),
            None => {
                self.proxies[&(a, b)].disconnect().await;
                self.proxies[&(b, a)].disconnect().await;
            }
        }
    }

    /// Ends every cut.
    ///
    /// # Panics
    /// When a proxy cannot listen again.
    pub async fn heal(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.heal();
        }
        for proxy in self.proxies.values() {
            proxy.heal().await.unwrap();
        }
    }
}

/// All links.
pub fn pairs() -> impl Iterator<Item = (usize, usize)> {
    let all = 0..REGIONS.len();
    all.clone().flat_map(move |a| all.clone().map(move |b| (a, b))).filter(|(a, b)| a != b)
}

/// Drives all links until every region holds everything.
///
/// # Panics
/// When that takes longer than [`poll::PATIENCE`]; says what is missing.
pub async fn settle(client: &Client) {
    if let Err(error) = client.sync_until_idle(poll::PATIENCE).await {
        panic!("not converged: {error}");
    }
}

/// Waits until the links that run anyway have brought everything everywhere.
///
/// # Panics
/// When that takes longer than [`poll::PATIENCE`]; says what is missing.
pub async fn converged(client: &Client) {
    if let Err(error) = client.wait_converged(poll::PATIENCE).await {
        panic!("not converged: {error}");
    }
}

/// The store below a client.
///
/// # Panics
/// When the client has no keyspace `default`.
#[must_use]
pub fn store(client: &Client) -> Arc<dyn Store> {
    client.keyspace("default").unwrap().store()
}

/// A write.
pub async fn write(store: &dyn Store, kind: Kind, name: &str, mutation: Mutation) -> Result<Outcome, StoreError> {
    store.write(&Write { key: Key::new(kind, name.to_owned()), mutation, exclusive: false }).await
}

/// A read.
///
/// # Panics
/// When it fails.
pub async fn read(store: &dyn Store, kind: Kind, name: &str, query: Query) -> Reply {
    store.read(&Read { key: Key::new(kind, name.to_owned()), query }).await.expect("the read succeeds")
}

/// A reply as one line of text: nested arrays flat, nil as `nil`.
#[must_use]
pub fn line(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Int(n) => n.to_string(),
        Reply::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(" "),
    }
}

/// Some bytes.
#[must_use]
pub fn b(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// A short wait in which something must *not* happen: it can hide a defect, never invent one.
pub async fn linger() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}
