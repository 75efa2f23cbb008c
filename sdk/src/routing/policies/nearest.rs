//! Reads where they are fastest, without a crowd at the very fastest.

use std::time::Duration;

use smallvec::SmallVec;

use super::{Access, Candidate, Candidates, Choice, FIRST, NEXT, Plan, Rank, Reason, Request, choice, plan_for};
use crate::routing::{Availability, MAX_NODES, NodeIndex, Policy, config::defaults, plan::unmet};

/// Reads at a near node that holds the active region's data, primary or replica; writes at its primary.
///
/// Healthy nodes within a window over the lowest latency count as equally near. Two of them are drawn, and the one with
/// fewer calls in flight is taken: always taking the very nearest would overload it, and a pure draw would ignore load
/// (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001; the window is that of MongoDB's
/// server selection). A node whose latency was never measured is as far as its region's location says; with no location
/// it is farther than all others. The rest follows by distance, and the other regions' primaries as a last resort.
///
/// Other regions' *data* is not near, however near the node: this is about where a region's data is read, not which.
#[derive(Clone, Copy, Debug)]
pub struct Nearest {
    window_micros: u32,
}

impl Nearest {
    /// Reads at near nodes, within the default window of 15 ms.
    #[must_use]
    pub fn new() -> Self {
        Self { window_micros: 0 }.with_window(defaults::LATENCY_WINDOW)
    }

    /// The same policy with another window. Zero takes the nearest always; a wide one spreads reads more evenly and
    /// makes them slower.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window_micros = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        self
    }

    /// The node to read at, and why.
    fn pick(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Option<(NodeIndex, Reason)> {
        let region = candidates.active();
        let is_able = |candidate: &Candidate<'_>| {
            candidate.node.region == region
                && candidate.state.availability == Availability::Up
                && unmet(request, region, *candidate).is_none()
        };
        // Once over all nodes: distances are what costs.
        let able = candidates.iter().filter(is_able).map(|candidate| (candidates.distance(candidate), candidate));
        let mut near: SmallVec<[_; MAX_NODES]> = able.collect();
        let limit = near.iter().map(|(distance, _)| *distance).min()?.saturating_add(self.window_micros);
        near.retain(|(distance, _)| *distance <= limit);
        let (first, second) = draw_two(near.len(), request.random);
        let (_, one) = near.get(first)?;
        let Some((_, other)) = second.and_then(|second| near.get(second)) else {
            return Some((one.index, Reason::Nearest));
        };
        let is_less_busy = other.state.in_flight < one.state.in_flight;
        Some((if is_less_busy { other.index } else { one.index }, Reason::LessBusy))
    }
}

impl Default for Nearest {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Nearest {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let region = candidates.active();
        if request.access == Access::Write || request.needs_primary {
            return plan_for(request, candidates, region, Reason::PrimaryOfActive);
        }
        let pick = self.pick(request, candidates);
        Plan::rank(request, candidates, region, |candidate| match pick {
            Some((node, reason)) if node == candidate.index => Choice::Keep(Rank::new(FIRST, 0), reason),
            Some(_) | None if candidate.node.region == region => {
                Choice::Keep(Rank::new(NEXT, candidates.distance(candidate)), Reason::NextNearest)
            }
            Some(_) | None => choice(request, candidates, region, Reason::PrimaryOfActive, candidate),
        })
    }
}

/// Two different numbers below `count`, or as many as there are.
fn draw_two(count: usize, random: u64) -> (usize, Option<usize>) {
    let below = |bits: u64, bound: usize| bits.checked_rem(bound as u64).map_or(0, |number| number as usize);
    let first = below(random >> 32, count);
    // Of the others, so counted without the first.
    let second = below(random & u64::from(u32::MAX), count.saturating_sub(1));
    (first, (count > 1).then_some(if second >= first { second + 1 } else { second }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_drawn_alike_and_none_twice_the_same() {
        for count in [2_usize, 3, 5] {
            let mut seen = std::collections::BTreeMap::new();
            for high in 0..60_u64 {
                for low in 0..60_u64 {
                    let (first, second) = draw_two(count, high << 32 | low);
                    assert!(first < count && second.is_some_and(|second| second < count && second != first));
                    *seen.entry((first, second)).or_insert(0) += 1;
                }
            }
            assert_eq!(seen.len(), count * (count - 1));
            assert!(seen.values().all(|times| *times == 3600 / seen.len()), "{seen:?}");
        }
        assert_eq!((draw_two(1, u64::MAX), draw_two(0, u64::MAX)), ((0, None), (0, None)));
    }
}
