//! Sessions: one user reads what they wrote, at replicas too, on plain Redis.
//!
//! Right behind every write of a [`Session`], on the same connection and in the same flush, the server is asked where
//! its history stands: the replication id and the offset. A replica that has come so far in that history has the write.
//! So a read of the session asks the replica for both at once, in one `MULTI, INFO replication, read, EXEC`, and the
//! answer counts only if the replica has come far enough; else the next node is asked, at the end the primary. Neither
//! costs a round trip.
//!
//! What a session has seen is its token, a short string for a cookie or a header: the next process reads on where this
//! one wrote.
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
//! # What is promised
//!
//! - **Read your writes**, and with [`Guarantee::MonotonicReads`] monotonic reads, of one region's data: from whatever
//!   process, through promotions of replicas. Also of a write that failed without an answer, if it was applied by then.
//! - A promotion that lost what the session had seen is not passed over: the new primary answers, and
//!   [`Event::HistoryLost`](crate::Event::HistoryLost) says so.
//! - A token that was forged, or belongs to another system, costs at most the way to the primary, or one bounded wait
//!   where the session [waits](SessionBuilder::wait). It says nothing about the data. It is not signed: sign the cookie
//!   if a user must not send their own reads to the primary.
//!
//! # What is not
//!
//! - Anything across regions' data sets: after a failover to another region what the one before wrote may not be there
//!   ([`Event::MayLack`](crate::Event::MayLack)). A read for the data of a region that the session has seen is not
//!   answered by another region's primary as a last resort; it fails instead.
//! - That a cluster, or a server that forbids `INFO` serves a session at replicas: there, its reads
//!   go to the primary from its first write on.
//! - That scans notice: a cursor goes on at its node. Nor does a session learn of writes on an
//!   [`Exclusive`](crate::Exclusive) connection.
//! - That a lost history can always be told from one that cannot be traced: two promotions later, or on a primary that
//!   got its first replica since, the event may come although all is there.

#[cfg(feature = "axum")]
pub mod axum;
mod builder;
mod position;
mod session;
mod token;
mod wire;

#[cfg(test)]
mod laws;

pub use self::{
    builder::{Guarantee, SessionBuilder, SessionKind},
    session::Session,
    wire::TokenError,
};
pub(crate) use self::{
    position::Position,
    session::{Before, Demand, WriteWatch},
    token::{DataSet, Found},
};
