//! Why a node stands where it does in a plan, in plain words.

use std::{fmt, time::Duration};

use super::{NodeState, Role};

/// Why a node is kept where it is, or skipped.
///
/// One byte, so that plans stay small; the numbers behind it are looked up by [`Plan::explain`](super::Plan::explain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Kept: the primary of the active region.
    PrimaryOfActive,
    /// Kept: the primary of the request's home region.
    PrimaryOfHome,
    /// Kept: the primary of the region that owns the key.
    PrimaryOfOwner,
    /// Kept: the primary of the region that the configuration pins.
    PrimaryOfPinned,
    /// Kept: a replica of the region whose data is asked for.
    Replica,
    /// Kept: a node in this client's own region with the data that is asked for.
    LocalReplica,
    /// Kept: alone within the latency window.
    Nearest,
    /// Kept: of two drawn within the latency window, the one with fewer calls in flight; of equals, the first.
    LessBusy,
    /// Kept: holds the data that is asked for, and is not the nearest.
    NextNearest,
    /// Kept: the primary of the key's next region, for a cache whose owner fails.
    NextOwner,
    /// Kept: the primary, asked when a replica cannot give a good answer.
    FallbackToPrimary,
    /// Kept: the primary of another region, which may not have the data. Only tried when all else failed.
    LastResort,
    /// Kept: half-open, so tried after healthy nodes with the data.
    HalfOpen,
    /// Kept: down, but no other node is left to try.
    DownButLeft,

    /// Skipped: down; its region is not.
    NodeDown,
    /// Skipped: down, like every node of its region.
    RegionDown,
    /// Skipped: a replica in full sync.
    Syncing,
    /// Skipped: a replica further behind than allowed.
    TooStale,
    /// Skipped: a replica of which nobody knows how far it is behind, when there is a bound.
    StalenessUnknown,
    /// Skipped: another region's data, of which nobody knows how far it is behind, when there is a bound.
    OtherRegionForBound,
    /// Skipped: another region's data, which are not what the session has seen.
    OtherRegionForSession,
    /// Skipped: a replica of another region.
    OtherRegion,
    /// Skipped: a write, and the primary of a region that is not the writer.
    NotTheWriter,
    /// Skipped: a write, and a replica.
    ReplicaTakesNoWrites,
    /// Skipped: only the primary has what the session wrote.
    NotThePrimary,
    /// Skipped: stands outside the residency, or holds the data of a region outside it.
    OutsideResidency,
    /// No step at all: the region that was chosen has no known primary.
    NoPrimary,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PrimaryOfActive => "primary of the active region",
            Self::PrimaryOfHome => "primary of the home region",
            Self::PrimaryOfOwner => "primary of the region that owns the key",
            Self::PrimaryOfPinned => "primary of the pinned region",
            Self::Replica => "replica of the region asked for",
            Self::LocalReplica => "replica next to you",
            Self::Nearest => "nearest node with the data",
            Self::LessBusy => "near, and taken of two drawn",
            Self::NextNearest => "next nearest node with the data",
            Self::NextOwner => "primary of the key's next region",
            Self::FallbackToPrimary => "primary, the fallback for replicas",
            Self::LastResort => "another region's primary: last resort, may lack the data",
            Self::HalfOpen => "half-open: after healthy nodes with the data",
            Self::DownButLeft => "down, but nothing else is left",
            Self::NodeDown => "node is down",
            Self::RegionDown => "region is down",
            Self::Syncing => "replica is in full sync",
            Self::TooStale => "replica is too far behind",
            Self::StalenessUnknown => "nobody knows how far the replica is behind",
            Self::OtherRegionForBound => "another region's data: nobody knows how far it is behind",
            Self::OtherRegionForSession => "another region's data: not what the session has seen",
            Self::OtherRegion => "holds another region's data",
            Self::NotTheWriter => "not the writer region",
            Self::ReplicaTakesNoWrites => "a replica takes no writes",
            Self::NotThePrimary => "only the primary will do",
            Self::OutsideResidency => "outside the residency",
            Self::NoPrimary => "the region has no known primary",
        })
    }
}

impl Reason {
    /// The reason with the numbers behind it.
    pub(super) fn with_numbers(self, role: Role, state: &NodeState, bound: Option<Duration>) -> String {
        match (self, state.staleness, bound) {
            (Self::TooStale, Some(behind), Some(bound)) => {
                format!("replica is {} behind, at most {} allowed", Human(behind), Human(bound))
            }
            (Self::StalenessUnknown | Self::OtherRegionForBound, _, Some(bound)) => {
                format!("{self}, at most {} allowed", Human(bound))
            }
            (Self::LessBusy, ..) => format!("{self}: {} in flight", state.in_flight),
            (Self::LocalReplica, ..) if role == Role::Primary => "primary next to you".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// A duration as people write it: `3.2 s`, `80 ms`.
pub(super) struct Human(pub(super) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        let text = if self.0 < Duration::from_secs(1) {
            format!("{} ms", round(self.0.as_secs_f64() * 1000.0))
        } else {
            format!("{} s", round(self.0.as_secs_f64()))
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let human = |micros| Human(Duration::from_micros(micros)).to_string();
        assert_eq!([0, 1_500, 80_000].map(human), ["0 ms", "1.5 ms", "80 ms"]);
        assert_eq!([1_000_000, 1_040_000, 3_200_000].map(human), ["1 s", "1.04 s", "3.2 s"]);
    }

    #[test]
    fn a_reason_is_one_byte() {
        assert_eq!(size_of::<Reason>(), 1);
    }
}
