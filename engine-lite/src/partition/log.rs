//! The log: a region's own deltas in order, read by links and trimmed behind them.

use bytes::Bytes;

use super::{Partition, Stale};
use crate::{
    codec,
    origin::{Incarnation, Origin, RegionId},
    version::Version,
};

/// A position in an incarnation's log: everything up to this entry was joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose log.
    pub incarnation: Incarnation,
    /// The number of the last joined entry.
    pub number: u64,
    /// The id of the last joined entry: where reading goes on.
    pub id: Version,
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Its id.
    pub id: Version,
    /// Its bytes, see [`crate::codec`].
    pub bytes: Bytes,
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSlice {
    /// Whose log.
    pub origin: Origin,
    /// The opening number of that incarnation.
    pub opening: u64,
    /// The membership epoch of the region that was read.
    pub epoch: u64,
    /// The number of the log's last entry at that moment.
    pub end: u64,
    /// The entries behind the asked-for position, in order. If the log was trimmed past that position, the first of
    /// them is not the successor: its number shows it.
    pub entries: Vec<RawEntry>,
}

impl Partition {
    /// Reads up to `limit` entries behind a position.
    ///
    /// # Errors
    /// [`Stale`] when the history broke: a log of a closed history is not read any more.
    pub fn log_after(&self, history: &str, after: Version, limit: usize) -> Result<LogSlice, Stale> {
        let record = self.check(history)?;
        let start = self.log.partition_point(|entry| entry.id <= after);
        Ok(LogSlice {
            origin: Origin::new(self.region.clone(), record.incarnation),
            opening: record.opening,
            epoch: self.epoch,
            end: self.number,
            entries: self.log.iter().skip(start).take(limit).cloned().collect(),
        })
    }

    /// Notes how far a destination has this log, and drops what every one of `members` has, or what is over `cap`.
    ///
    /// A member that never acknowledged holds everything back until the cap. A destination that finds its position
    /// trimmed away gets a resync.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn acknowledge(
        &mut self,
        history: &str,
        destination: &RegionId,
        cursor: Cursor,
        members: &[RegionId],
        cap: u64,
    ) -> Result<(), Stale> {
        let record = self.check(history)?;
        if cursor.incarnation != record.incarnation {
            return Ok(());
        }
        let current = record.incarnation;
        self.acks.insert(destination.clone(), cursor);
        // Not only the caller's members: its configuration may be older than the last region's joining.
        let met = self.acks.keys().chain(self.known.keys());
        let others = members.iter().chain(met).filter(|member| **member != self.region);
        let held = others
            .map(|member| self.acks.get(member).filter(|c| c.incarnation == current).map_or(0, |c| c.number))
            .min()
            .unwrap_or(0);
        let drop_to = held.max(self.number.saturating_sub(cap));
        while let Some(first) = self.log.front()
            && codec::peek_number(&first.bytes).is_some_and(|number| number <= drop_to)
        {
            self.log.pop_front();
        }
        Ok(())
    }
}
