//! Random claims: of what is there, of what was, and of what never was.

use archipelago::engine::{Field, Key, Kind, Mutation};
use archipelago_tests::random::Rng;
use bytes::Bytes;

use crate::pair::Pair;

/// Now and then a claim, where the type has elements.
pub fn random(rng: &mut Rng, at: &Pair, key: &Key) -> Option<Mutation> {
    if !matches!(key.kind, Kind::List | Kind::Stream) || !rng.one_in(6) {
        return None;
    }
    let fields = at.partition.key(key).into_iter().flat_map(|state| state.fields.keys());
    let member = |field: &Field| match field {
        Field::Member(member) => Some(member.clone()),
        Field::Expiry => None,
    };
    let mut known: Vec<Bytes> = fields.filter_map(member).collect();
    known.push(Bytes::from_static(b"\0 never"));
    let candidates = (0..rng.below(5)).map(|_| rng.pick(&known).clone()).collect();
    Some(Mutation::Claim { candidates })
}
