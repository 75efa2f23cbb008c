//! Excerpts: the cells of a key that a read or a write is about.

use archipelago_engine::{Delta, Field, Key, KeyState, Mutation};
use bytes::Bytes;

use super::{Query, Read, Write};

/// Which cells of a key: those of some fields, or all of them.
///
/// A point read of a large key, or a write of one of its members, needs no more than these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Of which key.
    pub key: Key,
    /// Of which fields; `None`: all.
    pub fields: Option<Vec<Field>>,
}

impl Excerpt {
    /// All cells of a key.
    #[must_use]
    pub const fn whole(key: Key) -> Self {
        Self { key, fields: None }
    }

    /// What a read's answer follows from.
    #[must_use]
    pub fn of_read(read: &Read) -> Self {
        let members = match &read.query {
            Query::Contains(member) | Query::Field(member) | Query::HasField(member) | Query::Score(member) => {
                Some(vec![member.clone()])
            }
            Query::Fields(members) | Query::Positions(members) | Query::GeoHashes(members) => Some(members.clone()),
            Query::Distance { from, to, .. } => Some(vec![from.clone(), to.clone()]),
            // Some depend on every member, and a string has but one.
            Query::Value
            | Query::Exists
            | Query::TimeToLive
            | Query::Members
            | Query::Count
            | Query::Cardinality
            | Query::Search(_)
            | Query::All
            | Query::Rank { .. }
            | Query::RangeByRank { .. }
            | Query::RangeByScore { .. }
            | Query::CountByScore { .. }
            | Query::Range { .. }
            | Query::Between { .. } => None,
        };
        Self { key: read.key.clone(), fields: members.map(with_expiry) }
    }

    /// What a write may have changed, of a key without expiry. One with an expiry has to be looked at whole: if it was over,
    /// the write cleared every member.
    #[must_use]
    pub fn of_write(write: &Write) -> Self {
        let members = match &write.mutation {
            Mutation::Assign(assignment) => {
                Some(assignment.entries.iter().map(|(member, _)| member.clone()).collect::<Vec<_>>())
            }
            Mutation::Add { member, .. } => Some(vec![member.clone()]),
            Mutation::Remove { members } | Mutation::Claim { candidates: members } => Some(members.clone()),
            // Which elements of a list an edit moved only the region knows.
            Mutation::Observe { .. }
            | Mutation::Clear { .. }
            | Mutation::Expire(_)
            | Mutation::Sweep { .. }
            | Mutation::Resolve { .. }
            | Mutation::List(_)
            | Mutation::Append(_)
            | Mutation::Evict(_)
            | Mutation::Stock(_) => None,
        };
        Self { key: write.key.clone(), fields: members.map(with_expiry) }
    }

    /// These cells of a key's state.
    #[must_use]
    pub fn cut(&self, state: &KeyState) -> KeyState {
        let mut cut = state.clone();
        if let Some(fields) = &self.fields {
            cut.fields.retain(|field, _| fields.contains(field));
        }
        cut
    }

    /// These cells of the same key, too.
    pub(crate) fn absorb(&mut self, other: Self) {
        match (&mut self.fields, other.fields) {
            (Some(fields), Some(more)) => {
                fields.extend(more);
                fields.sort();
                fields.dedup();
            }
            (_, None) => self.fields = None,
            (None, Some(_)) => {}
        }
    }

    /// A state of it as a delta.
    #[must_use]
    pub fn delta(&self, state: &KeyState) -> Delta {
        let fields = state.fields.iter().map(|(field, stamped)| (field.clone(), stamped.cells.clone()));
        Delta { key: self.key.clone(), fields: fields.collect() }
    }
}

/// The fields of these members, each once, and the expiry, which says whether a reader sees any of them.
fn with_expiry(mut members: Vec<Bytes>) -> Vec<Field> {
    members.sort();
    members.dedup();
    members.into_iter().map(Field::Member).chain([Field::Expiry]).collect()
}
