//! Promotion: another server of a region becomes its writer, and every client follows.
//!
//! # The record
//!
//! Who writes is what the configuration says, until a *topology record* says otherwise: an epoch, and for each region
//! that was ever moved the node that writes. Its copies are one for each region, kept at that region's writer under
//! `archipelago:topology`. A copy is replaced by a higher epoch only. Without a promotion there is no record, and
//! nothing is written.
//!
//! # Clients
//!
//! A client reads the copies with its probes, and follows the highest epoch as soon as the server it names *is* a
//! primary: an attempt that was given up half-way is followed by nobody. With `fence = "majority"` (the default with
//! three regions or more) it writes only while the copies of a majority of regions confirmed its epoch within the last
//! `lease_ms`, counted from when it asked. A client that is cut off with the old writer stops within that time.
//!
//! # A planned promotion loses nothing
//!
//! 1. The old writer pauses writes (`CLIENT PAUSE ... WRITE`, which ends by itself).
//! 2. The replica is waited for until it has everything. If that takes too long, the pause ends and nothing has changed.
//! 3. The record goes to the other regions, a majority of all where there is a fence.
//! 4. `REPLICAOF NO ONE` at the replica, the record there, then the old writer and the other replicas follow it. Writes
//!    that waited at the old writer are refused, not applied: clients repeat them at the new one.
//!
//! # An unplanned one loses what the replica had not got
//!
//! The same without the old writer's help: the record first, then a wait of one lease, so that whoever still writes to
//! the old one has stopped, then `REPLICAOF NO ONE`. Without a fence there is no wait, and a client that is cut off with
//! the old writer goes on writing to it. When the old writer returns nobody uses it, since its role is not what the
//! record says; [`rejoin`] keeps what it took meanwhile and lets it follow.
//!
//! `min-replicas-to-write 1` at the servers adds: an old writer that has lost its replicas refuses writes after
//! `min-replicas-max-lag` (10 s by default), whoever the client is, a fenced one or `redis-cli`.
//!
//! # Not promised
//!
//! A client whose process was stopped between its look at the lease and its send, for longer than a lease, may write to
//! the old writer. Two operators who promote the same region at once: one of them is refused.

mod copies;
mod fence;
mod promote;
mod record;
mod rejoin;
mod servers;
#[cfg(test)]
mod simulation;

pub(crate) use self::{
    copies::replacement,
    fence::Fence,
    record::{KEY, Record},
};
pub use self::{
    promote::{Behind, PromoteOptions, Promoted, Step, promote},
    rejoin::{Kept, RejoinOptions, Rejoined, rejoin},
};
