//! HyperLogLogs: how many distinct elements were seen, within 0.81 %, in at most 12 KiB.
//!
//! The registers are those of Redis, hash and bytes included, so that a view is read by plain PFCOUNT and an embedded
//! region answers the same count. The estimator is that of Redis since version 4: Otmar Ertl, "New cardinality
//! estimation algorithms for HyperLogLog sketches", 2017, equation 25 and algorithm 6.

mod bytes;
mod estimate;
mod hash;
mod payload;

pub use self::payload::Payload;

/// How many registers there are: 2^14.
const REGISTERS: usize = 1 << 14;

/// The registers of a HyperLogLog: for each, the longest run of zeros met in a hash, plus one.
///
/// A union takes the larger of each, so it is commutative, associative and idempotent.
///
/// ```
/// use archipelago_engine::Registers;
///
/// let mut seen = Registers::default();
/// assert!(seen.observe(b"ada"));
/// assert!(!seen.observe(b"ada"));
/// seen.observe(b"bob");
/// assert_eq!(seen.count(), 2);
/// assert_eq!(Registers::decode(&seen.encode()), Some(seen));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Registers(Vec<u8>);

impl Default for Registers {
    fn default() -> Self {
        Self(vec![0; REGISTERS])
    }
}

impl std::fmt::Debug for Registers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = self.0.iter().filter(|value| **value > 0).count();
        write!(f, "Registers({set} set, about {})", self.count())
    }
}

impl Registers {
    /// Notes an element; says whether a register changed.
    pub fn observe(&mut self, element: &[u8]) -> bool {
        let (index, value) = hash::register_of(element);
        self.0.get_mut(index).is_some_and(|register| raise(register, value))
    }

    /// Takes the larger of each register; says whether one changed.
    pub fn union(&mut self, other: &Self) -> bool {
        let pairs = self.0.iter_mut().zip(&other.0);
        pairs.fold(false, |changed, (ours, theirs)| raise(ours, *theirs) || changed)
    }

    /// About how many distinct elements were noted: the number PFCOUNT answers for the same registers.
    #[must_use]
    pub fn count(&self) -> u64 {
        estimate::cardinality(&self.0)
    }

    /// Redis's bytes of them: sparse while that is short, then dense.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bytes::encode(&self.0)
    }

    /// Whether [`Registers::decode`] reads these bytes.
    fn can_decode(bytes: &[u8]) -> bool {
        bytes::is_well_formed(bytes)
    }

    /// Reads Redis's bytes, sparse or dense; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes::decode(bytes).map(Self)
    }
}

fn raise(register: &mut u8, value: u8) -> bool {
    let is_higher = value > *register;
    if is_higher {
        *register = value;
    }
    is_higher
}
