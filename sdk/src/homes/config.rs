//! How users get their homes, as a configuration file says it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{
    Continent, Country, HomeResolver, TrustedProxies,
    rules::{Allowed, Rules},
};
#[cfg(feature = "homes")]
use super::{Database, DatabaseError};
use crate::{
    resilience::OptionRow,
    routing::{MAX_REGIONS, RegionIndex, RegionInfo},
};

/// Every default of homes in one place.
pub mod defaults {
    /// On: users live near, unless something else is said.
    pub const NEAREST: bool = true;
    /// Seconds between two looks at the database's file.
    pub const RELOAD_SECS: u64 = 60;
    /// Answers kept, about 200 bytes each.
    pub const CACHE_ENTRIES: u64 = 10_000;
    /// Seconds an answer is kept. A new database or new rules do not wait for it: it bounds how long addresses of
    /// users stay in memory.
    pub const CACHE_TTL_SECS: u64 = 600;
}

/// How users get their homes.
///
/// The steps are asked in this order, and the first with an answer decides: the user's own pin, `pin`, the residency
/// rule of the user's country when it allows one region only, `countries`, `continents`, the nearest region,
/// `default`. A residency rule overrules every answer outside of it; when nothing else is left its first region
/// decides.
///
/// ```
/// use archipelago::{
///     homes::{HomeRequest, HomeStep, HomesConfig, Place},
///     routing::{Location, RegionInfo},
/// };
///
/// let config: HomesConfig = toml::from_str(r#"
///     default = "us-east-1"
///     countries = { IN = "ap-south-1" }
///     continents = { EU = "eu-west-1", AF = "eu-west-1" }
///
///     [[residency]]
///     countries = ["DE", "FR"]
///     regions = ["eu-central-1", "eu-west-1"]
/// "#)?;
/// let places = [
///     ("us-east-1", 39.0, -77.5),
///     ("eu-west-1", 53.3, -6.3),
///     ("eu-central-1", 50.1, 8.7),
///     ("ap-south-1", 19.1, 72.9),
/// ];
/// let regions = places.map(|(name, lat, lon)| {
///     RegionInfo::new(name.parse().unwrap()).with_location(Location::new(lat, lon).unwrap())
/// });
/// let homes = config.build(&regions)?;
///
/// // A German who would like to live in America, and may not.
/// let german = HomeRequest::new().with_place(Place::in_country("DE".parse()?)).with_pin("us-east-1");
/// let home = homes.resolve(&german);
/// assert_eq!((home.region().as_str(), home.step()), ("eu-west-1", HomeStep::Continent));
/// assert!(home.to_string().contains("user's pin: us-east-1 is outside the residency"));
///
/// // Nobody has said anything about Brazil.
/// let rio = Place::in_country("BR".parse()?).with_location(Location::new(-22.9, -43.2)?);
/// let home = homes.resolve(&HomeRequest::new().with_place(rio));
/// assert_eq!((home.region().as_str(), home.step()), ("us-east-1", HomeStep::Nearest));
///
/// let mistaken: HomesConfig = toml::from_str("countries = { DE = 'mars' }")?;
/// let error = mistaken.build(&regions[..2]).unwrap_err();
/// assert_eq!(error.to_string(), "countries.DE: unknown region \"mars\", known: us-east-1, eu-west-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HomesConfig {
    /// The home of all users but those with a pin of their own; default none.
    pub pin: Option<String>,
    /// Where a country's users may live; default anywhere.
    ///
    /// Applies to users whose country is known: see to it that `default` suits the others. It decides where homes are,
    /// and nothing about what else is stored where: confine the data with `residency` in the keyspace's routing.
    pub residency: Vec<ResidencyRule>,
    /// The home of a country's users; default none.
    pub countries: BTreeMap<Country, String>,
    /// The home of a continent's users: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`; default none.
    pub continents: BTreeMap<Continent, String>,
    /// Whether users live in the nearest region, where their coordinates and those of regions are known; default true.
    /// A database of countries has no coordinates: write `countries` and `continents` for it.
    pub nearest: bool,
    /// The home of all others; default the region with the greatest weight, of equals the first.
    pub default: Option<String>,
    /// Whose word on a client's address is taken; default nobody's. Not used to resolve homes: it is here so that one
    /// file says all that a request needs on the way to its home.
    pub proxies: TrustedProxies,
    /// The database of places of IP addresses; default none. Needs the feature `homes`.
    pub database: Option<DatabaseConfig>,
    /// How answers for addresses are kept.
    pub cache: CacheConfig,
}

