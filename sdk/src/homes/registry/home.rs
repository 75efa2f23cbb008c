//! Where a user lives, as a process knows it, and how it knows.

use std::fmt;

use archipelago_engine::RegionId;

use crate::{
    error::Error,
    homes::{HomeDecision, HomeStep, assignment::Assignment},
};

/// Where a user lives, and how this process knows. Its [`Display`](fmt::Display) tells everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    region: RegionId,
    moving_to: Option<RegionId>,
    reason: HomeReason,
    /// What led to it, in words.
    details: Option<String>,
}

/// How a process knows where a user lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomeReason {
    /// Decided just now, by this step, and written down at the owner region: it stays.
    Assigned(HomeStep),
    /// Read just now from the record at the owner region.
    Recorded,
    /// Read before. The record may have changed since, as long ago as
    /// [`Homes::FRESH`](super::Homes::FRESH), or longer while the owner region cannot be reached.
    Remembered,
    /// Decided just now, by this step, and **not** written down, for the owner region cannot be reached: the user may
    /// live elsewhere. Commands through [`Homes::connection`](super::Homes::connection) fail until it can.
    Unassigned(HomeStep),
}

impl Home {
    pub(super) fn recorded(record: &Assignment) -> Self {
        Self::of(record, HomeReason::Recorded)
    }

    pub(super) fn remembered(record: &Assignment) -> Self {
        Self::of(record, HomeReason::Remembered)
    }

    fn of(record: &Assignment, reason: HomeReason) -> Self {
        let (region, moving_to) = (record.home().clone(), record.moving_to().cloned());
        Self { region, moving_to, reason, details: None }
    }

    pub(super) fn assigned(decision: &HomeDecision<'_>) -> Self {
        let (region, reason) = (decision.region().clone(), HomeReason::Assigned(decision.step()));
        Self { region, moving_to: None, reason, details: Some(decision.to_string()) }
    }

    pub(super) fn unassigned(decision: &HomeDecision<'_>, why: &Error) -> Self {
        let (region, reason) = (decision.region().clone(), HomeReason::Unassigned(decision.step()));
        Self { region, moving_to: None, reason, details: Some(format!("{why}\n{decision}")) }
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// Where the user is about to live: a move is under way, and the home is still the old one.
    #[must_use]
    pub fn moving_to(&self) -> Option<&RegionId> {
        self.moving_to.as_ref()
    }

    /// How this process knows.
    #[must_use]
    pub fn reason(&self) -> HomeReason {
        self.reason
    }

    /// Whether it is written down, so that every process says the same.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        match self.reason {
            HomeReason::Assigned(_) | HomeReason::Recorded | HomeReason::Remembered => true,
            HomeReason::Unassigned(_) => false,
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "home {}: {}", self.region, self.reason)?;
        if let Some(to) = &self.moving_to {
            write!(f, ", moving to {to}")?;
        }
        self.details.iter().try_for_each(|details| write!(f, "\n{details}"))
    }
}

impl fmt::Display for HomeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned(step) => write!(f, "assigned now, by {step}"),
            Self::Recorded => f.write_str("recorded"),
            Self::Remembered => f.write_str("remembered"),
            Self::Unassigned(step) => write!(f, "by {step}, not assigned: the owner region cannot be reached"),
        }
    }
}
