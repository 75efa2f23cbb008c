//! Random writes of streams: few ids of the caller's own, so that they meet, and all ways of trimming.

use archipelago::engine::{Append, EntryId, Keep, Mutation, Outcome, Version};
use archipelago_tests::random::Rng;
use bytes::Bytes;

const IDS: [EntryId; 6] = [
    EntryId::ZERO,
    EntryId { millis: 0, sequence: 1 },
    EntryId { millis: 1_500_000_000_000, sequence: u64::MAX },
    EntryId { millis: 1_500_000_000_001, sequence: 0 },
    // A minute ahead of no clock, but of any entry; and where doubles end.
    EntryId { millis: 9_007_199_254_740_990, sequence: 3 },
    EntryId { millis: u64::MAX, sequence: u64::MAX },
];

fn keep(rng: &mut Rng) -> Keep {
    match rng.below(4) {
        0 => Keep::From(*rng.pick(&IDS[..4])),
        1 => Keep::Lately(*rng.pick(&[60_000, u64::MAX])),
        _ => Keep::Newest(rng.below(6) as u64),
    }
}

/// A random write.
pub fn write(rng: &mut Rng) -> Mutation {
    match rng.below(10) {
        0 => Mutation::Evict(keep(rng)),
        1 => Mutation::Remove { members: vec![rng.pick(&IDS).to_bytes(), rng.pick(&IDS).to_bytes()] },
        n => {
            let id = match n {
                2 | 3 => Some(*rng.pick(&IDS[..4])),
                4 if rng.one_in(4) => Some(*rng.pick(&IDS)),
                _ => None,
            };
            let payload = Bytes::from_static(rng.pick::<&[u8]>(&[b"", b"\0\xff", b"12"]));
            let keep = if rng.one_in(3) { Some(keep(rng)) } else { None };
            Mutation::Append(Append { id, payload, existing: rng.one_in(5), keep })
        }
    }
}

/// What the engine is told, whose clock is the id of the log entry: that may be ahead of the clock by which Redis gave an
/// id.
pub fn as_given(mutation: &Mutation, outcome: Option<&Outcome>, now: Version) -> Mutation {
    match (mutation, outcome) {
        (Mutation::Append(append), Some(Outcome::Appended(Some(given))))
            if append.id.is_none() && given.millis < now.as_millis() =>
        {
            Mutation::Append(Append { id: Some(*given), ..append.clone() })
        }
        _ => mutation.clone(),
    }
}
