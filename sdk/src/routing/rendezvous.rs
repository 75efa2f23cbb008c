//! Weighted rendezvous hashing: which of some named members owns a key, agreed on by everyone without a word exchanged.
//!
//! Each member gets a score for the key, and the highest wins. When a member joins it wins only the keys it will own,
//! and no key moves between the others; when its weight changes, keys move to it or from it only. That is the least
//! movement there can be: a modulo moves nearly all keys, a ring needs many points for each member to be fair.
//!
//! The score is fixed for good, so that other languages and later versions agree:
//!
//! ```text
//! k     = XXH3_64bits(key)                         seed 0
//! h     = XXH3_64bits_withSeed(member's name, k)
//! u     = ((h >> 12) + 0.5) / 2^52                 above 0 and below 1, exact in a double
//! score = -weight / ln(u)                          equal scores: greater h, then the lesser name
//! ```
//!
//! A member of weight zero ranks behind all others. Sources: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to
//! Increase Hit Rates", 1998; J. Resch, "New Hashing Algorithms for Data Storage", 2015, for the weights.
//!
//! ```
//! use archipelago::routing::rendezvous;
//!
//! let regions = [("us-east-1", 1), ("eu-west-1", 1), ("ap-south-1", 1)];
//! assert_eq!(rendezvous::owner(b"user:3", regions), Some("eu-west-1"));
//! // Taking another region out does not move the key.
//! assert_eq!(rendezvous::owner(b"user:3", [("us-east-1", 1), ("eu-west-1", 1)]), Some("eu-west-1"));
//! assert_eq!(rendezvous::owner(b"user:3", []), None);
//! ```

use std::cmp::Ordering;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The member that owns a key, of names and weights; `None` without members. Works for user ids as for keys.
///
/// Hash tags are not looked for; see [`hash_tag`]. The same name listed twice counts once, with its greater weight.
#[must_use]
pub fn owner<'m>(key: &[u8], members: impl IntoIterator<Item = (&'m str, u32)>) -> Option<&'m str> {
    let key = KeyHash::of(key);
    members.into_iter().map(|(name, weight)| key.score(name, weight)).max().map(|score| score.name)
}

/// The part of a key that is hashed, as in Redis Cluster: what stands between the first `{` and the next `}` if that is
/// not empty, else the whole key. Keys of one tag have one owner.
///
/// ```
/// use archipelago::routing::rendezvous::hash_tag;
///
/// assert_eq!(hash_tag(b"cart:{user:1}:items"), b"user:1");
/// assert_eq!(hash_tag(b"cart:{}:{user:1}"), b"cart:{}:{user:1}");
/// assert_eq!(hash_tag(b"cart:{user"), b"cart:{user");
/// ```
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let after_brace = key.iter().position(|byte| *byte == b'{').and_then(|open| key.get(open + 1..));
    let tag = after_brace.and_then(|rest| rest.get(..rest.iter().position(|byte| *byte == b'}')?));
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// A key, hashed once for all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// A member's score for this key.
    #[must_use]
    pub fn score(self, name: &str, weight: u32) -> Score<'_> {
        let hash = xxh3_64_with_seed(name.as_bytes(), self.0);
        Score { weight, hash, name }
    }
}

/// A member's score for a key: the greatest owns it. Two members with two names are never equal.
#[derive(Clone, Copy, Debug)]
pub struct Score<'m> {
    weight: u32,
    hash: u64,
    name: &'m str,
}

impl<'m> Score<'m> {
    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &'m str {
        self.name
    }

    /// By value, then hash, then name, the lesser being greater: how members are listed does not matter.
    fn compare(&self, other: &Self) -> Ordering {
        // Of one weight the greater hash has the greater value: hashes lie so far apart that a logarithm within one
        // unit of its last place keeps their order. So equal weights, the usual case, need no logarithm at all.
        let by_value = match self.weight == other.weight {
            true => Ordering::Equal,
            false => value_of(self.hash, self.weight).total_cmp(&value_of(other.hash, other.weight)),
        };
        by_value.then(self.hash.cmp(&other.hash)).then_with(|| other.name.cmp(self.name))
    }
}

impl PartialEq for Score<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl Eq for Score<'_> {}

impl PartialOrd for Score<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

