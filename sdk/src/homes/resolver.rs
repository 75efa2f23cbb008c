//! Resolves homes: rules over what is looked up, with the answers kept.

use super::{
    CacheConfig, HomeDecision, HomeRequest, Lookup, SpecialUse, UserAddress, address::canonical, decision::Decided,
    rules::Rules,
};
use crate::routing::RegionInfo;

/// Decides which region is a user's home, and says why.
///
/// Made by [`HomesConfig::build`](super::HomesConfig::build) or `open`. Total: every request gets a region, by the
/// configured default if nothing is known. Pure but for the database: the same request, rules and database give the
/// same home in every process, whatever the regions' health. It does not remember: a user who travels gets another
/// home, and so does everybody when rules or database change. Store the answer where homes have to stay.
///
/// Cheap enough for every request; share it in an `Arc`. Figures are in `benches/homes.rs`.
#[derive(Debug)]
pub struct HomeResolver {
    rules: Rules,
    #[cfg_attr(not(feature = "homes"), allow(dead_code, reason = "answers of a database are kept"))]
    cache: CacheConfig,
    #[cfg(feature = "homes")]
    database: Option<super::database::CachedDatabase<Decided>>,
}

impl HomeResolver {
    pub(super) fn new(rules: Rules, cache: CacheConfig) -> Self {
        Self {
            rules,
            cache,
            #[cfg(feature = "homes")]
            database: None,
        }
    }

    /// The same rules over addresses looked up in this database.
    #[cfg(feature = "homes")]
    #[must_use]
    pub fn with_database(mut self, database: super::Database) -> Self {
        self.database = Some(super::database::CachedDatabase::new(database, &self.cache));
        self
    }

    /// The database, if there is one: for its status, or to reload it.
    #[cfg(feature = "homes")]
    #[must_use]
    pub fn database(&self) -> Option<&super::Database> {
        self.database.as_ref().map(super::database::CachedDatabase::database)
    }

    /// The regions, in the order of [`HomeDecision::index`].
    #[must_use]
    pub fn regions(&self) -> &[RegionInfo] {
        &self.rules.regions
    }

    /// The home of a user.
    ///
    /// Does no I/O, never waits and never panics.
    #[must_use]
    pub fn resolve(&self, request: &HomeRequest<'_>) -> HomeDecision<'_> {
        let unpinned = match (request.place, request.address) {
            (Some(place), _) => self.decide(Lookup::Told(place)),
            (None, Some(UserAddress::Ip(address))) => self.decide_at(canonical(address)),
            (None, Some(UserAddress::Malformed)) => self.decide(Lookup::Malformed),
            (None, None) => self.decide(Lookup::NoAddress),
        };
        let decided = match request.pin {
            // What is kept is without a pin: a pin is the user's, and an address has many users.
            Some(pin) => self.rules.decide(Some(pin), unpinned.lookup),
            None => unpinned,
        };
        HomeDecision { rules: &self.rules, decided }
    }

    fn decide(&self, lookup: Lookup) -> Decided {
        self.rules.decide(None, lookup)
    }

    fn decide_at(&self, address: std::net::IpAddr) -> Decided {
        if let Some(special) = SpecialUse::of(address) {
            return self.decide(Lookup::Special(special));
        }
        #[cfg(feature = "homes")]
        if let Some(database) = &self.database {
            return database.answer(address, |lookup| self.decide(lookup));
        }
        self.decide(Lookup::NoDatabase)
    }
}
