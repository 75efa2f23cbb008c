//! Incarnations: which history of a region's data is the current one.

use super::{Partition, RawEntry};
use crate::{
    codec,
    delta::{Body, Entry},
    origin::{Incarnation, Origin},
    version::Version,
};

/// Which incarnation is current, and which server history it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The current incarnation.
    pub incarnation: Incarnation,
    /// Rises with every opening in a region: the highest known one is the current incarnation.
    pub opening: u64,
    /// The identity of the server's history (`run_id:master_replid` of a Redis server).
    pub history: String,
}

impl Partition {
    /// Opens a new incarnation, unless the record already names this history and no peer knows a later opening.
    ///
    /// The old incarnation is closed: all that its data shows of it is held (`applied`), its log is dropped, and so is
    /// every cursor into this region, so that every link resyncs, both ways. `floor` is the highest opening number of
    /// this region that peers know. Answers the record now in force.
    pub fn open(&mut self, history: &str, fresh: Incarnation, floor: u64, now: Version) -> Record {
        if let Ok(record) = self.check(history)
            && record.opening >= floor
        {
            return record.clone();
        }
        let mut opening = now.as_micros().max(floor.saturating_add(1));
        if let Some(old) = &self.record {
            opening = opening.max(old.opening.saturating_add(1));
            let closed = Origin::new(self.region.clone(), old.incarnation);
            self.applied.insert(closed, self.clock);
        }
        self.applied.remove(&Origin::new(self.region.clone(), fresh));
        self.cursors.clear();
        self.resyncs.clear();
        self.settling.clear();
        self.acks.clear();
        // What the closed incarnation had a right to may have been spent in what was lost.
        self.inherited.clear();
        // Nor is what had arrived all there any more.
        self.arrivals.begin(fresh);
        self.log.clear();
        let record = Record { incarnation: fresh, opening, history: history.to_owned() };
        self.record = Some(record.clone());
        self.append_vector(now);
        record
    }

    /// Writes what this region holds into its log, if data arrived since it last did.
    ///
    /// # Errors
    /// [`super::Stale`] when the history broke.
    pub fn publish_vector(&mut self, history: &str, now: Version) -> Result<bool, super::Stale> {
        self.check(history)?;
        let due = self.vector_due;
        if due {
            self.append_vector(now);
        }
        Ok(due)
    }

    /// Writes what this region holds into its log, whether or not data arrived: a peer waits to hear of it.
    ///
    /// # Errors
    /// [`super::Stale`] when the history broke.
    pub fn republish_vector(&mut self, history: &str, now: Version) -> Result<(), super::Stale> {
        self.check(history)?;
        self.append_vector(now);
        Ok(())
    }

    /// Appends a vector entry. The entry itself moves the clock, and the vector says what was held before it.
    pub(super) fn append_vector(&mut self, now: Version) {
        let (Some(own), Some(opening)) = (self.origin(), self.record.as_ref().map(|r| r.opening)) else {
            return;
        };
        let body = Body::Vector { opening, applied: self.applied.clone() };
        self.vector_due = false;
        let version = self.next_version(now);
        self.append(&own, version, 1, body);
    }

    pub(super) fn append(&mut self, own: &Origin, version: Version, span: u32, body: Body) {
        self.number += 1;
        let entry = Entry { number: self.number, version, span, body };
        self.clock = entry.last();
        let bytes = codec::encode_entry(own, &entry).into();
        self.log.push_back(RawEntry { id: version, bytes });
    }
}
