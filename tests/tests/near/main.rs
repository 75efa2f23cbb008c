//! Near caches, and values as streams: one set of promises on embedded regions, Redis and Valkey, and faults on servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod bounds;
mod faults;
mod history;
mod invalidation;
mod loads;
mod routed;
mod watching;

use std::{collections::BTreeMap, time::Duration};

use archipelago::{
    Builder, Client, Config,
    config::{KeyspaceConfig, NearConfig, RegionConfig},
    near::{Near, NearValue, Tracking},
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use archipelago_tests::{
    suite,
    world::{Ground, World, settings},
};

/// Longer than any test: what goes earlier was dropped for another reason.
pub const LONG: Duration = Duration::from_secs(3600);

/// A near cache that holds values for as long as they do not change.
pub fn patient() -> NearConfig {
    NearConfig { ttl: LONG, ..NearConfig::default() }
}

/// Three regions, a client that writes in the first, and another one there with a near cache.
pub struct Site {
    pub world: World,
    pub writer: Client,
    pub reader: Client,
    pub near: Near,
}

impl Site {
    /// `None` when the machine lacks Valkey.
    pub async fn on(ground: Ground) -> Option<Self> {
        let world = World::with(ground, Options::default(), settings()).await?;
        let writer = world.idle_client(0).await;
        let reader = world.builder(0).without_sync().near_cache("default", patient()).build().await.unwrap();
        let near = reader.near("default").unwrap();
        Some(Self { world, writer, reader, near })
    }

    pub async fn end(self) {
        self.writer.shut_down().await;
        self.reader.shut_down().await;
    }
}

/// A region of one server.
pub async fn alone(options: Options) -> (Server, Config) {
    let server = Server::redis(options).await.unwrap();
    let config = config_of(&server.url());
    (server, config)
}

/// A region at this address.
pub fn config_of(url: &str) -> Config {
    Config {
        regions: BTreeMap::from([("eu".to_owned(), RegionConfig::new(url))]),
        keyspaces: BTreeMap::from([("default".to_owned(), KeyspaceConfig { near_cache: patient(), ..settings() })]),
        ..Config::default()
    }
}

/// A client that drives no links.
pub async fn client(config: Config) -> Client {
    builder(config).build().await.unwrap()
}

pub fn builder(config: Config) -> Builder {
    Client::builder().config(config).without_sync()
}

/// Waits until the server tells what changes.
pub async fn tracked(near: &Near) {
    poll::until("tracking", || async { (near.stats().tracking == Tracking::On).then_some(()) }).await;
}

/// Waits until a value is held, and returns it.
pub async fn held<T: Clone + Send + Sync + 'static>(value: &NearValue<T>) -> Option<T> {
    let held = || async {
        value.get().await.unwrap();
        value.cached()
    };
    poll::until("the value is held", held).await.map(|value| T::clone(&value))
}

/// Waits until a value is what it should be.
pub async fn becomes<T: PartialEq + std::fmt::Debug + Send + Sync + 'static>(
    value: &NearValue<T>,
    expected: Option<T>,
) {
    let asked = || async { (value.get().await.unwrap().as_deref() == expected.as_ref()).then_some(()) };
    poll::until(&format!("{expected:?}"), asked).await;
}

async fn on<F: Future<Output = ()>>(ground: Ground, test: impl FnOnce(Site) -> F) {
    match Site::on(ground).await {
        Some(site) => test(site).await,
        None => suite::not_run(),
    }
}

suite! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    invalidation {
        what_another_client_writes_is_seen
        what_another_region_wrote_is_seen_when_it_arrives
        what_another_region_pushed_is_seen_when_it_arrives
        what_is_deleted_is_gone
        what_expires_is_gone_when_it_expires
        nothing_is_held_of_what_a_server_lost
        every_type_is_read_as_by_its_handle
        one_key_may_be_read_in_several_ways
    }
    loads {
        callers_at_the_same_time_share_a_load_and_what_it_gave_is_held
        a_loader_that_is_dropped_hands_over
        a_loaders_error_is_not_held
        what_the_region_has_comes_first
    }
    watching {
        a_watcher_sees_what_is_and_what_comes
        changes_in_quick_succession_come_as_the_latest
        many_watchers_share_one_read
        a_watcher_sees_a_key_expire
        a_watcher_ends_with_the_client
        what_is_no_such_value_is_an_error_and_the_stream_goes_on
    }
    history {
        no_read_gives_what_was_there_before_a_change_that_was_told
    }
}
