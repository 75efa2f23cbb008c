//! The order in which a region came to see the entries of its feeds: what a reader with a cursor goes by.
//!
//! Ids order a feed alike everywhere, but an entry of another region may arrive behind younger ones, and a cursor that is
//! an id has passed it by then. So each region numbers entries as they come to be live there, by a write, a link, a push or
//! a resync. The numbers are the region's own: no delta carries them. The stamps of fields would not do, for a join takes
//! no number of the log: many joins share one, and a reader may look in between.
//!
//! An entry keeps its number while it lives, also while its feed is past its expiry: a reader finds nothing then, and
//! goes on from where it was if the feed lives longer after all. One that is removed loses its number, and gets a new one
//! should it come back.
//!
//! Numbers go back with the data when a region loses some, and are given again. So a place in the order names its line, too:
//! the incarnation that began it. Every opening begins a new line, unless nothing can have been lost.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Partition, Stale};
use crate::{
    cells::Cells,
    entry::EntryId,
    key::{Field, Key, Kind},
    mutation::limits,
    origin::Incarnation,
    version::Version,
};

/// A place in the order of arrival at one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The incarnation that began the line.
    pub line: Incarnation,
    /// The number of the last entry before this place.
    pub number: u64,
}

/// From where a reader reads a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Since {
    /// From the first entry that is there.
    Start,
    /// Behind all that has arrived.
    Now,
    /// From this place on, or from the start where it is of another line.
    Place(Place),
}

/// Entries of a feed in the order of their arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The entries, with their payloads.
    pub entries: Vec<(EntryId, Bytes)>,
    /// Behind them.
    pub place: Place,
    /// Whether the place asked for is none of this region's line, so that reading began from the start.
    pub restarted: bool,
    /// Entries that a reader sees and that stand nowhere in the order, so that no place comes to them. Only where somebody's
    /// hand took them out of a server's record of it.
    pub unordered: u64,
}

/// What a region knows of the order of arrival. No other region does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arrivals {
    line: Option<Incarnation>,
    /// Of all feeds of the partition: a feed that is gone and comes back goes on behind what was there.
    last: u64,
    feeds: BTreeMap<Key, Order>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Order {
    ids: BTreeMap<u64, Bytes>,
    numbers: BTreeMap<Bytes, u64>,
}

impl Arrivals {
    pub(super) const fn new() -> Self {
        Self { line: None, last: 0, feeds: BTreeMap::new() }
    }

    pub(super) const fn line(&self) -> Option<Incarnation> {
        self.line
    }

    /// Begins a line: nobody knows what was lost of the one before.
    pub(super) const fn begin(&mut self, line: Incarnation) {
        self.line = Some(line);
    }

    /// Goes on with a line: nothing was lost.
    pub(super) fn resume(&mut self, line: Option<Incarnation>) {
        self.line = line.or(self.line);
    }

    fn note(&mut self, key: &Key, id: &Bytes, is_live: bool) {
        let order = self.feeds.entry(key.clone()).or_default();
        match order.numbers.get(id) {
            None if is_live => {
                self.last += 1;
                order.numbers.insert(id.clone(), self.last);
                order.ids.insert(self.last, id.clone());
            }
            Some(number) if !is_live => {
                order.ids.remove(number);
                order.numbers.remove(id);
            }
            Some(_) | None => {}
        }
        if order.ids.is_empty() {
            self.feeds.remove(key);
        }
    }
}

impl Partition {
    /// Up to `limit` entries of a feed in the order in which they arrived here, at most [`limits::ARRIVALS`].
    ///
    /// Whoever reads on from each answer's place reads every entry at least once that arrives here and is not removed
    /// before, whatever its id. After a loss of data the answer says so, and everything that is there comes again.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn arrived(
        &self,
        history: &str,
        now: Version,
        key: &Key,
        since: Since,
        limit: usize,
    ) -> Result<Arrived, Stale> {
        self.check(history)?;
        let line = self.arrivals.line.ok_or(Stale)?;
        let (from, restarted) = match since {
            Since::Start => (0, false),
            Since::Now => (self.arrivals.last, false),
            Since::Place(place) if place.line == line && place.number <= self.arrivals.last => (place.number, false),
            Since::Place(_) => (0, true),
        };
        let mut arrived = Arrived { entries: Vec::new(), place: Place { line, number: from }, restarted, unordered: 0 };
        let state = self.keys.get(key).filter(|state| !state.deadline().is_some_and(|deadline| deadline.is_past(now)));
        let (Some(state), Some(order)) = (state, self.arrivals.feeds.get(key)) else { return Ok(arrived) };
        for (number, id) in order.ids.range(from.saturating_add(1)..).take(limit.min(limits::ARRIVALS)) {
            let payload = state.member(id).and_then(|cells| cells.value(key.kind));
            arrived.entries.extend(EntryId::split(id).map(|(id, _)| id).zip(payload));
            arrived.place.number = *number;
        }
        Ok(arrived)
    }

    /// Gives numbers to the entries among these fields that have come to be live, and takes those of others back.
    pub(super) fn note_arrivals<'f>(&mut self, key: &Key, fields: impl IntoIterator<Item = &'f Field>) {
        if key.kind != Kind::Feed {
            return;
        }
        for field in fields {
            let Field::Member(id) = field else { continue };
            let cells = self.keys.get(key).and_then(|state| state.member(id));
            self.arrivals.note(key, id, cells.is_some_and(Cells::is_live));
        }
    }

    /// The same of all fields that there are.
    pub(super) fn note_all_arrivals(&mut self, key: &Key) {
        let fields = self.keys.get(key).filter(|_| key.kind == Kind::Feed).map(|state| &state.fields);
        let fields: Vec<Field> = fields.into_iter().flat_map(BTreeMap::keys).cloned().collect();
        self.note_arrivals(key, &fields);
    }
}
