//! Keys of many fields, written in steps: what the store did at several steps the engine does again, one by one.

use archipelago::engine::{
    Body, ClearStep, Delta, End, Entry, Expiry, Field, Key, Kind, ListEdit, LogSlice, Mutation, MutationError, Refusal,
    codec, limits,
};
use archipelago::store::Write;
use archipelago_tests::random::Rng;
use bytes::Bytes;

use crate::pair::Pair;

const KINDS: [Kind; 4] = [Kind::Set, Kind::Hash, Kind::SortedSet, Kind::List];

fn members(rng: &mut Rng, count: usize) -> Vec<Bytes> {
    (0..count).map(|_| Bytes::from(rng.below(2 * limits::CLEARED_AT_ONCE).to_string())).collect()
}

/// Writes after which some keys are just below the bound, and some above it.
pub fn write(rng: &mut Rng) -> (Key, Mutation) {
    let key = Key::new(*rng.pick(&KINDS), "large");
    let mutation = match rng.below(20) {
        0..=11 if key.kind == Kind::List => {
            let values = members(rng, 300);
            Mutation::List(ListEdit::Push { end: End::Back, values, existing: false })
        }
        12 if key.kind == Kind::List => Mutation::List(ListEdit::Trim { start: rng.below(3) as i64, stop: 20 }),
        0..=11 => Mutation::assign(members(rng, 400).into_iter().map(|member| (member, "1".into()))),
        12 | 13 => Mutation::Remove { members: members(rng, 300) },
        14 | 15 => Mutation::Clear { previous: false },
        16 => Mutation::Sweep { grace: 0 },
        17 => Mutation::Expire(Expiry::In(-1)),
        18 => Mutation::Expire(Expiry::At(1_900_000_000_000)),
        _ => {
            let grace = rng.one_in(2).then_some(0);
            Mutation::ClearStep(ClearStep { members: members(rng, 300), grace, is_last: rng.one_in(4) })
        }
    };
    (key, mutation)
}

/// The step that leaves such a delta.
fn step_of(delta: Delta) -> Mutation {
    let is_last = delta.fields.contains_key(&Field::Expiry);
    let members = delta.fields.into_keys().filter_map(|field| match field {
        Field::Member(member) => Some(member),
        Field::Expiry => None,
    });
    Mutation::ClearStep(ClearStep { members: members.collect(), grace: None, is_last })
}

impl Pair {
    /// Answers how many steps it took.
    pub async fn write_in_steps(&mut self, key: &Key, mutation: &Mutation, place: &str) -> usize {
        self.touched.insert(key.clone());
        let write = Write { key: key.clone(), mutation: mutation.clone(), exclusive: false };
        let theirs = self.store.write(&write).await.unwrap();
        let slice = self.store.log_after(0, self.last, 100).await.unwrap();
        let now = slice.entries.first().map_or_else(|| self.last.next(), |raw| raw.id);
        let (history, mut steps) = (self.record.history.clone(), 0);
        match self.partition.mutate(&history, now, key, mutation) {
            Ok(ours) => assert_eq!(theirs, ours, "{place}: {key:?} {mutation:?}"),
            Err(Refusal::Mutation(MutationError::TooManyFields)) => {
                for raw in &slice.entries {
                    let entry = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap();
                    let Body::Data(delta) = entry.body else { panic!("{place}: a vector") };
                    // What follows when there is room assigns something, and steps do not.
                    let assigns = delta.fields.values().flat_map(|cells| cells.iter());
                    let is_step = !assigns.into_iter().any(|(_, cell)| cell.is_live());
                    let step = if is_step { step_of(delta) } else { mutation.clone() };
                    self.partition.mutate(&history, raw.id, key, &step).unwrap();
                    steps += 1;
                }
            }
            Err(other) => panic!("{place}: {key:?} {mutation:?}: {other}"),
        }
        // One read of the whole log would not do: it ends at a megabyte.
        let ours = self.partition.log_after(&history, self.last, 100).unwrap();
        let entries = |slice: &LogSlice| -> Vec<Entry> {
            slice.entries.iter().map(|raw| codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap()).collect()
        };
        assert_eq!(entries(&slice), entries(&ours), "{place}: {key:?} {mutation:?}: log");
        self.last = slice.entries.last().map_or(self.last, |raw| raw.id);
        self.compare_key(key, place).await;
        steps
    }
}
