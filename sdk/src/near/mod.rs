//! Near caches: values held in this process until they change, and values as streams of their changes.
//!
//! [`Client::near`](crate::Client::near) gives the near cache of a keyspace of either plane, and [`Near`] its values: a
//! [`NearValue`] reads like the handle of the same name, but answers from memory while nobody has changed the key. The
//! local region tells what changes (client tracking of the server, on a connection of the cache's own), whoever wrote it:
//! this process, another one, or another region whose write arrived. Everything else, writes above all, goes through the
//! usual handles and connections.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
//! use std::time::Duration;
//! use archipelago::{Client, Embedded};
//! use futures_util::StreamExt;
//!
//! let regions = Embedded::builder().region("us").region("eu").build()?;
//! let us = Client::builder().embedded(&regions).local_region("us").build().await?;
//! let eu = Client::builder().embedded(&regions).local_region("eu").build().await?;
//!
//! let banner = us.near("default")?.register::<String>("banner");
//! us.register::<String>("banner").set("Sale").await?;
//! assert_eq!(banner.get().await?.as_deref().map(String::as_str), Some("Sale"));
//! assert!(banner.cached().is_some()); // the next reads take no network
//!
//! let mut changes = banner.watch();
//! assert_eq!(*changes.next().await.unwrap()?.unwrap(), "Sale");
//! eu.register::<String>("banner").set("Over").await?; // another region writes
//! us.wait_converged(Duration::from_secs(5)).await?;
//! assert_eq!(*changes.next().await.unwrap()?.unwrap(), "Over");
//! assert_eq!(banner.get().await?.as_deref().map(String::as_str), Some("Over"));
//! # us.shut_down().await; eu.shut_down().await; Ok(()) }
//! ```
//!
//! # Promised
//! - Once this process was told of a change, no read that begins then gives what was there before: a read that was on its
//!   way meanwhile is given to its caller and not kept.
//! - A value dies with its key: the time a key has left is read with the value, since servers tell of an expiry only when
//!   they get round to deleting the key.
//! - What may have changed unnoticed is dropped: at a reconnect, after a failover, after FLUSHALL.
//! - While there is no such connection, reads go to the region and nothing is held. Where the server does not allow
//!   tracking (an ACL without `client|tracking` or `hello`; a cluster), values are held for
//!   [`NearConfig::ttl`](crate::config::NearConfig::ttl); a warning and [`NearStats::tracking`] say so.
//! - One read of a key is under way at a time, and one load.
//!
//! # Not promised
//! - That a write is seen here the moment it is acknowledged, not even this process's own: the server's word takes half a
//!   round trip. Sessions do not reach in here.
//! - That a connection which died without a sound is noticed at once: it is asked every second, and may take the region's
//!   `response_timeout_ms` (of routed keyspaces: the deadline) to be given up.
//! - That SWAPDB is noticed: servers do not tell of it. Nor is anything else that replaces data behind the server's back.
//!
//! # What it costs the server
//! In active-active keyspaces the server tells of every change of the types in use (mode BCAST, by the prefixes of their views
//! in every partition), whoever holds what; it remembers no keys, and compares each key it changes with the prefixes. In routed
//! keyspaces, whose keys have no prefix of their own, it remembers the keys that were read (`tracking-table-max-keys`).

mod cache;
mod counts;
mod keeper;
mod keyspace;
mod line;
mod recent;
mod source;
mod turns;
mod value;
mod watch;
mod watchers;

use std::{
    any::TypeId,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use archipelago_engine::{Key, Kind};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    cache::Part,
    keeper::keep_tracking,
    keyspace::NearKeyspace,
    source::{Ask, Source},
    value::Decode,
};
pub use self::{
    counts::{NearStats, Tracking},
    value::NearValue,
    watch::Watch,
};
use crate::{
    config::NearConfig,
    error::{Error, ErrorKind},
    handles::{Codec, Json, array, integer_from, number, on_or_off, optional, pairs},
    store::{Query, Read, Reply, embedded::Embedded},
};

