//! The primary as the authority behind replicas.

use serde::{Deserialize, Serialize};

use crate::routing::{Access, Candidates, Plan, Policy, Reason, Request, plan::is_authority};

/// After what answer of a replica the primary is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The key was not there: a write may not have arrived yet. Costs a second read for keys that exist nowhere.
    Miss,
    /// The call failed.
    Error,
    /// The answer proved older than the session or the bound allows.
    Stale,
}

/// A set of triggers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::routing) struct Triggers(u8);

impl Triggers {
    pub(in crate::routing) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(in crate::routing) fn contains(self, trigger: Trigger) -> bool {
        self.0 & Self::from(trigger).0 != 0
    }
}

impl From<Trigger> for Triggers {
    fn from(trigger: Trigger) -> Self {
        Self(match trigger {
            Trigger::Miss => 1,
            Trigger::Error => 2,
            Trigger::Stale => 4,
        })
    }
}

impl FromIterator<Trigger> for Triggers {
    fn from_iter<I: IntoIterator<Item = Trigger>>(triggers: I) -> Self {
        triggers.into_iter().fold(Self::default(), |all, trigger| all.with(trigger.into()))
    }
}

/// Reads that begin at a replica end at the primary when the replica cannot give a good answer.
///
/// It marks the plan, and [`Plan::fallback_after`] then names the primary; the connection does the asking. With
/// [`Trigger::Error`] the primary also becomes the second step, ahead of other replicas and behind the first: of a
/// region's nodes it is the one whose answer is final. A node that another wrapper skips is never asked.
#[derive(Clone, Copy, Debug)]
pub struct FallbackToPrimary<P> {
    inner: P,
    triggers: Triggers,
}

impl<P: Policy> FallbackToPrimary<P> {
    /// Lets this policy's reads fall back to the primary on these occasions.
    #[must_use]
    pub fn new(inner: P, on: impl IntoIterator<Item = Trigger>) -> Self {
        Self { inner, triggers: on.into_iter().collect() }
    }
}

impl<P: Policy> Policy for FallbackToPrimary<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let mut plan = self.inner.plan(request, candidates);
        if request.access == Access::Write {
            return plan;
        }
        plan.fall_back_on(self.triggers);
        if self.triggers.contains(Trigger::Error) {
            let (region, first) = (plan.region(), plan.first());
            plan.prefer(|step| match first {
                Some(first) if first == step => Some(step.reason),
                Some(_) | None => is_authority(region, step, candidates).then_some(Reason::FallbackToPrimary),
            });
        }
        plan
    }
}
