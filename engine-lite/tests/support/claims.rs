//! Claims in the model: the first candidate that is visible, and what was assigned of it.

use archipelago_engine::{Claim, Field, Key, Kind, Mutation, Outcome, Partition};
use bytes::Bytes;

use super::{
    Rng,
    write::{Shadow, b},
};

/// A claim of some elements, of which the region may have removed some, with one among them that never was; now and
/// then.
pub fn random_claim(rng: &mut Rng, partition: &Partition, key: &Key) -> Option<Mutation> {
    if !matches!(key.kind, Kind::List | Kind::Stream) || !rng.one_in(6) {
        return None;
    }
    let fields = partition.key(key).into_iter().flat_map(|state| state.fields.keys());
    let member = |field: &Field| match field {
        Field::Member(member) => Some(member.clone()),
        Field::Expiry => None,
    };
    let mut known: Vec<Bytes> = fields.filter_map(member).collect();
    known.push(b("nothing of this name"));
    let candidates = (0..=rng.below(3)).map(|_| rng.pick(&known).clone()).collect();
    Some(Mutation::Claim { candidates })
}

impl Shadow<'_> {
    pub(super) fn claim(&mut self, candidates: &[Bytes], over: bool) -> Outcome {
        if over {
            self.clear();
            return Outcome::Claimed(None);
        }
        let elements = self.elements();
        let visible = |candidate: &Bytes| elements.iter().find(|(field, _)| *field == Field::Member(candidate.clone()));
        let Some(taken) = candidates.iter().find_map(visible) else { return Outcome::Claimed(None) };
        let Field::Member(member) = &taken.0 else { unreachable!() };
        let field = self.partition.key(self.key).and_then(|state| state.fields.get(&taken.0));
        let over = field.into_iter().flat_map(|field| field.cells.iter()).map(|(origin, cell)| {
            let assigned = cell.assign.as_ref().map_or(cell.retracted, |assign| assign.version);
            (origin.clone(), assigned.max(cell.retracted))
        });
        let retracted = over.filter(|(_, version)| !version.is_zero()).collect();
        self.take(std::slice::from_ref(taken));
        Outcome::Claimed(Some(Claim { member: member.clone(), value: taken.1.clone(), retracted }))
    }
}
