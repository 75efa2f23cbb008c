//! The decision itself: pure, total, and without allocation.

use std::collections::BTreeMap;

use archipelago_engine::RegionId;

use super::{Continent, Country, HomeStep, Lookup, Place, Verdict, decision::Decided};
use crate::routing::{Location, RegionIndex, RegionInfo};

/// Checked rules over some regions. Made by [`HomesConfig::build`](super::HomesConfig::build).
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// At least one, at most [`crate::routing::MAX_REGIONS`].
    pub regions: Vec<RegionInfo>,
    pub pin: Option<RegionIndex>,
    pub residency: BTreeMap<Country, Allowed>,
    pub countries: BTreeMap<Country, RegionIndex>,
    pub continents: BTreeMap<Continent, RegionIndex>,
    pub nearest: bool,
    pub default: RegionIndex,
    /// The name of `default`.
    pub default_id: RegionId,
}

/// The regions that a country's users may live in, the preferred first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    first: RegionIndex,
    others: Vec<RegionIndex>,
}

impl Allowed {
    /// `None` without regions.
    pub(super) fn new(regions: impl IntoIterator<Item = RegionIndex>) -> Option<Self> {
        let mut regions = regions.into_iter();
        Some(Self { first: regions.next()?, others: regions.collect() })
    }

    pub(super) fn contains(&self, region: RegionIndex) -> bool {
        self.first == region || self.others.contains(&region)
    }

    fn only(&self) -> Option<RegionIndex> {
        self.others.is_empty().then_some(self.first)
    }
}

impl Rules {
    /// The home of a user with this pin, of whom this is known.
    pub(super) fn decide(&self, pin: Option<&str>, lookup: Lookup) -> Decided {
        let place = lookup.place();
        let allowed = place.country.and_then(|country| self.residency.get(&country));
        let mut verdicts = [Verdict::NotReached; HomeStep::ALL.len()];
        for (step, slot) in HomeStep::ALL.into_iter().zip(&mut verdicts) {
            let verdict = match self.propose(step, pin, &place, allowed) {
                Proposal::Nothing => Verdict::Nothing,
                Proposal::Unknown => Verdict::UnknownRegion,
                Proposal::Region(region) if allowed.is_none_or(|allowed| allowed.contains(region)) => {
                    Verdict::Decided(region)
                }
                Proposal::Region(region) => Verdict::OutsideResidency(region),
            };
            *slot = verdict;
            if let Verdict::Decided(region) = verdict {
                return Decided { region, step, verdicts, lookup };
            }
        }
        // Not reached: the default decides unless a residency rule overrules it, and then that rule's first region
        // does. Were it reached, the default would be the answer.
        Decided { region: self.default, step: HomeStep::Default, verdicts, lookup }
    }

    /// What one step says by itself.
    fn propose(&self, step: HomeStep, pin: Option<&str>, place: &Place, allowed: Option<&Allowed>) -> Proposal {
        let region = match step {
            HomeStep::UserPin => match pin {
                Some(name) => return self.named(name).map_or(Proposal::Unknown, Proposal::Region),
                None => None,
            },
            HomeStep::Pin => self.pin,
            HomeStep::Residency => allowed.and_then(Allowed::only),
            HomeStep::Country => place.country.and_then(|country| self.countries.get(&country).copied()),
            HomeStep::Continent => place.continent.and_then(|continent| self.continents.get(&continent).copied()),
            HomeStep::Nearest => place.location.filter(|_| self.nearest).and_then(|from| self.nearest(from, allowed)),
            HomeStep::Default => Some(self.default),
            HomeStep::FirstAllowed => allowed.map(|allowed| allowed.first),
        };
        region.map_or(Proposal::Nothing, Proposal::Region)
    }

    /// The nearest region whose place is known, of those that a residency rule leaves. Of equally near ones the first.
    ///
    /// A region of weight zero is never the nearest: it is a standby, to be chosen by name only.
    fn nearest(&self, from: Location, allowed: Option<&Allowed>) -> Option<RegionIndex> {
        let candidates = self
            .indexed()
            .filter(|(index, region)| region.weight > 0 && allowed.is_none_or(|allowed| allowed.contains(*index)));
        let distances = candidates.filter_map(|(index, region)| Some((index, region.location?.distance_km(from))));
        distances.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
    }

    pub(super) fn named(&self, name: &str) -> Option<RegionIndex> {
        self.indexed().find(|(_, region)| region.id.as_str() == name).map(|(index, _)| index)
    }

    /// For messages, in the rule's order.
    pub(super) fn names_of(&self, allowed: &Allowed) -> String {
        let regions = std::iter::once(&allowed.first).chain(&allowed.others);
        let names = regions.filter_map(|region| Some(self.regions.get(region.as_usize())?.id.as_str()));
        names.collect::<Vec<_>>().join(", ")
    }

    fn indexed(&self) -> impl Iterator<Item = (RegionIndex, &RegionInfo)> {
        (0_u8..).map(RegionIndex).zip(&self.regions)
    }
}

/// What one step says by itself.
enum Proposal {
    /// Nothing: it is not configured, or does not apply.
    Nothing,
    /// A region that nobody knows.
    Unknown,
    /// This region.
    Region(RegionIndex),
}
