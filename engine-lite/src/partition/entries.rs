//! Writes of streams and feeds: which id, and what goes when there is too much.

use bytes::Bytes;

use super::mutate::Write;
use crate::{
    cells::Cells,
    entry::{Append, EntryId, Keep},
    key::Field,
    mutation::{MutationError, Outcome, limits},
    position::Maker,
};

impl Write<'_> {
    pub(super) fn append_entry(&mut self, append: &Append) -> Result<Outcome, MutationError> {
        let last = self.ids().pop();
        if append.existing && last.is_none() {
            self.clear_if_over();
            return Ok(Outcome::Appended(None));
        }
        let maker = Maker { incarnation: self.own.incarnation, number: self.number };
        let id = match append.id {
            None => EntryId::give(self.now.as_millis(), last, maker).ok_or(MutationError::IdTooSmall)?,
            Some(EntryId::ZERO) => return Err(MutationError::IdZero),
            Some(id) if last.is_some_and(|last| id <= last) => return Err(MutationError::IdTooSmall),
            Some(id) => id,
        };
        self.clear_if_over();
        self.assign_field(Field::Member(id.to_bytes()), append.payload.clone());
        if let Some(keep) = append.keep {
            self.evict(keep);
        }
        Ok(Outcome::Appended(Some(id)))
    }

    /// What a reader sees, oldest first.
    fn ids(&self) -> Vec<EntryId> {
        if self.is_over() {
            return Vec::new();
        }
        let live = self.state.members().filter(|(_, cells): &(&Bytes, &Cells)| cells.is_live());
        live.filter_map(|(member, _)| EntryId::split(member)).map(|(id, _)| id).collect()
    }

    pub(super) fn evict(&mut self, keep: Keep) -> Outcome {
        let ids = self.ids();
        let excess = match keep {
            Keep::Newest(count) => ids.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX)),
            Keep::From(first) => ids.partition_point(|id| *id < first),
            Keep::Lately(millis) => {
                let first = self.now.as_millis().saturating_sub(millis);
                ids.partition_point(|id| id.millis < first)
            }
        };
        let oldest = ids.into_iter().take(excess.min(limits::MEMBERS));
        self.remove(&oldest.map(EntryId::to_bytes).collect::<Vec<_>>())
    }
}
