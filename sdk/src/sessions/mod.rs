//! Sessions: one user reads what they wrote, at replicas and in other regions too, on plain Redis.
//!
//! What a [`Session`] has seen is its token, a short string for a cookie or a header: the next process reads on where this
//! one wrote. One token carries both planes.
//!
//! # On the active-active plane
//!
//! Handles that are made through [`Client::with_session`](crate::Client::with_session) ask their region along with each
//! call where it stands: what it holds of the writes of every region. A write's own place among them goes into the token,
//! and a read's answer counts once the region holds what the token names. Both come in one transaction, so that neither
//! costs a round trip.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use archipelago::{Client, Embedded, sessions::{Guarantee, Session}};
//!
//! let regions = Embedded::builder().region("us").region("eu").build()?;
//! let us = Client::builder().embedded(&regions).local_region("us").build().await?;
//! let eu = Client::builder().embedded(&regions).local_region("eu").build().await?;
//!
//! let session = Session::builder().guarantee(Guarantee::MonotonicReads).build();
//! us.with_session(&session).register::<String>("name").set("Ada").await?;
//! let cookie = session.token();
//!
//! let session = Session::builder().guarantee(Guarantee::MonotonicReads).from_token(&cookie)?;
//! let name = eu.with_session(&session).register::<String>("name").get().await?; // waits for it
//! assert_eq!(name.as_deref(), Some("Ada"));
//! # us.shut_down().await; eu.shut_down().await; Ok(()) }
//! ```
//!
//! While the region is behind, the read waits for it, up to [`SessionBuilder::wait`]; [`WhenBehind`] offers two other
//! choices. After that it fails with [`ErrorKind::Behind`](crate::ErrorKind::Behind).
//!
//! **Promised** there:
//! - **Read your writes**: also of a write that was refused or changed nothing, which covers what it saw; and of one that
//!   failed without an answer, if it was applied by then.
//! - **Monotonic reads**, **monotonic writes**, **writes follow reads**, each where it is asked for: see [`Guarantee`].
//! - A region that lost what it had acknowledged is not passed over, whatever was written there since. If another region
//!   still has it, the read waits for that; if none has, it fails once with [`ErrorKind::Lost`](crate::ErrorKind::Lost), and
//!   the session asks for it no more. A restart that loses nothing loses no session.
//! - A token that was forged, or belongs to another system, costs at most one bounded wait, one question to every region of
//!   as long again or half a second, and that one error.
//! - A token holds three partitions of each region by version. Of a session that saw more it holds the latest, and for the
//!   rest, as for a write without an answer, one bound: up to when it was, and in which partitions, modulo 16. A read there
//!   in another region first asks the one that wrote what there is: one round trip more for each partition and process,
//!   nothing while the user stays, and an error while that region cannot be asked. What a region lost of it is not noticed.
//!
//! **Not promised** there:
//! - Anything for other users: they see the writes of a session in whatever order the links bring them.
//! - An order among different keys in a third region, or a snapshot of several keys.
//! - That a session reads again at once where a resync is under way: with monotonic reads it has to wait for its end there,
//!   unless another region is asked.
//! - The command interpreter, and stores below the handles, know nothing of sessions.
//!
//! # On the routed plane
//!
//! Right behind every write of a session, on the same connection and in the same flush, the server is asked where its
//! history stands: the replication id and the offset. A replica that has come so far in that history has the write. So a
//! read of the session asks the replica for both at once, in one `MULTI, INFO replication, read, EXEC`, and the answer
//! counts only if the replica has come far enough; else the next node is asked, at the end the primary. Neither costs a
//! round trip.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use archipelago::{Client, Embedded, routing::RoutingConfig, sessions::Session};
//! use redis::AsyncCommands;
//! use std::time::Duration;
//!
//! let regions = Embedded::builder().region("eu").weight("eu", 2).region("us");
//! let regions = regions.replica("eu", "us", Duration::from_secs(1)).build()?;
//! let routing = RoutingConfig { local_replica: true, ..RoutingConfig::default() };
//! let client = Client::builder().embedded(&regions).local_region("us").routed("profiles", routing).build().await?;
//! let connection = client.connection("profiles")?;
//!
//! let session = Session::new();
//! connection.with_session(&session).set::<_, _, ()>("ada", "Lovelace").await?;
//! let cookie = session.token();
//!
//! let session = Session::from_token(&cookie)?; // the next request of this user, in another process
//! let name: String = connection.with_session(&session).get("ada").await?;
//! assert_eq!(name, "Lovelace"); // the replica in us has no Ada yet
//! # client.shut_down().await; Ok(()) }
//! ```
//!
//! A web application carries the token in a cookie by the layer and the extractor of `sessions::axum` (feature `axum`).
//!
//! **Promised** there:
//! - **Read your writes**, and with [`Guarantee::MonotonicReads`] monotonic reads, of one region's data: from whatever
//!   process, through promotions of replicas. Also of a write that failed without an answer, if it was applied by then.
//! - A promotion that lost what the session had seen is not passed over: the new primary answers, and
//!   [`Event::HistoryLost`](crate::Event::HistoryLost) says so.
//! - A token that was forged, or belongs to another system, costs at most the way to the primary, or one bounded wait
//!   where the session [waits](SessionBuilder::wait). It says nothing about the data. It is not signed: sign the cookie
//!   if a user must not send their own reads to the primary.
//!
//! **Not promised** there:
//! - Anything across regions' data sets: after a failover to another region what the one before wrote may not be there
//!   ([`Event::MayLack`](crate::Event::MayLack)). A read for the data of a region that the session has seen is not
//!   answered by another region's primary as a last resort; it fails instead.
//! - That a cluster, or a server that forbids `INFO` serves a session at replicas: there, its reads
//!   go to the primary from its first write on.
//! - That scans notice: a cursor goes on at its node. Nor does a session learn of writes on an
//!   [`Exclusive`](crate::Exclusive) connection.
//! - That a lost history can always be told from one that cannot be traced: two promotions later, or on a primary that
//!   got its first replica since, the event may come although all is there.

mod active;
#[cfg(feature = "axum")]
pub mod axum;
mod builder;
mod position;
mod session;
mod source;
mod sources;
mod token;
mod wire;

#[cfg(test)]
mod laws;

pub(crate) use self::{
    active::Writing,
    position::Position,
    session::{Before, Demand, WriteWatch},
    source::{KeyspaceId, SourceId},
    sources::{Lack, Partition},
    token::{DataSet, Found},
};
pub use self::{
    builder::{Guarantee, SessionBuilder, SessionKind, WhenBehind},
    session::Session,
    wire::TokenError,
};
