//! One key's cells from several regions, joined in the client: what a region shows once it has all of them.

use archipelago_engine::{Delta, Incarnation, Key, KeyState, Partition, ResyncPlan, Slice, Standing, Version};

use crate::store::{Read, Reply, StoreError, embedded::answer};

/// What the joined region is called: nobody writes there, so it is the origin of nothing.
const NOBODY: &str = "-";

/// A region of the client's own, with one key.
pub(super) struct Merge {
    partition: Partition,
    now: Version,
}

impl Merge {
    /// Takes in the key as each of these regions has it, by the steps of a resync: a plain join of cells would bring back
    /// what one of the regions has removed and forgotten. `None` when a region's answer cannot be taken in.
    pub(super) fn of(key: &Key, regions: &[(KeyState, Standing)]) -> Option<Self> {
        let now = regions.iter().map(|(_, standing)| standing.now).max()?;
        let mut partition = Partition::new(NOBODY.parse().ok()?);
        let history = "";
        partition.open(history, Incarnation::new(0), 0, now);
        let epoch = partition.sync_state().epoch;
        for (state, standing) in regions {
            let mut vector = standing.applied.clone();
            vector.insert(standing.origin.clone(), standing.last);
            let plan = ResyncPlan {
                sender: standing.origin.clone(),
                opening: 0,
                epoch,
                number: 0,
                id: standing.last,
                vector,
                above: 0,
            };
            let fields = state.fields.iter().map(|(field, stamped)| (field.clone(), stamped.cells.clone()));
            let delta = Delta { key: key.clone(), fields: fields.collect() };
            let slice = Slice { deltas: vec![delta], last: None, walked: 1 };
            partition.start_resync(history, &plan).ok()?;
            partition.apply_slice(history, &plan, &slice).ok()?;
            partition.complete_resync(history, &plan).ok()?;
        }
        Some(Self { partition, now })
    }

    /// The joined cells, and the latest of the regions' times.
    pub(super) fn into_state(self, key: &Key) -> (KeyState, Version) {
        (self.partition.key(key).cloned().unwrap_or_default(), self.now)
    }

    /// What a reader there sees.
    pub(super) fn answer(&self, read: &Read) -> Result<Reply, StoreError> {
        answer(&self.partition, self.now, read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use archipelago_engine::{Kind, Mutation, Vector};
    use bytes::Bytes;

    use super::*;
    use crate::store::Query;

    #[test]
    fn what_a_region_removed_and_forgot_does_not_come_back_in_either_order() {
        let (key, now) = (Key::new(Kind::Set, "tags"), Version::from_micros(1_790_000_000_000_000));
        let mut there = Partition::new("eu".parse().unwrap());
        there.open("h", Incarnation::new(1), 0, now);
        there.mutate("h", now, &key, &Mutation::assign([("old".into(), Bytes::new())])).unwrap();
        let holds = (there.key(&key).cloned().unwrap(), there.standing("h", now).unwrap());

        let mut here = Partition::new("us".parse().unwrap());
        here.open("h", Incarnation::new(2), 0, now);
        let mut standing = here.standing("h", now).unwrap();
        standing.applied = Vector::from([(holds.1.origin.clone(), holds.1.last)]);
        let forgot = (KeyState::default(), standing);
        let mut unaware = forgot.clone();
        unaware.1.applied.clear();

        let read = Read { key: key.clone(), query: Query::Count };
        let count = |regions: &[(KeyState, Standing)]| Merge::of(&key, regions).unwrap().answer(&read).unwrap();
        for regions in [[holds.clone(), forgot.clone()], [forgot, holds.clone()]] {
            assert_eq!(count(&regions), Reply::Int(0));
        }
        assert_eq!(count(&[unaware, holds]), Reply::Int(1), "it has not seen it yet");
    }
}
