//! What a session has seen on the active-active plane: of each region that writes, and in each partition, up to which
//! version.
//!
//! Every partition of a region has its own incarnation and its own log, so a version means something only together with
//! both. A text has room for few of these; what does not fit becomes one bound per region, which says in how many
//! partitions something was seen, and not what exactly. That is asked of the region itself, when a read wants to know.
//!
//! Merging asks for all that either asks for: commutative, associative, idempotent.

use std::collections::BTreeSet;

use archipelago_engine::{Incarnation, Origin, RegionId, Standing, Version};
use xxhash_rust::xxh3::xxh3_64;

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

/// A partition of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) keyspace: KeyspaceId,
    pub(crate) number: u16,
    /// How many there are.
    pub(crate) of: u16,
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

/// What was seen of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Whether there were more of them than a token can name: then every region has to say what there is.
    pub(super) is_doubtful: bool,
    /// By id.
    pub(super) list: Vec<Source>,
}

/// Sources of a token: regions times keyspaces that one user works with.
pub(super) const MAX_SOURCES: usize = 16;

/// Sights of one source that a session keeps. A text has room for [`ROOM`].
pub(super) const MAX_SIGHTS: usize = 256;

/// Bytes that the sights of one source have in a text: three partitions of one day. So a session that wrote in one region
/// stays below 64 characters.
pub(super) const ROOM: usize = 26;

/// Bytes that a bound takes of them.
pub(super) const BOUND_SIZE: usize = 9;

/// What a region lacks of what was seen in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) sights: Vec<(SourceId, Sight)>,
    /// Sources of which nobody knows what was seen: they have to say.
    pub(crate) vague: Vec<SourceId>,
}

impl Lack {
    pub(crate) fn is_empty(&self) -> bool {
        self.sights.is_empty() && self.vague.is_empty()
    }

    /// Every source of which something is missing.
    pub(crate) fn sources(&self) -> BTreeSet<SourceId> {
        self.sights.iter().map(|(source, _)| *source).chain(self.vague.iter().copied()).collect()
    }
}

const fn bit(partition: u16) -> u16 {
    1 << (partition % 16)
}

