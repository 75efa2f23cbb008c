//! The algebra of Archipelago: cells that converge, whatever the order, duplication or delay of their deltas.
//!
//! Several regions each hold a replica of the same data and write to it without asking anybody. A key's state is a map
//! `member → origin → cell`; a [`Cell`] is four registers that only move to higher versions, so joining the cells of two
//! regions is commutative, associative and idempotent. What a reader sees is a function of the cells: [`Cells::text`],
//! [`Cells::score`], [`Cells::is_live`].
//!
//! A [`Partition`] is one region's replica of a slice of a keyspace: cells, log, cursors and vectors, and the steps of
//! the sync protocol on them. It is a pure state machine. Time, incarnations and histories are arguments; there is no
//! I/O, no clock and no randomness in this crate.
//!
//! ```
//! use archipelago_engine::{Incarnation, Key, Kind, Mutation, Partition, Version, View};
//!
//! let mut region = Partition::new("eu-west-1".parse()?);
//! let now = Version::from_micros(1_790_000_000_000_000);
//! region.open("server 1", Incarnation::new(7), 0, now);
//! let key = Key::new(Kind::String, "greeting");
//! region.mutate("server 1", now, &key, &Mutation::set("hello"))?;
//! assert_eq!(region.view(&key, now), View::String("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod cell;
mod cells;
mod claim;
pub mod codec;
mod delta;
mod entry;
mod find;
pub mod hyperloglog;
mod key;
mod list;
mod mutation;
pub mod number;
mod origin;
mod partition;
pub mod position;
mod rule;
mod steps;
mod stock;
#[cfg(feature = "testing")]
pub mod testing;
mod version;

pub use cell::{Assign, Base, Cell, Joined, Total};
pub use cells::{Cells, Deadline};
pub use claim::{Claim, Homes};
pub use delta::{Body, Delta, Entry, Vector};
pub use entry::{Append, EntryId, Keep, NotAnId, decode_fields, encode_fields};
pub use find::Find;
pub use hyperloglog::Registers;
pub use key::{Field, Key, Kind, Native, UnknownKind};
pub use list::{End, ListEdit, Side, window};
pub use mutation::{Amount, Assignment, Expiry, Mutation, MutationError, Order, Outcome, Presence, Retention, limits};
pub use origin::{Incarnation, Origin, OriginError, RegionId, RegionIdError};
pub use partition::{
    Arrived, Batch, Collection, Conflict, Contender, Cursor, JoinReply, KeyState, LogSlice, Mark, Partition, Place,
    Push, PushReply, RawEntry, Record, Refusal, Resolved, ResyncError, ResyncPlan, ResyncProgress, SetAside, Since,
    Slice, Stale, Stamped, Standing, SyncState, UnknownResolved, View, Wait,
};
pub use steps::ClearStep;
pub use stock::{Books, CallId, CallIdError, Reservation, ReservationError, StockChange, StockOutcome};
pub use version::Version;
