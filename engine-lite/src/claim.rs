//! Claims: an element of a list or stream is taken once, because one region decides: its home.
//!
//! Whatever two regions do to an element at the same time, both do it. So exactly one region may give it away, and all
//! have to know which without asking: the region that made it, whose incarnation is in the element's position or id and
//! never changes. Its server executes a claim in one step: the element is there and is removed, or it is not.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    cell::Cell,
    cells::Cells,
    delta::Delta,
    entry::EntryId,
    key::{Field, Key, Kind},
    origin::{Incarnation, Origin, RegionId},
    partition::Standing,
    position,
    version::Version,
};

/// An element that a claim took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its position or id.
    pub member: Bytes,
    /// What it held, in the region that gave it away.
    pub value: Bytes,
    /// The assignments of it that are known there to be over, by origin.
    pub retracted: Vec<(Origin, Version)>,
}

impl Claim {
    /// The removal, for another region.
    #[must_use]
    pub fn delta(&self, key: &Key) -> Delta {
        let cell = |retracted: &Version| Cell { retracted: *retracted, ..Cell::default() };
        let cells: Cells = self.retracted.iter().map(|(origin, version)| (origin.clone(), cell(version))).collect();
        let mut delta = Delta::new(key.clone());
        delta.fields.insert(Field::Member(self.member.clone()), cells);
        delta
    }
}

/// The homes of elements: the regions that made them, as far as these regions have met their incarnations.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    origins: BTreeSet<Origin>,
}

impl Homes {
    /// What regions that stand so know.
    pub fn known_to<'s>(standings: impl IntoIterator<Item = &'s Standing>) -> Self {
        let mut origins = BTreeSet::new();
        for standing in standings {
            let met = standing.applied.keys().chain(standing.seen.keys());
            origins.extend(met.chain([&standing.origin]).cloned());
        }
        Self { origins }
    }

    /// The home of an element of a list or stream: the region of the incarnation that made it, ended or not.
    ///
    /// `None` for an entry whose id its writer chose, for two regions may have chosen the same one.
    ///
    /// ```
    /// use archipelago_engine::{Homes, Incarnation, Kind, Partition, Version, position::{Maker, between}};
    ///
    /// let now = Version::from_micros(1_790_000_000_000_000);
    /// let mut eu = Partition::new("eu".parse()?);
    /// eu.open("server", Incarnation::new(7), 0, now);
    /// let homes = Homes::known_to([&eu.standing("server", now)?]);
    /// let made = |bits| between(None, None, 1, Maker { incarnation: Incarnation::new(bits), number: 2 });
    /// assert_eq!(homes.of(Kind::List, &made(7)[0]).map(|home| home.as_str()), Some("eu"));
    /// assert_eq!(homes.of(Kind::List, &made(8)[0]), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(&self, kind: Kind, member: &Bytes) -> Option<&RegionId> {
        let made = |origin: &&Origin| made_by(kind, member, origin.incarnation);
        self.origins.iter().find(made).map(|origin| &origin.region)
    }
}

/// Whether this incarnation made an element.
fn made_by(kind: Kind, member: &Bytes, incarnation: Incarnation) -> bool {
    match kind {
        Kind::List => position::made_by(member) == Some(incarnation),
        Kind::Stream => EntryId::split(member).is_some_and(|(id, _)| id.is_given_by(incarnation)),
        _ => false,
    }
}
