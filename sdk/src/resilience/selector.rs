//! Which region takes the writes.

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, fmt, time::Duration};

use serde::Serialize;

use super::{Moment, SelectorOptions};

/// What is known about a region when [`Selector::observe`] is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionHealth {
    /// Whether it can take writes now.
    pub is_healthy: bool,
    /// How long it takes to answer.
    pub latency: Duration,
    /// How much it is preferred; the highest wins. Not a share of the traffic.
    pub weight: u32,
}

/// The active region changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The region before; none at the start.
    pub from: Option<usize>,
    /// The region now.
    pub to: usize,
    /// Why.
    pub reason: Reason,
}

/// Why the active region changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The first healthy region was found.
    Startup,
    /// The one before became unhealthy.
    Unhealthy,
    /// A preferred one has been healthy for long enough.
    Failback,
    /// By [`Selector::switch_to`].
    Manual,
    /// By [`Selector::force`].
    Forced,
    /// By [`Selector::release`].
    Released,
    /// The time of [`Selector::force`] is over.
    ForceExpired,
}

/// Why a region cannot be switched to by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such region.
    #[error("there is no region number {0}")]
    Unknown(usize),
    /// It cannot take writes now. [`Selector::force`] does not ask.
    #[error("the region is unhealthy; force it if you know better")]
    Unhealthy,
    /// Another choice is being forced. [`Selector::release`] ends that.
    #[error("region number {0} is forced; release it first")]
    Forced(usize),
}

/// Chooses the active region: the one that takes the writes.
///
/// Regions are numbered as in the slice that [`Selector::observe`] gets. Among healthy regions the highest weight wins,
/// then the lowest latency; a region that is active stays so unless
///
/// - it is unhealthy: it is left at once, and kept out of rotation for the *grace* if any other region is healthy;
/// - a region of higher weight has been healthy for a number of checks and a time, is out of its grace, and the last
///   change is longer ago than the *cooldown*: *failback*. Lower latency alone moves nothing.
///
/// When no region is healthy the active one stays, and [`Selector::next_try`] says when to look again: it never gives up.
/// One healthy region is enough to start.
///
/// By hand: [`Selector::switch_to`] makes a healthy region the preferred one until it is released. While it is unhealthy
/// another takes over, and it is returned to by the rules of failback. [`Selector::force`] makes any region active for a
/// time, whatever its health.
///
/// Not promised: that two clients choose the same region at the same moment. What may write is decided by the topology's
/// epoch, not here.
///
/// Not for the hot path: publish [`Selector::active`] after each [`Switch`].
pub struct Selector {
    options: SelectorOptions,
    regions: Vec<Region>,
    active: Option<usize>,
    pinned: Option<usize>,
    forced: Option<Forced>,
    changed_at: Moment,
    observed_at: Moment,
}

#[derive(Clone, Copy)]
struct Forced {
    region: usize,
    until: Moment,
}

#[derive(Clone, Copy, Default)]
struct Region {
    health: RegionHealth,
    healthy_checks: u32,
    healthy_since: Moment,
    grace_until: Moment,
}

impl Selector {
    /// A selector for so many regions; none is active before the first observation.
    #[must_use]
    pub fn new(options: &SelectorOptions, regions: usize) -> Self {
        Self {
            options: options.clone(),
            regions: vec![Region::default(); regions],
            active: None,
            pinned: None,
            forced: None,
            changed_at: Moment::START,
            observed_at: Moment::START,
        }
    }

    /// Takes in a round of health checks, and changes the active region if that is due.
    ///
    /// Call it after each round, and when a breaker opens; at least once a second. A region for which the slice has no
    /// entry is unhealthy.
    pub fn observe(&mut self, now: Moment, health: &[RegionHealth]) -> Option<Switch> {
        self.observed_at = now;
        let health = health.iter().copied().chain(std::iter::repeat(RegionHealth::default()));
        for (region, health) in self.regions.iter_mut().zip(health) {
            region.observe(now, health);
        }
        if let Some(forced) = self.forced {
            if now < forced.until {
                return None;
            }
            self.forced = None;
            return self.settle(now, Reason::ForceExpired);
        }
        let Some(active) = self.active else {
            let first = self.best(now)?;
            return Some(self.change(now, first, Reason::Startup));
        };
        if self.is_healthy(active) {
            let preferred = self.failback(now, active)?;
            return Some(self.change(now, preferred, Reason::Failback));
        }
        let other = self.best(now)?;
        Some(self.change(now, other, Reason::Unhealthy))
    }