/// The regions where users of some countries may live.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidencyRule {
    /// The countries; each is in one rule at most.
    pub countries: Vec<Country>,
    /// The regions, the preferred first; at least one.
    pub regions: Vec<String>,
}

/// A file with the places of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// The file, in the format of MaxMind DB.
    pub path: PathBuf,
    /// Seconds between two looks whether there is a new file; default 60, at most a day. Zero: never.
    #[serde(default = "default_reload_secs")]
    pub reload_secs: u64,
    /// Whether the file is mapped rather than read into memory: processes of one machine then share its pages, and what
    /// nobody asks for may leave memory. Needs the feature `homes-mmap`; default false.
    ///
    /// **Replace the file only by renaming another over it**, on the same filesystem: `cp new.mmdb .tmp && mv .tmp
    /// GeoLite2-City.mmdb`. The old contents stay whole for whoever has them mapped. A mapped file that is written in
    /// place changes under the reader, and one that is truncated kills the process with SIGBUS. Nothing here can rule
    /// that out, which is why it is off unless it is asked for twice.
    #[serde(default)]
    pub mapped: bool,
}

/// How answers for addresses are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How many, about 200 bytes each; default 10,000, at most 10,000,000. Zero: none. Fewer than there are active
    /// users only cost a lookup now and then.
    pub entries: u64,
    /// Seconds an answer is kept; default 600, 1 to a day. It bounds how long the addresses of users stay in memory;
    /// a new database does not wait for it.
    pub ttl_secs: u64,
}

/// Why a configuration of homes makes no resolver. The text begins with the key to look at.
#[derive(Debug, Error)]
pub enum HomesError {
    /// No region to live in.
    #[error("regions: none; homes need at least one")]
    NoRegions,
    /// More regions than a topology has.
    #[error("regions: {0} are too many: at most {MAX_REGIONS}")]
    TooManyRegions(usize),
    /// A region that is not among the known ones.
    #[error("{key}: unknown region {name:?}, known: {known}")]
    UnknownRegion {
        /// The key that names it.
        key: String,
        /// Its name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A residency rule without countries would never apply, one without regions would leave its users nowhere.
    #[error("{key}: empty; leave the rule out to allow all regions")]
    Empty {
        /// The key of the list.
        key: String,
    },
    /// Two residency rules for one country.
    #[error("{key}: {country} is in another rule already: one rule for each country")]
    TwoRules {
        /// The key of the second rule.
        key: String,
        /// The country.
        country: Country,
    },
    /// A region for users of a country that may not live there.
    #[error("{key}: {region} is outside the residency of {country}, which allows {allowed}")]
    OutsideResidency {
        /// The key that names the region.
        key: String,
        /// The region.
        region: String,
        /// The country.
        country: Country,
        /// The regions that it allows.
        allowed: String,
    },
    /// A number that is not meant.
    #[error("{key}: expected {from} to {to}, found {found}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The least value.
        from: u64,
        /// The greatest value.
        to: u64,
        /// The value.
        found: u64,
    },
    /// A database in a build that has no reader for it.
    #[error("database: this build has no reader; enable the cargo feature `homes`")]
    FeatureMissing,
    /// A mapped database in a build that maps none.
    #[error("database.mapped: this build maps no files; enable the cargo feature `homes-mmap`")]
    MappingMissing,
    /// The database cannot be used.
    #[cfg(feature = "homes")]
    #[error("database: {0}")]
    Database(#[from] DatabaseError),
}

impl Default for HomesConfig {
    fn default() -> Self {
        Self {
            pin: None,
            residency: Vec::new(),
            countries: BTreeMap::new(),
            continents: BTreeMap::new(),
            nearest: defaults::NEAREST,
            default: None,
            proxies: TrustedProxies::none(),
            database: None,
            cache: CacheConfig::default(),
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { entries: defaults::CACHE_ENTRIES, ttl_secs: defaults::CACHE_TTL_SECS }
    }
}

impl HomesConfig {
    /// Every option: its key, its default and what it does, from the code's own defaults. A default of `-` is none.
    #[must_use]
    pub fn table() -> Vec<OptionRow> {
        let (config, cache) = (Self::default(), CacheConfig::default());
        let row = |key: &str, default: String, meaning| OptionRow { key: format!("homes.{key}"), default, meaning };
        let none = || "-".to_owned();
        vec![
            row("pin", none(), "The home of all users but those with a pin of their own."),
            row("residency", none(), "Where users of some countries may live: a list of `countries` and `regions`."),
            row("countries", none(), "The home of a country's users, by its code."),
            row("continents", none(), "The home of a continent's users: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`."),
            row("nearest", config.nearest.to_string(), "Whether users live in the nearest region."),
            row("default", none(), "The home of all others; without it the heaviest region."),
            row("proxies.networks", none(), "The proxies whose word on a client's address is taken, by network."),
            row("proxies.hops", none(), "How many proxies there are, instead of their networks."),
            row("database.path", none(), "A MaxMind DB with the places of addresses; needs the feature `homes`."),
            row(
                "database.reload_secs",
                defaults::RELOAD_SECS.to_string(),
                "Between two looks whether the file is a new one; 0: never.",
            ),
            row(
                "database.mapped",
                "false".to_owned(),
                "Whether it is mapped, not read; needs the feature `homes-mmap`.",
            ),
            row("cache.entries", cache.entries.to_string(), "How many answers for addresses are kept."),
            row("cache.ttl_secs", cache.ttl_secs.to_string(), "For how long."),
        ]
    }

