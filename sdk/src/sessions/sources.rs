//! What a session has seen on the active-active plane, of all regions and keyspaces.
//!
//! Merging asks for all that either asks for: commutative, associative, idempotent.

use std::collections::BTreeSet;

use archipelago_engine::{Origin, Standing, Version};

use super::source::{Bound, KeyspaceId, Sight, Source, SourceId, Tag, bit};

/// Sources of a token: regions times keyspaces that one user works with.
pub(super) const MAX_SOURCES: usize = 16;

/// A partition of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) keyspace: KeyspaceId,
    pub(crate) number: u16,
    /// How many there are.
    pub(crate) of: u16,
}

/// What was seen of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Whether there were more of them than a token can name: then every region has to say what there is.
    pub(super) is_doubtful: bool,
    /// By id.
    pub(super) list: Vec<Source>,
}

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
