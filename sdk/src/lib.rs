//! Several plain Redis or Valkey regions behaving as one. No Redis module, no proxy.
//!
//! Run an app server and a plain Redis in each region. Each keyspace lives on one of two planes.
//!
//! # Active-active
//!
//! Every region writes at local latency; a [`Client`] keeps CRDT state beside each native value, ships what changed
//! between the regions and merges it.
//!
//! Typed handles say how concurrent writes merge: [`Register`] (the latest wins), [`Counter`] (all increments count),
//! [`Set`] (an add wins over a concurrent remove), [`Map`] (field by field), [`SortedSet`] (scores add up), [`List`]
//! (every insert is kept, runs stay together), [`Geo`] (the latest position), [`HyperLogLog`] (about how many were seen),
//! [`BestScores`] and [`ExtremeRegister`] (the best ever submitted), [`FirstRegister`] (the first wins), [`Flag`] (on
//! wins, or off), [`Siblings`] (the application decides), [`Stream`] and [`Feed`] (every entry is kept; a feed's readers
//! miss none), [`Stock`] (units that cannot be
//! sold twice). Any language reads the values with plain commands; [`PhysicalKeys`] documents where they are.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
//! use std::time::Duration;
//! use archipelago::{Client, Embedded};
//!
//! // Embedded regions need no server; a configuration file names Redis servers instead.
//! let regions = Embedded::builder().region("us-east-1").region("eu-west-1").build()?;
//! let us = Client::builder().embedded(&regions).local_region("us-east-1").build().await?;
//! let eu = Client::builder().embedded(&regions).local_region("eu-west-1").build().await?;
//!
//! us.set("tags").add("new").await?;
//! eu.set("tags").add("sale").await?;
//! us.wait_converged(Duration::from_secs(5)).await?;
//! assert_eq!(us.set("tags").members().await?, eu.set("tags").members().await?);
//! # us.shut_down().await; eu.shut_down().await; Ok(()) }
//! ```
//!
//! A keyspace or a call that needs more than the local region asks for it: see [`strength`].
//!
//! [`near`] holds values of either plane in the process until they change, and gives them as streams of their changes.
//!
//! How two writes merge that no region saw one after the other; each line is tested, with the second one later by the clock:
//!
#![doc = include_str!("docs/rules.md")]
//!
//! What is *not* promised: transactions over several keys, unique names, or that a region already shows what another has
//! just written.
//!
//! # Routed
//!
//! Any command of Redis. One region writes, Redis replication moves the data; a [`Connection`] picks the node for each
//! call by the keyspace's [policy](routing), and another one when that dies.
//!
#![doc = include_str!("docs/routed.md")]
//!
//! What is *not* promised: that the next region has what the one before wrote ([`Event::MayLack`]), that a replica
//! shows what was just written ([`sessions`] do, or [`CallOptions::at_primary`]), or that a write without an answer was
//! not applied ([`ErrorKind::MaybeApplied`]).
//!
//! # Options of the routed plane
//!
#![doc = include_str!("docs/options.md")]

mod builder;
mod client;
pub mod commands;
pub mod config;
mod conflicts;
mod dial;
mod error;
pub mod exec;
pub mod geo;
mod handles;
pub mod homes;
mod inspect;
mod keyspace;
pub mod near;
pub mod promotion;
mod redis;
pub mod resilience;
mod routed;
pub mod routing;
pub mod sessions;
mod stock;
pub mod store;
pub mod strength;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
pub mod web_sessions;

pub use archipelago_engine as engine;
pub use builder::Builder;
pub use client::{Client, Keyspace};
pub use config::Config;
pub use conflicts::{Conflict, ConflictEvent, Contender};
pub use dial::{Credentials, CredentialsProvider};
pub use error::{Attempt, Error, ErrorKind};
pub use handles::{
    Arrived, Batch, BatchAdd, BatchDelete, BatchRemove, BatchSet, BestScores, Claimed, Codec, Counter, ExtremeRegister,
    Feed, FeedCursor, FeedCursorError, FeedEntry, FirstRegister, Flag, Follow, Geo, HyperLogLog, Json, List, Map,
    MessagePack, Place, Register, Reservation, ScoreRange, Set, Siblings, SortedSet, Stock, Stream, StreamEntry,
};
pub use inspect::{CellReport, FieldReport, Report};
pub use keyspace::{PhysicalKeys, partition_of};
pub use routed::{
    CallOptions, Connection, Event, Exclusive, Message, NodeReport, Received, Served, Subscribe, Subscription,
};
pub use stock::{Frozen, FrozenStock, OriginReport, StockReport};
pub use store::embedded::Embedded;
pub use strength::{ReadStrength, WriteStrength};
pub use sync::{SkewReport, skew};