/// The near cache of one keyspace, from [`Client::near`](crate::Client::near). Cheap to clone; all of a client's for one
/// keyspace share what they hold.
///
/// Making a value never fails, its calls say what is wrong: with a type of the other plane, [`ErrorKind::Config`].
#[derive(Clone, Debug)]
pub struct Near {
    space: Arc<NearKeyspace>,
}

impl Near {
    /// As [`Register::get`](crate::Register::get).
    #[must_use]
    pub fn register<T: DeserializeOwned + Send + Sync + 'static>(&self, name: impl Into<Bytes>) -> NearValue<T> {
        self.register_with::<T, Json>(name)
    }

    /// As [`Near::register`], with another codec.
    #[must_use]
    pub fn register_with<T, C>(&self, name: impl Into<Bytes>) -> NearValue<T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
        C: Codec,
    {
        self.view::<T, C>(Kind::String, name, Query::Value, Part::Whole, decoded::<T, C>)
    }

    /// As [`Counter::get`](crate::Counter::get): 0 when absent, so that there always is a value.
    #[must_use]
    pub fn counter(&self, name: impl Into<Bytes>) -> NearValue<i64> {
        let decode: Decode<i64> = |reply| optional(reply)?.map_or(Ok(0), |value| integer_from(&value)).map(Some);
        self.view::<i64, ()>(Kind::String, name, Query::Value, Part::Whole, decode)
    }

    /// As [`FirstRegister::get`](crate::FirstRegister::get).
    #[must_use]
    pub fn first_register<T: DeserializeOwned + Send + Sync + 'static>(&self, name: impl Into<Bytes>) -> NearValue<T> {
        self.view::<T, Json>(Kind::First, name, Query::Value, Part::Whole, decoded::<T, Json>)
    }

    /// As [`ExtremeRegister::get`](crate::ExtremeRegister::get) of a [`Client::max_register`](crate::Client::max_register).
    #[must_use]
    pub fn max_register(&self, name: impl Into<Bytes>) -> NearValue<f64> {
        self.view::<f64, ()>(Kind::Max, name, Query::Value, Part::Whole, extreme)
    }

    /// As [`ExtremeRegister::get`](crate::ExtremeRegister::get) of a [`Client::min_register`](crate::Client::min_register).
    #[must_use]
    pub fn min_register(&self, name: impl Into<Bytes>) -> NearValue<f64> {
        self.view::<f64, ()>(Kind::Min, name, Query::Value, Part::Whole, extreme)
    }

    /// As [`Siblings::get`](crate::Siblings::get).
    #[must_use]
    pub fn siblings<T: DeserializeOwned + Send + Sync + 'static>(&self, name: impl Into<Bytes>) -> NearValue<T> {
        self.view::<T, Json>(Kind::Siblings, name, Query::Value, Part::Whole, decoded::<T, Json>)
    }

    /// As [`Flag::get`](crate::Flag::get) of a [`Client::enable_wins_flag`](crate::Client::enable_wins_flag).
    #[must_use]
    pub fn enable_wins_flag(&self, name: impl Into<Bytes>) -> NearValue<bool> {
        self.view::<bool, ()>(Kind::EnableWins, name, Query::Value, Part::Whole, on_or_off)
    }

    /// As [`Flag::get`](crate::Flag::get) of a [`Client::disable_wins_flag`](crate::Client::disable_wins_flag).
    #[must_use]
    pub fn disable_wins_flag(&self, name: impl Into<Bytes>) -> NearValue<bool> {
        self.view::<bool, ()>(Kind::DisableWins, name, Query::Value, Part::Whole, on_or_off)
    }

    /// As [`Set::members`](crate::Set::members); `None` when there are none.
    #[must_use]
    pub fn set(&self, name: impl Into<Bytes>) -> NearValue<BTreeSet<Bytes>> {
        let decode: Decode<BTreeSet<Bytes>> = |reply| {
            let members = array(reply)?.into_iter().map(|member| Ok(optional(member)?.unwrap_or_default()));
            members.collect::<Result<BTreeSet<_>, Error>>().map(|members| some(members, BTreeSet::is_empty))
        };
        self.view::<BTreeSet<Bytes>, ()>(Kind::Set, name, Query::Members, Part::Whole, decode)
    }

    /// As [`Map::entries`](crate::Map::entries); `None` when there are none. The whole map is held, and read again when one
    /// field changes.
    #[must_use]
    pub fn map<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        name: impl Into<Bytes>,
    ) -> NearValue<BTreeMap<Bytes, T>> {
        let decode: Decode<BTreeMap<Bytes, T>> = |reply| {
            let fields = pairs(reply)?.into_iter().map(|(field, value)| Ok((field, Json::decode(&value)?)));
            fields.collect::<Result<BTreeMap<_, _>, Error>>().map(|fields| some(fields, BTreeMap::is_empty))
        };
        self.view::<BTreeMap<Bytes, T>, Json>(Kind::Hash, name, Query::All, Part::Whole, decode)
    }

    /// As [`SortedSet::top`](crate::SortedSet::top) with this count; `None` when there are no members.
    #[must_use]
    pub fn sorted_set(&self, name: impl Into<Bytes>, count: u32) -> NearValue<Vec<(Bytes, f64)>> {
        self.ranking(Kind::SortedSet, name, count, true)
    }

    /// As [`BestScores::top`](crate::BestScores::top) of a [`Client::high_scores`](crate::Client::high_scores), with this
    /// count; `None` when there are no members.
    #[must_use]
    pub fn high_scores(&self, name: impl Into<Bytes>, count: u32) -> NearValue<Vec<(Bytes, f64)>> {
        self.ranking(Kind::HighScores, name, count, true)
    }

    /// As [`BestScores::top`](crate::BestScores::top) of a [`Client::low_scores`](crate::Client::low_scores), with this
    /// count; `None` when there are no members.
    #[must_use]
    pub fn low_scores(&self, name: impl Into<Bytes>, count: u32) -> NearValue<Vec<(Bytes, f64)>> {
        self.ranking(Kind::LowScores, name, count, false)
    }

    /// A string of a routed keyspace as JSON, as [`Connection::get_value`](crate::Connection::get_value): `null` stands for
    /// "known not to exist".
    ///
    /// It is read at one node, where the keyspace's policy sends reads first: a replica's answer, where that is one, with
    /// no fallback to the primary.
    #[must_use]
    pub fn value<T: DeserializeOwned + Send + Sync + 'static>(&self, key: impl Into<Bytes>) -> NearValue<T> {
        let key = key.into();
        let is_routed = self.space.source.partitions().is_none();
        if is_routed {
            self.space.want(u32::MAX);
        }
        let space = if is_routed { Ok(self.space.clone()) } else { Err(wrong_plane(false)) };
        let decode: Decode<T> = |reply| match optional(reply)? {
            Some(bytes) => Json::decode(&bytes),
            None => Ok(None),
        };
        NearValue::new(space, key.clone(), Ask::Plain(key), (TypeId::of::<(T, Json)>(), Part::Whole), decode)
    }

    /// What it did, what it holds, and whether the server tells what changes.
    #[must_use]
    pub fn stats(&self) -> NearStats {
        self.space.stats()
    }

    /// Drops everything it holds. Who watches reads again.
    pub fn clear(&self) {
        self.space.cache.invalidate_all();
    }

    fn ranking(&self, kind: Kind, name: impl Into<Bytes>, count: u32, reverse: bool) -> NearValue<Vec<(Bytes, f64)>> {
        let decode: Decode<Vec<(Bytes, f64)>> = |reply| {
            let members = pairs(reply)?.into_iter().map(|(member, score)| Ok((member, number(&score)?)));
            members.collect::<Result<Vec<_>, Error>>().map(|members| some(members, Vec::is_empty))
        };
        // None at all would be -1 as the last index, and so all of them.
        let stop = i64::from(count.max(1)) - 1;
        let query = Query::RangeByRank { start: 0, stop, reverse };
        self.view::<Vec<(Bytes, f64)>, ()>(kind, name, query, Part::Top(count.max(1)), decode)
    }

    fn view<T: Send + Sync + 'static, C: 'static>(
        &self,
        kind: Kind,
        name: impl Into<Bytes>,
        query: Query,
        part: Part,
        decode: Decode<T>,
    ) -> NearValue<T> {
        let key = Key::new(kind, name);
        let (space, name) = match self.space.view(&key) {
            Some(name) => {
                self.space.want_kind(kind);
                (Ok(self.space.clone()), name)
            }
            None => (Err(wrong_plane(true)), Bytes::new()),
        };
        NearValue::new(space, name, Ask::View(Read { key, query }), (TypeId::of::<(T, C)>(), part), decode)
    }
}

