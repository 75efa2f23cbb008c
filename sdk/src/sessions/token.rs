//! What a session has seen. On the routed plane: per data set, marks in the histories of its servers.
//!
//! A token only ever asks for more when it is merged: whoever has what the merged token asks for has what each of the
//! two asked for. What does not fit is replaced by a doubt, which only a primary satisfies.

use archipelago_engine::RegionId;
use xxhash_rust::xxh3::xxh3_64;

use super::{position::Position, sources::Sources};
use crate::routing::MAX_REGIONS;

/// A region's data set. Four bytes of a hash of its name: should two regions of one system collide, which one in four
/// billion pairs do, replication ids keep their marks apart, and the session reads more often at the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DataSet(pub(super) u32);

impl DataSet {
    pub(crate) fn of(region: &RegionId) -> Self {
        let [.., a, b, c, d] = xxh3_64(region.as_str().as_bytes()).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// A point in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// The first 8 bytes of the replication id.
    pub(crate) id: u64,
    /// The replication offset.
    pub(crate) offset: u64,
}

/// Histories of one data set that a token tells apart. One primary's own answer leaves one; more come from merging.
pub(super) const MAX_MARKS: usize = 3;

/// Data sets of a token.
pub(super) const MAX_PLACES: usize = MAX_REGIONS;

/// What was seen of one data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) set: DataSet,
    /// Whether there is more, and nobody knows what: only the primary will do.
    pub(crate) is_doubtful: bool,
    /// By id, at most one for each.
    pub(super) marks: Vec<Mark>,
}

/// What an answer of a primary says about what the session had seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there.
    Whole,
    /// Some of it cannot be found in the primary's history.
    Lost,
}

impl Place {
    fn new(set: DataSet) -> Self {
        Self { set, is_doubtful: false, marks: Vec::new() }
    }

    /// Whether a server in this position has all of it.
    pub(crate) fn is_covered_by(&self, position: &Position) -> bool {
        !self.is_doubtful && self.marks.iter().all(|mark| position.has(*mark))
    }

    /// Whether a primary in this position says nothing new: it has all, and all in its present history.
    pub(crate) fn is_settled_by(&self, position: &Position) -> bool {
        self.is_covered_by(position) && self.marks.iter().all(|mark| mark.id == position.mark.id)
    }

    /// Raises it to a mark.
    fn raise(&mut self, mark: Mark) {
        match self.marks.binary_search_by_key(&mark.id, |known| known.id) {
            Ok(at) => {
                if let Some(known) = self.marks.get_mut(at) {
                    known.offset = known.offset.max(mark.offset);
                }
            }
            Err(at) => self.marks.insert(at, mark),
        }
        if self.marks.len() > MAX_MARKS {
            // A history goes on where the one before ended, so the smallest offset is the oldest.
            let oldest = self.marks.iter().copied().min_by_key(|mark| (mark.offset, mark.id));
            self.marks.retain(|mark| Some(*mark) != oldest);
            self.is_doubtful = true;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.is_doubtful |= other.is_doubtful;
        other.marks.iter().for_each(|mark| self.raise(*mark));
    }
}

/// What a session has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// Whether there were more data sets than a token can name.
    pub(super) is_doubtful: bool,
    /// Until when reads go to the writer, in seconds since 1970; 0 for no time.
    pub(super) tagged_until: u32,
    /// By data set: the routed plane.
    pub(super) places: Vec<Place>,
    /// The active-active plane.
    pub(super) sources: Sources,
}

impl Token {
    pub(super) fn place(&self, set: DataSet) -> Option<&Place> {
        self.places.iter().find(|place| place.set == set)
    }

    fn place_mut(&mut self, set: DataSet) -> Option<&mut Place> {
        if let Err(at) = self.places.binary_search_by_key(&set, |place| place.set) {
            self.places.insert(at, Place::new(set));
            if self.places.len() > MAX_PLACES {
                self.places.truncate(MAX_PLACES);
                self.is_doubtful = true;
            }
        }
        self.places.iter_mut().find(|place| place.set == set)
    }

    /// Asks for all that either asks for: commutative, associative, idempotent.
    pub(super) fn merge(&mut self, other: &Self) {
        self.is_doubtful |= other.is_doubtful;
        self.tagged_until = self.tagged_until.max(other.tagged_until);
        for place in &other.places {
            if let Some(known) = self.place_mut(place.set) {
                known.merge(place);
            }
        }
        self.sources.merge(&other.sources);
    }

    /// Something was written, and nobody knows how far the history went.
    pub(super) fn doubt(&mut self, set: DataSet) {
        if let Some(place) = self.place_mut(set) {
            place.is_doubtful = true;
        }
    }

    /// Takes in where the primary stands, or a server that has what was seen `before` the answer was asked for.
    ///
    /// What was seen before is replaced: it is part of what the server has, or cannot be had any more. What other calls
    /// of the session have learned meanwhile stays: their answers may be newer than this one.
    pub(super) fn settle(&mut self, set: DataSet, before: Option<&Place>, position: &Position) -> Found {
        let before = before.map_or(&[][..], |place| &place.marks);
        if let Some(place) = self.place_mut(set) {
            place.marks.retain(|mark| !before.contains(mark));
            place.raise(position.mark);
        }
        if before.iter().all(|mark| position.has(*mark)) { Found::Whole } else { Found::Lost }
    }

    /// The doubt about a data set is over.
    pub(super) fn trust(&mut self, set: DataSet) {
        if let Some(place) = self.places.iter_mut().find(|place| place.set == set) {
            place.is_doubtful = false;
        }
    }
}
