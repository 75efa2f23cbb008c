//! From a piece of a log to the batches that are joined: pure.

use std::collections::BTreeMap;

use archipelago_engine::{Batch, Body, Cursor, Delta, Key, LogSlice, SetAside, codec};

/// A batch is closed at this many bytes: more would hold up whoever shares the connection.
const BYTES: usize = 1 << 20;

/// The log does not continue where the position is: entries in between were trimmed, or it is another incarnation's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap;

/// Cuts a piece of a log into batches of at most about `cells` cells. Deltas of the same cells are joined together, so
/// a hot counter costs one cell however often it was written.
pub(super) fn assemble(slice: &LogSlice, from: Cursor, cells: usize) -> Result<Vec<Batch>, Gap> {
    if slice.origin.incarnation != from.incarnation {
        return Err(Gap);
    }
    if slice.entries.is_empty() && slice.end > from.number {
        // Trimmed down to nothing behind the position: no entry is left whose number would show it.
        return Err(Gap);
    }
    let mut batches = Vec::new();
    let mut draft = Draft::new(from);
    for raw in &slice.entries {
        let expected = draft.position.number + 1;
        match codec::decode_entry(&slice.origin, raw.id, &raw.bytes) {
            Ok(entry) if entry.number != expected => return Err(Gap),
            Ok(entry) => {
                draft.applied = entry.last();
                match entry.body {
                    Body::Data(delta) => draft.absorb(delta),
                    Body::Vector { applied, .. } => draft.vector = Some(applied),
                }
            }
            Err(error) => {
                // Damaged, or from a later version of the format. Its number may still be legible.
                if codec::peek_number(&raw.bytes).is_some_and(|number| number != expected) {
                    return Err(Gap);
                }
                tracing::warn!(origin = %slice.origin, id = %raw.id, %error, "set aside a log entry that cannot be decoded");
                draft.applied = raw.id;
                draft.aside.push(SetAside { id: raw.id, bytes: raw.bytes.clone() });
            }
        }
        draft.position = Cursor { number: expected, id: raw.id, ..draft.position };
        draft.bytes += raw.bytes.len();
        if draft.cells >= cells || draft.bytes >= BYTES {
            let next = Draft::new(draft.position);
            batches.push(std::mem::replace(&mut draft, next).finish(slice));
        }
    }
    if draft.position.number > draft.from {
        batches.push(draft.finish(slice));
    }
    Ok(batches)
}

struct Draft {
    from: u64,
    position: Cursor,
    applied: archipelago_engine::Version,
    deltas: BTreeMap<Key, Delta>,
    cells: usize,
    bytes: usize,
    vector: Option<archipelago_engine::Vector>,
    aside: Vec<SetAside>,
}

impl Draft {
    fn new(position: Cursor) -> Self {
        Self {
            from: position.number,
            position,
            applied: position.id,
            deltas: BTreeMap::new(),
            cells: 0,
            bytes: 0,
            vector: None,
            aside: Vec::new(),
        }
    }

    fn absorb(&mut self, delta: Delta) {
        let count = delta.len();
        match self.deltas.get_mut(&delta.key) {
            Some(present) => {
                let before = present.len();
                present.absorb(&delta);
                self.cells += present.len() - before;
            }
            None => {
                self.cells += count;
                self.deltas.insert(delta.key.clone(), delta);
            }
        }
    }

    fn finish(self, slice: &LogSlice) -> Batch {
        Batch {
            origin: slice.origin.clone(),
            from: self.from,
            to: self.position.number,
            id: self.position.id,
            applied: self.applied,
            epoch: slice.epoch,
            deltas: self.deltas.into_values().collect(),
            vector: self.vector,
            aside: self.aside,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use archipelago_engine::{Amount, Incarnation, Kind, Mutation, Partition, RawEntry, Version};

    use super::*;

    fn counted(times: usize) -> (LogSlice, Cursor) {
        let mut region = Partition::new("eu".parse().unwrap());
        let now = Version::from_micros(1_790_000_000_000_000);
        region.open("h", Incarnation::new(1), 0, now);
        let key = Key::new(Kind::String, "hits");
        for _ in 0..times {
            let add = Mutation::Add { member: Default::default(), amount: Amount::Integer(1) };
            region.mutate("h", now, &key, &add).unwrap();
        }
        (region.log_after("h", Version::ZERO, 1000).unwrap(), Cursor::start(Incarnation::new(1)))
    }

    #[test]
    fn a_hot_counter_costs_one_cell() {
        let (slice, start) = counted(50);
        let batches = assemble(&slice, start, 200).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!((batches[0].from, batches[0].to), (0, 51));
        assert_eq!(batches[0].deltas.iter().map(Delta::len).sum::<usize>(), 1);
    }

    #[test]
    fn a_missing_entry_is_a_gap() {
        let (mut slice, start) = counted(5);
        slice.entries.remove(2);
        assert_eq!(assemble(&slice, start, 200), Err(Gap));
        let (slice, start) = counted(5);
        assert_eq!(assemble(&slice, Cursor { incarnation: Incarnation::new(2), ..start }, 200), Err(Gap));
    }

    #[test]
    fn a_log_trimmed_down_to_nothing_is_a_gap() {
        let (mut slice, start) = counted(5);
        slice.entries.clear();
        assert_eq!(assemble(&slice, start, 200), Err(Gap));
        assert_eq!(assemble(&slice, Cursor { number: slice.end, ..start }, 200), Ok(Vec::new()));
    }

    #[test]
    fn an_undecodable_entry_is_set_aside_and_the_rest_goes_on() {
        let (mut slice, start) = counted(5);
        slice.entries[2] = RawEntry { bytes: vec![9, 9, 9].into(), ..slice.entries[2].clone() };
        let batches = assemble(&slice, start, 200).unwrap();
        assert_eq!(batches[0].to, 6);
        assert_eq!(batches[0].aside.len(), 1);
    }
}
