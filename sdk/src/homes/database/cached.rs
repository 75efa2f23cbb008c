//! A database whose answers are kept.

use std::{fmt, net::IpAddr, time::Duration};

use moka::sync::Cache;

use super::Database;
use crate::homes::{CacheConfig, Lookup};

/// A database, and what was concluded from its answers.
///
/// Each conclusion is kept with the generation of the contents it comes from, and holds no longer. Emptying the cache
/// when the contents change would not do: a lookup that began before the change could fill in an old answer after it.
pub(in crate::homes) struct CachedDatabase<T> {
    database: Database,
    /// `None` when nothing is to be kept.
    kept: Option<Cache<IpAddr, (u64, T)>>,
}

impl<T: Copy + Send + Sync + 'static> CachedDatabase<T> {
    pub(in crate::homes) fn new(database: Database, config: &CacheConfig) -> Self {
        let cache = || {
            let ttl = Duration::from_secs(config.ttl_secs);
            Cache::builder().max_capacity(config.entries).time_to_live(ttl).build()
        };
        Self { database, kept: (config.entries > 0).then(cache) }
    }

    /// What follows from where an address is, as `conclude` says. Expects the address in canonical form.
    pub(in crate::homes) fn answer(&self, address: IpAddr, conclude: impl FnOnce(Lookup) -> T) -> T {
        let contents = self.database.shared.contents.load();
        let Some(kept) = &self.kept else { return conclude(contents.look_up(address)) };
        if let Some((generation, answer)) = kept.get(&address)
            && generation == contents.generation
        {
            return answer;
        }
        let answer = conclude(contents.look_up(address));
        kept.insert(address, (contents.generation, answer));
        answer
    }

    pub(in crate::homes) fn database(&self) -> &Database {
        &self.database
    }
}

impl<T> fmt::Debug for CachedDatabase<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is kept: addresses of users have no place in a log.
        self.database.fmt(f)
    }
}
