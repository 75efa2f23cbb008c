//! Web sessions that are valid in every region at once, on an active-active keyspace.
//!
//! A [`SessionStore`] keeps the data of a visitor's session under a [`SessionId`], which goes into a cookie. The id names
//! the region that created the session, its home: a region where the session has not arrived yet asks there. So a
//! visitor may log in at one region and be served by the next with the next request.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use archipelago::{Client, Embedded, web_sessions::{SessionId, SessionStore}};
//!
//! let regions = Embedded::builder().region("eu").region("us").build()?;
//! // Nothing carries data between the two here, and still each knows what the other created.
//! let eu = Client::builder().embedded(&regions).local_region("eu").without_sync().build().await?;
//! let us = Client::builder().embedded(&regions).local_region("us").without_sync().build().await?;
//! let (eu, us) = (SessionStore::new(&eu, "default")?, SessionStore::new(&us, "default")?);
//!
//! let half_an_hour = Duration::from_secs(1800);
//! let cookie = eu.create("ada", half_an_hour).await?.to_text();
//! let id: SessionId = cookie.parse()?;
//! assert_eq!(us.load::<String>(&id).await?.as_deref(), Some("ada"));
//!
//! assert!(us.revoke(&id).await?);
//! assert_eq!(us.load::<String>(&id).await?, None);
//! assert!(!us.renew(&id, half_an_hour).await?); // nothing brings it back
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! - A session is valid everywhere as soon as [`SessionStore::create`] has returned. Where it has not arrived and its home
//!   cannot be reached the answer is [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), never "no session":
//!   answer 503, and nobody is logged out by a cut between regions.
//! - Nothing revives a revoked session: no renewal, no save, whenever they come and from wherever.
//! - A revocation holds at once in its own region and at the home, elsewhere one link delay later, and with
//!   [`SessionStore::revoke_at_majority`] in most regions before it returns.
//! - Reading the servers' data gives no session away: they hold digests of the ids.
//!
//! # Not promised
//!
//! - Of two saves at the same time the later wins, whole. What must add up (a cart) belongs into a [`Map`](crate::Map) of
//!   its own.
//! - A region may show what was saved elsewhere only one link delay later.
//! - Anything between regions whose clocks differ by more than a session lives: expiry is a moment, and each region goes by
//!   its own clock. Give sessions minutes, and servers NTP; [`Client::clock_skew`](crate::Client::clock_skew) tells.
//! - A home that has lost its data says "no session" until its peers have brought them back.
//! - A renewal elsewhere that has not arrived does not keep a session alive at its home: a region that is cut off for
//!   longer than a session lives loses it, until the links run again.
//!
//! # How a session is stored
//!
//! As a hash, `session:DIGEST`, with two fields: `data`, and `live`, which says that the session is valid. `live` is
//! assigned once, by the creation; a revocation removes it. In this algebra a removal takes all it has seen, and only an
//! assignment that it has not seen survives it. There is no second one, so disabling always wins: saving assigns `data`
//! alone, renewing the expiry alone. A plain flag "revoked" would need a lifetime, and a region cut off for longer could
//! bring the session back.
//!
//! Beside it a string of the same name marks what was revoked, for a day: with it a region knows without asking that the
//! session is over, while its home may not have heard of that yet. Mark and session are read in one round trip.
//!
//! # Forged ids
//!
//! A text that is no id costs nothing, an id of an unknown home one local read, and one of a known home a look-up there: at
//! most [`SessionStore::LOOKUPS`] at the same time, the others wait for them, until their deadline. Answers are not
//! remembered: whoever forges ids never sends one twice, and would only fill such a cache. Limit the requests of one
//! address in front of it.

mod address;
mod id;
mod record;
mod store;
#[cfg(feature = "tower-sessions")]
mod tower;

#[cfg(feature = "tower-sessions")]
pub use self::tower::TowerStore;
pub use self::{
    id::{SessionId, SessionIdError},
    store::SessionStore,
};
