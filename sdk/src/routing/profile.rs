//! The policy in force, which may be exchanged while everyone uses it.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;

use super::{Candidates, Plan, Policy, Request};

/// A handle on the policy in force. Clones share it: a policy swapped in through one is used by all from the next
/// request on.
///
/// It is a [`Policy`] itself. Planning takes no lock and waits for nobody, also during a swap; a plan under way ends by
/// the policy it began with.
///
/// ```
/// use std::sync::Arc;
/// use archipelago::routing::{Pinned, Profile, RegionIndex, RegionalPrimary};
///
/// let profile = Profile::new(RegionalPrimary);
/// let held_elsewhere = profile.clone();
/// profile.swap(Pinned::new(RegionIndex(1)));
/// assert_eq!(format!("{held_elsewhere:?}"), "Profile(Pinned { region: RegionIndex(1) })");
/// ```
#[derive(Clone)]
pub struct Profile {
    // Two pointers, for an `ArcSwap` swaps thin ones and that of a trait object is wide.
    current: Arc<ArcSwap<Box<dyn Policy>>>,
}

impl Profile {
    /// A profile that starts with this policy.
    #[must_use]
    pub fn new(policy: impl Policy + 'static) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(Box::new(policy))) }
    }

    /// Puts another policy in force, for every holder.
    pub fn swap(&self, policy: impl Policy + 'static) {
        self.current.store(Arc::new(Box::new(policy)));
    }
}

impl Policy for Profile {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        self.current.load().plan(request, candidates)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Profile").field(&*self.current.load()).finish()
    }
}