impl Bound {
    fn over(to: Version, partition: u16) -> Self {
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
    const fn new(id: SourceId) -> Self {
        Self { id, sights: Vec::new(), bound: None }
    }

    fn raise(&mut self, sight: Sight) {
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

    fn bind(&mut self, bound: &Bound) {
        match &mut self.bound {
            Some(known) => known.merge(bound),
            None => self.bound = Some(bound.clone()),
        }
    }

    fn merge(&mut self, other: &Self) {
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

impl Sources {
    /// `None` when there is room for no more.
    fn source_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        if let Err(at) = self.list.binary_search_by_key(&id, |source| source.id) {
            self.list.insert(at, Source::new(id));
            if self.list.len() > MAX_SOURCES {
                self.list.truncate(MAX_SOURCES);
                self.is_doubtful = true;
            }
        }
        self.list.iter_mut().find(|source| source.id == id)
    }

    /// Whether anything was seen in a partition.
    pub(super) fn seeks(&self, at: Partition) -> bool {
        let counts = |source: &Source| {
            source.sights.iter().any(|sight| sight.partition == at.number)
                || source.bound.as_ref().is_some_and(|bound| bound.counts_in(at.number))
        };
        self.is_doubtful || self.list.iter().any(|source| source.id.keyspace == at.keyspace && counts(source))
    }

    /// Takes in all that the other has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        self.is_doubtful |= other.is_doubtful;
        for source in &other.list {
            if let Some(known) = self.source_mut(source.id) {
                known.merge(source);
            }
        }
    }

    /// An origin's versions up to this one were seen.
    pub(super) fn raise(&mut self, at: Partition, origin: &Origin, version: Version) {
        if version.is_zero() {
            return;
        }
        let sight = Sight { partition: at.number, tag: Tag::of(origin.incarnation), version };
        if let Some(source) = self.source_mut(SourceId::of(at.keyspace, &origin.region)) {
            source.raise(sight);
        }
    }

    /// Something may have been written, and nobody knows which version it has.
    pub(super) fn doubt(&mut self, id: SourceId, partition: u16) {
        if let Some(source) = self.source_mut(id) {
            source.bind(&Bound::over(Version::MAX, partition));
        }
    }

    /// The region of a source has said where it stands: that is all that was ever seen of it. Its older incarnations
    /// count as far as the region itself still has them.
    pub(super) fn learn(&mut self, at: Partition, standing: &Standing, settles: bool) {
        self.raise(at, &standing.origin, standing.last);
        let id = SourceId::of(at.keyspace, &standing.origin.region);
        let bound = self.list.iter().find(|source| source.id == id).and_then(|source| source.bound.as_ref());
        if self.is_doubtful || bound.is_some_and(|bound| bound.counts_in(at.number)) {
            let own = standing.applied.iter().filter(|(origin, _)| origin.region == standing.origin.region);
            own.for_each(|(origin, version)| self.raise(at, origin, *version));
            if settles {
                self.settle(id, at);
            }
        }
    }

    /// What is known of a source in a partition is all that there is.
    pub(super) fn settle(&mut self, id: SourceId, at: Partition) {
        let Some(source) = self.list.iter_mut().find(|source| source.id == id) else { return };
        if let Some(bound) = source.bound.as_mut().filter(|bound| bound.counts_in(at.number)) {
            if at.of <= 16 {
                // The bit stands for this partition alone.
                bound.partitions &= !bit(at.number);
            } else {
                bound.settled.insert(at.number);
            }
        }
        source.bound = source.bound.take().filter(|bound| bound.partitions != 0);
        self.tidy();
    }

    fn tidy(&mut self) {
        self.list.retain(|source| !source.sights.is_empty() || source.bound.is_some());
    }

    /// Asks for these no more.
    pub(super) fn forget(&mut self, lost: &[(SourceId, Sight)]) {
        for source in &mut self.list {
            let id = source.id;
            source.sights.retain(|sight| !lost.contains(&(id, *sight)));
        }
        self.tidy();
    }

    /// What regions that stand so lack, all together, of what was seen in a partition. `members` are the sources of the
    /// keyspace that can be asked.
    pub(super) fn lack(&self, at: Partition, members: &[SourceId], standings: &[&Standing]) -> Lack {
        let mut lack = Lack::default();
        for source in self.list.iter().filter(|source| source.id.keyspace == at.keyspace) {
            let sights = source.sights.iter().filter(|sight| sight.partition == at.number);
            let missing = sights.filter(|sight| !standings.iter().any(|standing| holds(standing, source.id, sight)));
            lack.sights.extend(missing.map(|sight| (source.id, *sight)));
            let bound = source.bound.as_ref().filter(|bound| bound.counts_in(at.number));
            if bound.is_some_and(|bound| !standings.iter().any(|standing| reaches(standing, source.id, bound.to))) {
                lack.vague.push(source.id);
            }
        }
        if self.is_doubtful {
            lack.vague = members.to_vec();
        }
        lack
    }
}

/// Whether a region holds all that was seen of an incarnation.
fn holds(at: &Standing, source: SourceId, sight: &Sight) -> bool {
    let is_meant = |origin: &&Origin| Tag::of(origin.incarnation) == sight.tag && source.is_of(&origin.region);
    let origins = at.applied.keys().chain([&at.origin]).filter(is_meant);
    origins.map(|origin| at.held(origin)).any(|held| held >= sight.version)
}

/// Whether a region holds all of a source up to a version: the source itself does, and whoever has come so far in its
/// present incarnation. Of the ones before it each region holds what the source held when it opened the present one.
fn reaches(at: &Standing, source: SourceId, to: Version) -> bool {
    if source.is_of(&at.origin.region) {
        return true;
    }
    let current = at.peers.iter().filter(|(region, _)| source.is_of(region));
    let mut held = current.map(|(region, incarnation)| at.held(&Origin::new(region.clone(), *incarnation)));
    held.any(|held| held >= to)
}
