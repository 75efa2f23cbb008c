//! Streams in the model: entries by id, the oldest go first.

use archipelago_engine::{Append, EntryId, Field, Keep, Mutation, MutationError, Outcome, Version, testing::Change};
use bytes::Bytes;

use super::{
    Rng,
    lists::random_value,
    write::{Shadow, b},
};

pub fn append(rng: &mut Rng) -> Append {
    Append { id: None, payload: random_value(rng), existing: false, keep: None }
}

/// Ids about those that regions give.
fn random_id(rng: &mut Rng) -> EntryId {
    let millis = super::START / 1000 + rng.below(400) as u64;
    EntryId { millis, sequence: *rng.pick(&[0, 7, u64::MAX]) }
}

fn random_keep(rng: &mut Rng) -> Keep {
    match rng.below(3) {
        0 => Keep::From(random_id(rng)),
        1 => Keep::Lately(rng.below(100) as u64),
        _ => Keep::Newest(rng.below(5) as u64),
    }
}

pub fn random_write(rng: &mut Rng) -> Mutation {
    match rng.below(8) {
        0 => Mutation::Evict(random_keep(rng)),
        1 => Mutation::Remove { members: vec![random_id(rng).to_bytes(), b("no id, and not there")] },
        2 => Mutation::Append(Append { id: Some(random_id(rng)), ..append(rng) }),
        3 => Mutation::Append(Append { keep: Some(random_keep(rng)), existing: rng.one_in(2), ..append(rng) }),
        _ => Mutation::Append(append(rng)),
    }
}

impl Shadow<'_> {
    fn ids(&self) -> Vec<(EntryId, (Field, Bytes))> {
        let id = |field: &Field| match field {
            Field::Member(id) => EntryId::split(id).unwrap().0,
            Field::Expiry => unreachable!(),
        };
        self.elements().into_iter().map(|element| (id(&element.0), element)).collect()
    }

    pub(super) fn append_entry(&mut self, append: &Append, now: Version, over: bool) -> Result<Outcome, MutationError> {
        let ids = if over { Vec::new() } else { self.ids() };
        let last = ids.last().map(|(id, _)| *id);
        if append.existing && last.is_none() {
            self.clear();
            return Ok(Outcome::Appended(None));
        }
        if let Some(id) = append.id
            && last.is_some_and(|last| id <= last)
        {
            return Err(MutationError::IdTooSmall);
        }
        let id = append.id.unwrap_or_else(|| {
            // The model has no opinion on it, but that it is new and the highest.
            let made = self.log_of_after();
            assert!(last.is_none_or(|last| made > last) && made.millis >= now.as_millis(), "{made} behind {last:?}");
            made
        });
        if over {
            self.clear();
        }
        self.note(&Field::Member(id.to_bytes()), Change::Assign(append.payload.clone()));
        if let Some(keep) = append.keep {
            self.evict(keep, now, false);
        }
        Ok(Outcome::Appended(Some(id)))
    }

    /// The id that the write under test gave.
    fn log_of_after(&self) -> EntryId {
        let made = self.made();
        let [Field::Member(id)] = &made[..] else { panic!("{made:?}") };
        EntryId::split(id).unwrap().0
    }

    pub(super) fn evict(&mut self, keep: Keep, now: Version, over: bool) -> Outcome {
        let ids = if over { Vec::new() } else { self.ids() };
        let count = ids.len() as u64;
        let gone = ids.into_iter().enumerate().filter(|(at, (id, _))| match keep {
            Keep::Newest(newest) => *at as u64 + newest < count,
            Keep::From(first) => *id < first,
            Keep::Lately(millis) => id.millis + millis < now.as_millis(),
        });
        let gone: Vec<_> = gone.map(|(_, (_, element))| element).collect();
        Outcome::Removed(self.take(&gone))
    }
}