    /// Prefers a region until [`Selector::release`], and makes it active now, in spite of its grace.
    ///
    /// # Errors
    /// [`Refusal`] when the region is unknown or unhealthy, or another one is forced.
    pub fn switch_to(&mut self, now: Moment, region: usize) -> Result<Option<Switch>, Refusal> {
        let is_healthy = self.regions.get(region).ok_or(Refusal::Unknown(region))?.health.is_healthy;
        if let Some(forced) = self.forced {
            return Err(Refusal::Forced(forced.region));
        }
        if !is_healthy {
            return Err(Refusal::Unhealthy);
        }
        self.pinned = Some(region);
        Ok(self.change_unless_active(now, region, Reason::Manual))
    }

    /// Makes a region active for a time, whatever its health. Puts nobody in grace; a preference stays for afterwards.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn force(&mut self, now: Moment, region: usize, duration: Duration) -> Result<Option<Switch>, Refusal> {
        if region >= self.regions.len() {
            return Err(Refusal::Unknown(region));
        }
        self.forced = Some(Forced { region, until: now.after(duration) });
        Ok(self.change_unless_active(now, region, Reason::Forced))
    }

    /// Ends what was chosen by hand. Goes to the best region at once, without waiting for a cooldown.
    pub fn release(&mut self, now: Moment) -> Option<Switch> {
        let was_held = self.pinned.take().is_some() | self.forced.take().is_some();
        if was_held { self.settle(now, Reason::Released) } else { None }
    }

    /// The active region; none before a first one was found healthy.
    #[must_use]
    pub const fn active(&self) -> Option<usize> {
        self.active
    }

    /// When to look again, if no region is healthy; none if one is.
    #[must_use]
    pub fn next_try(&self) -> Option<Moment> {
        let is_any_healthy = self.regions.iter().any(|region| region.health.is_healthy);
        (!is_any_healthy).then(|| self.observed_at.after(self.options.retry))
    }

    /// Goes where it would be without what has just ended, if anywhere is better than here.
    fn settle(&mut self, now: Moment, reason: Reason) -> Option<Switch> {
        let best = self.best(now)?;
        let is_better = |active: usize| !self.is_healthy(active) || self.rank(best) > self.rank(active);
        if self.active.is_none_or(is_better) { self.change_unless_active(now, best, reason) } else { None }
    }

    /// The healthy region to go to if the active one did not count. In its grace only when there is no other.
    fn best(&self, now: Moment) -> Option<usize> {
        let healthy = self.regions.iter().enumerate().filter(|(_, region)| region.health.is_healthy);
        let best = healthy.max_by_key(|(index, region)| {
            let is_ready = region.grace_until <= now;
            (is_ready, self.rank(*index), Reverse(region.health.latency), Reverse(*index))
        });
        best.map(|(index, _)| index)
    }

    /// The region to return to from a healthy one.
    fn failback(&self, now: Moment, active: usize) -> Option<usize> {
        if now.since(self.changed_at) < self.options.cooldown {
            return None;
        }
        let ready = self.regions.iter().enumerate().filter(|(index, region)| {
            self.rank(*index) > self.rank(active)
                && region.grace_until <= now
                && region.healthy_checks >= self.options.failback_checks
                && now.since(region.healthy_since) >= self.options.failback_healthy
        });
        let best = ready.max_by_key(|(index, region)| (self.rank(*index), Reverse(region.health.latency)));
        best.map(|(index, _)| index)
    }

    /// What a region is preferred by: a choice by hand, then its weight.
    fn rank(&self, region: usize) -> (bool, u32) {
        let weight = self.regions.get(region).map_or(0, |region| region.health.weight);
        (self.pinned == Some(region), weight)
    }

    fn is_healthy(&self, region: usize) -> bool {
        self.regions.get(region).is_some_and(|region| region.health.is_healthy)
    }

    fn change_unless_active(&mut self, now: Moment, to: usize, reason: Reason) -> Option<Switch> {
        (self.active != Some(to)).then(|| self.change(now, to, reason))
    }

    fn change(&mut self, now: Moment, to: usize, reason: Reason) -> Switch {
        let from = self.active.replace(to);
        self.changed_at = now;
        // Only who failed is kept out: a region left by hand may be wanted again in a minute.
        if reason == Reason::Unhealthy
            && let Some(left) = from.and_then(|from| self.regions.get_mut(from))
        {
            left.grace_until = now.after(self.options.grace);
        }
        Switch { from, to, reason }
    }
}

impl Region {
    fn observe(&mut self, now: Moment, health: RegionHealth) {
        if !health.is_healthy {
            self.healthy_checks = 0;
        } else if self.healthy_checks == 0 {
            self.healthy_since = now;
        }
        self.healthy_checks = self.healthy_checks.saturating_add(u32::from(health.is_healthy));
        self.health = health;
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("active", &self.active)
            .field("pinned", &self.pinned)
            .field("forced", &self.forced.map(|forced| forced.region))
            .finish_non_exhaustive()
    }
}
