//! Home regions: in which region a user lives, and why.
//!
//! A user's session and data are read and written fastest in a region near them, and some may only be stored in some
//! regions. A [`HomeResolver`] decides which region it is, by steps in a fixed order: the user's pin, a pin for all,
//! residency rules, a map of countries, a map of continents, the nearest region, a default. The answer, a
//! [`HomeDecision`], says which step decided, which were overruled, and what was looked up.
//!
//! [`HomesConfig`] is what a configuration file says about it. [`TrustedProxies`] finds a client's address behind
//! proxies. The `Database` (feature `homes`) finds the place of an address; without it, tell the [`Place`] that
//! a CDN's header or the user's account names.
//!
//! `Homes` (feature `homes`) keeps to the first answer: it writes it down, once for all processes, runs the user's commands
//! at their home, and moves users without losing a write.
//!
//! The home goes into a request as [`Request::with_home`](crate::routing::Request::with_home), for the policy
//! [`HomeRegion`](crate::routing::HomeRegion).
//!
//! ```
//! use std::net::IpAddr;
//! use archipelago::{homes::{HomeRequest, HomeStep, HomesConfig}, routing::RegionInfo};
//!
//! let config: HomesConfig = toml::from_str(r#"
//!     default = "us-east-1"
//!     [proxies]
//!     networks = ["10.0.0.0/8"]
//! "#)?;
//! let regions = [RegionInfo::new("eu-west-1".parse()?), RegionInfo::new("us-east-1".parse()?)];
//! let homes = config.build(&regions)?;
//!
//! let client = config.proxies.client("10.0.0.1".parse::<IpAddr>()?, ["192.168.1.5"]);
//! let home = homes.resolve(&HomeRequest::new().with_address(client.address));
//! assert_eq!((home.region().as_str(), home.step()), ("us-east-1", HomeStep::Default));
//! assert!(home.to_string().contains("looked up: private address"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
pub mod assignment;
pub mod config;
mod country;
#[cfg(feature = "homes")]
mod database;
mod decision;
mod forwarded;
mod lookup;
mod place;
mod proxies;
#[cfg(feature = "homes")]
mod registry;
mod request;
mod resolver;
mod rules;

#[cfg(feature = "homes")]
pub(crate) use self::registry::Registry;
pub use self::{
    address::SpecialUse,
    config::{CacheConfig, DatabaseConfig, HomesConfig, HomesError, ResidencyRule},
    country::{CodeError, Continent, Country},
    decision::{HomeDecision, HomeStep, Verdict},
    lookup::Lookup,
    place::Place,
    proxies::{ClientAddress, ClientSource, MAX_HOPS, MAX_NETWORKS, ProxiesError, TrustedProxies},
    request::{HomeRequest, UserAddress},
    resolver::HomeResolver,
};
#[cfg(feature = "homes")]
pub use self::{
    database::{Database, DatabaseError, DatabaseStatus},
    registry::{Home, HomeConnection, HomeReason, Homes},
};
