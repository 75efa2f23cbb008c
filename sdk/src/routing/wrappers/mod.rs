//! Wrappers, which change the plan of any policy; one file each.

mod avoid_unhealthy;
mod fallback_to_primary;
mod local_replica;
mod max_staleness;
mod residency;

pub(super) use self::fallback_to_primary::Triggers;
pub use self::{
    avoid_unhealthy::AvoidUnhealthy,
    fallback_to_primary::{FallbackToPrimary, Trigger},
    local_replica::LocalReplica,
    max_staleness::MaxStaleness,
    residency::Residency,
};