/// The score of a hash.
fn value_of(hash: u64, weight: u32) -> f64 {
    // 52 bits, not 53: one more, and the greatest would round to 1, whose logarithm is 0.
    #[allow(clippy::cast_precision_loss, reason = "52 bits fit a double")]
    let unit = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    // The platform's logarithm may differ in the last bit from another platform's, and with it a key's owner.
    -f64::from(weight) / libm::log(unit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // As the reference library gives it for the empty input and for "abc".
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(xxh3_64(b"abc"), 0x78af_5f94_892f_3950);
    }

    #[test]
    fn owners_never_change_between_versions() {
        let regions = [(US, 1), (EU, 2), (AP, 3)];
        let owners: Vec<_> = (0..8).map(|i| owner(format!("user:{i}").as_bytes(), regions).unwrap()).collect();
        assert_eq!(owners, GOLDEN);
        let score = KeyHash::of(b"user:1").score(US, 1);
        assert_eq!((score.hash, value_of(score.hash, score.weight).to_bits()), GOLDEN_SCORE);
    }

    // Computed by another implementation: the documented formula in Python over the reference XXH3 library.
    const GOLDEN: [&str; 8] = [AP, AP, AP, EU, US, EU, US, EU];
    const GOLDEN_SCORE: (u64, u64) = (0x0455_f751_bc82_672c, 0x3fcf_62c7_77aa_a1a3);
    const US: &str = "us-east-1";
    const EU: &str = "eu-west-1";
    const AP: &str = "ap-south-1";

    #[test]
    fn extreme_hashes_have_finite_scores() {
        for hash in [0, 1, u64::MAX, u64::MAX - 1] {
            for weight in [0, 1, u32::MAX] {
                let value = value_of(hash, weight);
                assert!(value.is_finite() && value >= 0.0, "{hash} {weight}: {value}");
            }
        }
    }

    proptest! {
        #[test]
        fn of_one_weight_the_greater_hash_has_the_greater_value(hash in any::<u64>(), weight in 1_u32..) {
            // Neighbours are the hardest case: hashes below 2^12 apart may share a value.
            let next = hash.saturating_add(1 << 12);
            prop_assert!(value_of(hash, weight) <= value_of(next, weight));
        }
    }

    #[test]
    fn no_weight_owns_nothing_while_others_have_some() {
        for i in 0..1000_u32 {
            assert_eq!(owner(&i.to_be_bytes(), [("a", 0), ("b", 1), ("c", 0)]), Some("b"));
        }
        assert!(owner(b"k", [("a", 0), ("c", 0)]).is_some());
    }

    /// How many of 20,000 keys each member owns.
    fn shares(members: &[(&str, u32)]) -> Vec<f64> {
        let mut counts = vec![0.0; members.len()];
        for i in 0..20_000_u32 {
            let name = owner(&i.to_be_bytes(), members.iter().copied()).unwrap();
            counts[members.iter().position(|(known, _)| *known == name).unwrap()] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn shares_follow_weights() {
        let shares = shares(&[("us", 1), ("eu", 2), ("ap", 5)]);
        for (share, expected) in shares.iter().zip([0.125, 0.25, 0.625]) {
            // Five standard deviations of 20,000 draws; the keys are fixed, so this does not vary between runs.
            assert!((share - expected).abs() < 0.018, "{shares:?}");
        }
    }

    proptest! {
        #[test]
        fn a_new_region_takes_its_share_and_moves_nothing_else(
            weights in prop::collection::vec(1_u32..100, 1..8),
            added in 1_u32..100,
            salt in any::<u64>(),
        ) {
            let names: Vec<String> = (0..weights.len()).map(|i| format!("region-{i}")).collect();
            let before: Vec<_> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
            let after: Vec<_> = before.iter().copied().chain([("new", added)]).collect();
            let keys = 4_000_u64;
            let mut moved = 0.0;
            for i in 0..keys {
                let key = (salt.wrapping_add(i)).to_be_bytes();
                let (old, new) = (owner(&key, before.iter().copied()), owner(&key, after.iter().copied()));
                if old != new {
                    prop_assert_eq!(new, Some("new"), "a key moved between the others");
                    moved += 1.0 / 4_000.0;
                }
            }
            let expected = f64::from(added) / f64::from(weights.iter().sum::<u32>() + added);
            // Six standard deviations.
            let slack = 6.0 * (expected * (1.0 - expected) / 4_000.0).sqrt();
            prop_assert!((moved - expected).abs() < slack, "moved {moved}, expected {expected} +- {slack}");
        }

        #[test]
        fn more_weight_only_attracts(weights in prop::collection::vec(0_u32..9, 2..6), key in any::<[u8; 8]>()) {
            let names: Vec<String> = (0..weights.len()).map(|i| format!("region-{i}")).collect();
            let members = |first: u32| {
                let weights = std::iter::once(first).chain(weights.iter().skip(1).copied());
                names.iter().map(String::as_str).zip(weights).collect::<Vec<_>>()
            };
            let (old, new) = (owner(&key, members(weights[0])), owner(&key, members(weights[0] + 3)));
            prop_assert!(old == new || new == Some("region-0"), "{old:?} {new:?}");
        }

        #[test]
        fn the_order_of_members_does_not_matter(key in any::<Vec<u8>>()) {
            let members = [("a", 1), ("b", 0), ("c", 7), ("d", 1)];
            prop_assert_eq!(owner(&key, members), owner(&key, members.into_iter().rev()));
        }

        #[test]
        fn a_hash_tag_is_part_of_its_key(key in any::<Vec<u8>>()) {
            prop_assert!(hash_tag(&key).len() <= key.len());
        }
    }
}