    /// The resolver that this describes, over these regions: [`Topology::regions`](crate::routing::Topology::regions).
    /// Opens no database: an address is looked up in one that is given to it, or by `open` (feature `homes`).
    ///
    /// # Errors
    /// [`HomesError`], naming the key.
    pub fn build(&self, regions: &[RegionInfo]) -> Result<HomeResolver, HomesError> {
        if self.database.is_some() && cfg!(not(feature = "homes")) {
            return Err(HomesError::FeatureMissing);
        }
        if self.database.as_ref().is_some_and(|database| database.mapped) && cfg!(not(feature = "homes-mmap")) {
            return Err(HomesError::MappingMissing);
        }
        self.check()?;
        Ok(HomeResolver::new(self.rules(regions)?, self.cache.clone()))
    }

    /// Checks all but whether this build can read a database: one file serves programs with and without the feature.
    pub(crate) fn validate(&self, regions: &[RegionInfo]) -> Result<(), HomesError> {
        self.check()?;
        self.rules(regions).map(drop)
    }

    /// As [`HomesConfig::build`], and opens the database, if one is configured. Within a tokio runtime.
    ///
    /// # Errors
    /// [`HomesError`], naming the key; also when the database cannot be read.
    #[cfg(feature = "homes")]
    pub async fn open(&self, regions: &[RegionInfo]) -> Result<HomeResolver, HomesError> {
        let resolver = self.build(regions)?;
        match &self.database {
            Some(database) => Ok(resolver.with_database(Database::open(database).await?)),
            None => Ok(resolver),
        }
    }

    /// What needs no regions.
    fn check(&self) -> Result<(), HomesError> {
        const DAY: u64 = 86_400;
        let reload = self.database.as_ref().map_or(0, |database| database.reload_secs);
        for (key, from, to, found) in [
            ("database.reload_secs", 0, DAY, reload),
            ("cache.entries", 0, 10_000_000, self.cache.entries),
            ("cache.ttl_secs", 1, DAY, self.cache.ttl_secs),
        ] {
            if !(from..=to).contains(&found) {
                return Err(HomesError::OutOfRange { key, from, to, found });
            }
        }
        Ok(())
    }

