//! A user's home region, and why it is that one.

use std::fmt;

use archipelago_engine::RegionId;

use super::{Lookup, Place, rules::Rules};
use crate::routing::RegionIndex;

/// One step on the way to a user's home, in the order in which they are asked. The first with an answer that the
/// country's residency rule allows decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HomeStep {
    /// The region chosen for this user: [`HomeRequest::pin`](super::HomeRequest::pin).
    UserPin,
    /// The region configured for all users: `pin`.
    Pin,
    /// The only region that the country's residency rule allows.
    Residency,
    /// The country's entry in `countries`.
    Country,
    /// The continent's entry in `continents`.
    Continent,
    /// The nearest region by coordinates; of those that a residency rule allows, if one applies.
    Nearest,
    /// `default`.
    Default,
    /// The first region of the residency rule: everything else was outside it.
    FirstAllowed,
}

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It decided.
    Decided(RegionIndex),
    /// It named a region outside the country's residency rule, and was overruled.
    OutsideResidency(RegionIndex),
    /// It named a region that is not configured.
    UnknownRegion,
    /// It had nothing to say.
    Nothing,
    /// An earlier step decided.
    NotReached,
}

/// A user's home region, and why it is that one. Its [`Display`](fmt::Display) tells everything.
#[derive(Clone, Copy)]
pub struct HomeDecision<'r> {
    pub(super) rules: &'r Rules,
    pub(super) decided: Decided,
}

/// A decision without the names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decided {
    pub region: RegionIndex,
    pub step: HomeStep,
    /// By [`HomeStep`].
    pub verdicts: [Verdict; HomeStep::ALL.len()],
    pub lookup: Lookup,
}

impl HomeStep {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::UserPin,
        Self::Pin,
        Self::Residency,
        Self::Country,
        Self::Continent,
        Self::Nearest,
        Self::Default,
        Self::FirstAllowed,
    ];
}

impl<'r> HomeDecision<'r> {
    /// The home.
    #[must_use]
    pub fn region(&self) -> &'r RegionId {
        self.name(self.decided.region)
    }

    /// The home's place among the regions that the resolver was built with.
    #[must_use]
    pub fn index(&self) -> RegionIndex {
        self.decided.region
    }

    /// The step that decided.
    #[must_use]
    pub fn step(&self) -> HomeStep {
        self.decided.step
    }

    /// What was looked up, and what became of it.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        self.decided.lookup
    }

    /// Where the user is, as far as known.
    #[must_use]
    pub fn place(&self) -> Place {
        self.decided.lookup.place()
    }

    /// What became of each step, in order.
    pub fn verdicts(&self) -> impl Iterator<Item = (HomeStep, Verdict)> + use<> {
        HomeStep::ALL.into_iter().zip(self.decided.verdicts)
    }

    fn name(&self, region: RegionIndex) -> &'r RegionId {
        // Every index comes from these rules, so there is no other case; it gets a region rather than a panic.
        self.rules.regions.get(region.as_usize()).map_or(&self.rules.default_id, |region| &region.id)
    }

    /// Why a step had nothing to say.
    fn nothing(&self, step: HomeStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match (step, place.country, place.continent) {
            (HomeStep::UserPin | HomeStep::Pin | HomeStep::Default, ..) => f.write_str("none"),
            (HomeStep::Residency | HomeStep::Country, None, _) => f.write_str("country unknown"),
            (HomeStep::Continent, _, None) => f.write_str("continent unknown"),
            (HomeStep::Residency | HomeStep::FirstAllowed, Some(country), _) => {
                match self.rules.residency.get(&country) {
                    Some(allowed) => write!(f, "{country} allows {}", self.rules.names_of(allowed)),
                    None => write!(f, "no rule for {country}"),
                }
            }
            (HomeStep::Country, Some(country), _) => write!(f, "no entry for {country}"),
            (HomeStep::Continent, _, Some(continent)) => write!(f, "no entry for {continent}"),
            (HomeStep::Nearest, ..) if !self.rules.nearest => f.write_str("off"),
            (HomeStep::Nearest, ..) if place.location.is_none() => f.write_str("coordinates unknown"),
            (HomeStep::Nearest, ..) => f.write_str("no region with coordinates and a weight"),
            (HomeStep::FirstAllowed, None, _) => f.write_str("no rule"),
        }
    }

    /// How far the home is, if both places are known.
    fn distance_km(&self) -> Option<f64> {
        let home = self.rules.regions.get(self.decided.region.as_usize())?;
        Some(home.location?.distance_km(self.place().location?))
    }
}

impl fmt::Display for HomeDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "home {}: {}\n  looked up: {}", self.region(), self.step(), self.lookup())?;
        for (step, verdict) in self.verdicts() {
            if verdict == Verdict::NotReached {
                break;
            }
            write!(f, "\n  {step}: ")?;
            match verdict {
                Verdict::Decided(region) => self.name(region).fmt(f)?,
                Verdict::OutsideResidency(region) => write!(f, "{} is outside the residency", self.name(region))?,
                Verdict::UnknownRegion => f.write_str("no such region")?,
                Verdict::Nothing | Verdict::NotReached => self.nothing(step, f)?,
            }
        }
        match self.distance_km() {
            Some(distance) if self.step() == HomeStep::Nearest => write!(f, ", {distance:.0} km away"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for HomeDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region();
        f.debug_struct("HomeDecision").field("region", region).field("decided", &self.decided).finish_non_exhaustive()
    }
}

/// Of one resolver: regions are compared by name.
impl PartialEq for HomeDecision<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.region() == other.region() && self.decided == other.decided
    }
}

impl fmt::Display for HomeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::UserPin => "user's pin",
            Self::Pin => "pin",
            Self::Residency => "residency",
            Self::Country => "country",
            Self::Continent => "continent",
            Self::Nearest => "nearest",
            Self::Default => "default",
            Self::FirstAllowed => "first of the residency",
        })
    }
}
