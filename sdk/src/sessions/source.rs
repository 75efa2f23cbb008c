//! What was seen of one region's writes to a keyspace: in each partition, up to which version.
//!
//! Every partition of a region has its own incarnation and its own log, so a version means something only together with
//! both. A text has room for few of these. What does not fit there becomes a bound, which says in which partitions, modulo
//! 16, something was seen, and up to when, but not what: the region itself is asked for that, when a read wants to know.

use std::collections::BTreeSet;

use archipelago_engine::{Incarnation, RegionId, Version};
use xxhash_rust::xxh3::xxh3_64;

/// Sights of one source that a session keeps. A text has room for [`ROOM`].
pub(super) const MAX_SIGHTS: usize = 256;

/// Bytes that the sights of one source have in a text: three partitions of one day. So a session that wrote in one region
/// stays below 64 characters.
pub(super) const ROOM: usize = 26;

/// Bytes that a bound takes of them.
pub(super) const BOUND_SIZE: usize = 9;

/// A keyspace. Three bytes of a hash of its name: should two of one system collide, which one pair in 16 million does,
/// reads of one wait for what was seen of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyspaceId(pub(super) [u8; 3]);

impl KeyspaceId {
    pub(crate) fn of(name: &str) -> Self {
        Self(short(name))
    }
}

/// A region's writes to one keyspace. Should two regions collide, incarnations keep their versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceId {
    pub(super) keyspace: KeyspaceId,
    pub(super) region: [u8; 3],
}

impl SourceId {
    pub(crate) fn of(keyspace: KeyspaceId, region: &RegionId) -> Self {
        Self { keyspace, region: short(region.as_str()) }
    }

    pub(crate) fn is_of(self, region: &RegionId) -> bool {
        self.region == short(region.as_str())
    }
}

fn short(name: &str) -> [u8; 3] {
    let [.., a, b, c] = xxh3_64(name.as_bytes()).to_be_bytes();
    [a, b, c]
}

/// An incarnation's first three bytes. Two incarnations of one partition in one region share them once in 16 million, and
/// then only a session that saw what the first of them lost is misled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) [u8; 3]);

impl Tag {
    pub(super) fn of(incarnation: Incarnation) -> Self {
        let [a, b, c, ..] = incarnation.bits().to_be_bytes();
        Self([a, b, c])
    }
}

/// What was seen of one incarnation: all of it up to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sight {
    pub(super) partition: u16,
    pub(super) tag: Tag,
    pub(super) version: Version,
}

/// That something was seen, and nobody knows what: it is in some of these partitions, and no newer than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// [`Version::MAX`] when not even that is known: a write had no answer.
    pub(super) to: Version,
    /// Of each partition the number modulo 16, as one bit.
    pub(super) partitions: u16,
    /// Partitions in which the region has said meanwhile what there is: the sights are whole there.
    pub(super) settled: BTreeSet<u16>,
}

/// What was seen of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) id: SourceId,
    /// In order, at most one for each partition and incarnation.
    pub(super) sights: Vec<Sight>,
    pub(super) bound: Option<Bound>,
}

pub(super) const fn bit(partition: u16) -> u16 {
    1 << (partition % 16)
}

impl Bound {
    pub(super) fn over(to: Version, partition: u16) -> Self {
        Self { to, partitions: bit(partition), settled: BTreeSet::new() }
    }

    pub(super) fn counts_in(&self, partition: u16) -> bool {
        self.partitions & bit(partition) != 0 && !self.settled.contains(&partition)
    }

    fn merge(&mut self, other: &Self) {
        // Settled is what neither of them leaves open.
        let is_settled = |partition: &u16| !self.counts_in(*partition) && !other.counts_in(*partition);
        let settled = self.settled.union(&other.settled).copied().filter(is_settled).collect();
        self.settled = settled;
        self.partitions |= other.partitions;
        self.to = self.to.max(other.to);
    }
}

impl Source {
    pub(super) const fn new(id: SourceId) -> Self {
        Self { id, sights: Vec::new(), bound: None }
    }

    pub(super) fn raise(&mut self, sight: Sight) {
        let key = |sight: &Sight| (sight.partition, sight.tag);
        match self.sights.binary_search_by_key(&key(&sight), key) {
            Ok(at) => {
                if let Some(known) = self.sights.get_mut(at) {
                    known.version = known.version.max(sight.version);
                }
            }
            Err(at) => self.sights.insert(at, sight),
        }
        if self.sights.len() > MAX_SIGHTS {
            *self = self.as_bound();
        }
    }

    pub(super) fn bind(&mut self, bound: &Bound) {
        match &mut self.bound {
            Some(known) => known.merge(bound),
            None => self.bound = Some(bound.clone()),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if let Some(bound) = &other.bound {
            self.bind(bound);
        }
        other.sights.iter().for_each(|sight| self.raise(*sight));
    }

    /// The same in less room: asks for no less.
    pub(super) fn as_bound(&self) -> Self {
        let mut bound = self.bound.clone();
        for sight in &self.sights {
            let more = Bound::over(sight.version, sight.partition);
            bound = Some(bound.map_or(more.clone(), |mut bound| {
                bound.merge(&more);
                bound
            }));
        }
        let bound = bound.map(|bound| Bound { settled: BTreeSet::new(), ..bound });
        Self { id: self.id, sights: Vec::new(), bound }
    }

    /// As a text says it: of what has no room there, the newest sights stay and the rest becomes a bound.
    pub(super) fn as_written(&self) -> Self {
        if self.bound.is_none() && size(&self.sights) <= ROOM {
            return self.clone();
        }
        let mut newest = self.sights.clone();
        newest.sort_by_key(|sight| std::cmp::Reverse(sight.version));
        let fit = (1..=newest.len()).take_while(|count| size(newest.iter().take(*count)) <= ROOM - BOUND_SIZE).count();
        let rest = Self { sights: newest.split_off(fit), ..self.clone() };
        newest.sort();
        Self { sights: newest, ..rest.as_bound() }
    }

    /// The highest version among the sights.
    pub(super) fn top(&self) -> Version {
        top(&self.sights)
    }
}

fn top<'s>(sights: impl IntoIterator<Item = &'s Sight>) -> Version {
    sights.into_iter().map(|sight| sight.version).max().unwrap_or_default()
}

/// How many bytes sights have in a text: see the wire.
fn size<'s>(sights: impl IntoIterator<Item = &'s Sight> + Clone) -> usize {
    let top = top(sights.clone()).as_micros();
    let of_one =
        |sight: &Sight| varint_len(u64::from(sight.partition)) + 3 + varint_len(top - sight.version.as_micros());
    sights.into_iter().map(of_one).sum()
}

const fn varint_len(number: u64) -> usize {
    // Seven bits a byte, and one byte for zero.
    (70 - (number | 1).leading_zeros() as usize) / 7
}