    fn rules(&self, regions: &[RegionInfo]) -> Result<Rules, HomesError> {
        if regions.len() > MAX_REGIONS {
            return Err(HomesError::TooManyRegions(regions.len()));
        }
        let known = Known(regions);
        let (default, default_id) = match &self.default {
            Some(name) => known.find("default", name)?,
            None => known.heaviest().ok_or(HomesError::NoRegions)?,
        };
        let find = |key: String, name: &String| known.find(key, name).map(|(index, _)| index);
        let rules = Rules {
            regions: regions.to_vec(),
            pin: self.pin.as_ref().map(|name| find("pin".into(), name)).transpose()?,
            residency: self.residency(known)?,
            countries: self
                .countries
                .iter()
                .map(|(country, name)| Ok((*country, find(format!("countries.{country}"), name)?)))
                .collect::<Result<_, HomesError>>()?,
            continents: self
                .continents
                .iter()
                .map(|(continent, name)| Ok((*continent, find(format!("continents.{continent}"), name)?)))
                .collect::<Result<_, HomesError>>()?,
            nearest: self.nearest,
            default,
            default_id: default_id.id.clone(),
        };
        refuse_contradictions(&rules)?;
        Ok(rules)
    }

    fn residency(&self, known: Known<'_>) -> Result<BTreeMap<Country, Allowed>, HomesError> {
        let mut residency = BTreeMap::new();
        for (number, rule) in self.residency.iter().enumerate() {
            let key = |field: &str| format!("residency[{number}].{field}");
            if rule.countries.is_empty() {
                return Err(HomesError::Empty { key: key("countries") });
            }
            let regions = rule.regions.iter().map(|name| known.find(key("regions"), name).map(|(index, _)| index));
            let regions = regions.collect::<Result<Vec<_>, _>>()?;
            let allowed = Allowed::new(regions).ok_or_else(|| HomesError::Empty { key: key("regions") })?;
            for country in &rule.countries {
                if residency.insert(*country, allowed.clone()).is_some() {
                    return Err(HomesError::TwoRules { key: key("countries"), country: *country });
                }
            }
        }
        Ok(residency)
    }
}

/// A rule that could never be obeyed is a mistake in it or in the residency, and only its author knows which.
///
/// A continent's entry or the default outside one country's residency is none: they are for the other countries.
fn refuse_contradictions(rules: &Rules) -> Result<(), HomesError> {
    for (country, allowed) in &rules.residency {
        let pin = rules.pin.map(|region| ("pin".to_owned(), region));
        let entry = rules.countries.get(country).map(|region| (format!("countries.{country}"), *region));
        if let Some((key, region)) = pin.into_iter().chain(entry).find(|(_, region)| !allowed.contains(*region)) {
            let region = rules.regions.get(region.as_usize()).map(|region| region.id.to_string()).unwrap_or_default();
            let allowed = rules.names_of(allowed);
            return Err(HomesError::OutsideResidency { key, region, country: *country, allowed });
        }
    }
    Ok(())
}

/// The regions there are.
#[derive(Clone, Copy)]
struct Known<'r>(&'r [RegionInfo]);

impl<'r> Known<'r> {
    fn find(self, key: impl Into<String>, name: &str) -> Result<(RegionIndex, &'r RegionInfo), HomesError> {
        let found = self.indexed().find(|(_, region)| region.id.as_str() == name);
        found.ok_or_else(|| HomesError::UnknownRegion {
            key: key.into(),
            name: name.to_owned(),
            known: self.0.iter().map(|region| region.id.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The region with the greatest weight; of equals the first.
    fn heaviest(self) -> Option<(RegionIndex, &'r RegionInfo)> {
        // The last of equals is the greatest, so the order is turned around.
        self.indexed().collect::<Vec<_>>().into_iter().rev().max_by_key(|(_, region)| region.weight)
    }

    fn indexed(self) -> impl Iterator<Item = (RegionIndex, &'r RegionInfo)> {
        (0_u8..).map(RegionIndex).zip(self.0)
    }
}

const fn default_reload_secs() -> u64 {
    defaults::RELOAD_SECS
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_table_read_as_a_file_is_the_defaults() {
        // Without a path there is no database.
        let rows = HomesConfig::table().into_iter().filter(|row| row.default != "-" && !row.key.contains("database"));
        let text: String = rows.map(|row| format!("{} = {}\n", row.key, row.default)).collect();
        let read: BTreeMap<String, HomesConfig> = toml::from_str(&text).unwrap();
        assert_eq!(read.into_values().collect::<Vec<_>>(), [HomesConfig::default()], "{text}");
    }
}