fn decoded<T: DeserializeOwned, C: Codec>(reply: Reply) -> Result<Option<T>, Error> {
    optional(reply)?.map(|bytes| C::decode(&bytes)).transpose()
}

fn extreme(reply: Reply) -> Result<Option<f64>, Error> {
    optional(reply)?.as_ref().map(number).transpose()
}

/// A key without members is no key.
fn some<T>(value: T, is_empty: impl FnOnce(&T) -> bool) -> Option<T> {
    if is_empty(&value) { None } else { Some(value) }
}

fn wrong_plane(is_routed: bool) -> Error {
    let what = if is_routed {
        "the keyspace is routed: of a near cache, use `value(key)`"
    } else {
        "the keyspace is active-active: of a near cache, use `register`, `counter`, `set`, `map` and the like"
    };
    Error::new(ErrorKind::Config, what)
}

/// The near caches of a client, made when they are first asked for.
pub(crate) struct NearCaches {
    configs: BTreeMap<String, NearConfig>,
    pub(crate) embedded: Option<Embedded>,
    made: Mutex<BTreeMap<String, Arc<NearKeyspace>>>,
    /// They may be asked for outside of a runtime.
    runtime: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a keyspace's near cache is made of.
pub(crate) enum Ground {
    /// An active-active keyspace on a server.
    Region {
        /// The keyspace in the local region.
        store: crate::redis::RedisStore,
        /// The local region.
        region: Arc<crate::redis::RedisRegion>,
    },
    /// The same in this process.
    Embedded {
        /// The keyspace in the local region.
        store: Arc<dyn crate::store::Store>,
    },
    /// A routed keyspace.
    Routed(crate::Connection),
}

impl NearCaches {
    /// Within a runtime.
    pub(crate) fn new(configs: BTreeMap<String, NearConfig>, embedded: Option<Embedded>) -> Self {
        Self {
            configs,
            embedded,
            made: Mutex::default(),
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// The near cache of a keyspace.
    pub(crate) fn near(&self, keyspace: &str, ground: impl FnOnce() -> Result<Ground, Error>) -> Result<Near, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = made.get(keyspace) {
            return Ok(Near { space: space.clone() });
        }
        let config = self.configs.get(keyspace).cloned().unwrap_or_default();
        let new = |source| Arc::new(NearKeyspace::new(keyspace, &config, source, self.stop.clone()));
        let space = match ground()? {
            Ground::Region { store, region } => {
                let (server, patience) = (region.server().clone(), region.patience());
                new(Source::Region { store: Arc::new(store), server, patience })
            }
            Ground::Routed(connection) => new(Source::Routed(connection)),
            Ground::Embedded { store } => {
                let region = store.region().clone();
                let space = new(Source::Embedded(store));
                if let Some(embedded) = &self.embedded {
                    let listener: Arc<dyn crate::store::embedded::Listener> = space.clone();
                    embedded.listen(&region, Arc::downgrade(&listener))?;
                }
                space
            }
        };
        if !matches!(space.source, Source::Embedded(_)) {
            let task = self.stop.clone().run_until_cancelled_owned(keep_tracking(space.clone()));
            self.tasks.spawn_on(task, &self.runtime);
        }
        made.insert(keyspace.to_owned(), space.clone());
        Ok(Near { space })
    }

    /// Ends the tasks, the connections and the streams.
    pub(crate) async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let made: Vec<_> = self.made.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for space in made {
            space.turn_off("the client was shut down".to_owned());
        }
    }
}

impl Drop for NearCaches {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for NearCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCaches").field("configs", &self.configs).finish_non_exhaustive()
    }
}
