//! Skew between the regions' clocks: measured, reported, never a reason to stop.

use std::{collections::BTreeMap, time::Duration};

use archipelago_engine::RegionId;

/// Two clocks that are further apart than the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkewReport {
    /// The region whose clock is ahead.
    pub ahead: RegionId,
    /// The region whose clock is behind.
    pub behind: RegionId,
    /// By how much.
    pub by: Duration,
}

/// The pairs of clocks further apart than `limit`. Clocks are readings taken at one moment, in microseconds.
///
/// ```
/// use std::{collections::BTreeMap, time::Duration};
/// let clocks = BTreeMap::from([("a".parse()?, 100_000_000), ("b".parse()?, 60_000_000), ("c".parse()?, 30_000_000)]);
/// let report = archipelago::skew(&clocks, Duration::from_secs(60));
/// assert_eq!(report.len(), 1);
/// assert_eq!((report[0].ahead.as_str(), report[0].behind.as_str()), ("a", "c"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn skew(clocks: &BTreeMap<RegionId, u64>, limit: Duration) -> Vec<SkewReport> {
    let pairs = clocks.iter().flat_map(|ahead| clocks.iter().map(move |behind| (ahead, behind)));
    pairs
        .filter_map(|((ahead, fast), (behind, slow))| {
            let by = Duration::from_micros(fast.checked_sub(*slow)?);
            (by > limit).then(|| SkewReport { ahead: ahead.clone(), behind: behind.clone(), by })
        })
        .collect()
}
