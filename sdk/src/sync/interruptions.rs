//! What interrupted links last: whoever waits for them is told why they wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago_engine::RegionId;
use tokio::time::Instant;

use crate::store::StoreError;

/// What lies further back is over: a link tries again within a second, and a call that waits ends by its time limit.
const CURRENT: Duration = Duration::from_secs(15);

type Last = BTreeMap<(RegionId, RegionId), (Instant, String)>;

/// The last interruption of each link of a keyspace that this process drives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interruptions {
    last: Arc<Mutex<Last>>,
}

impl Interruptions {
    /// Notes that the link was interrupted.
    pub(super) fn note(&self, from: &RegionId, to: &RegionId, why: &StoreError, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert((from.clone(), to.clone()), (now, why.to_string()));
    }

    /// When and why the link was interrupted, in words, unless that is long ago.
    pub(super) fn of(&self, from: &RegionId, to: &RegionId, now: Instant) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = last.get(&(from.clone(), to.clone()))?;
        let ago = now.saturating_duration_since(*at);
        (ago < CURRENT).then(|| format!("its link was interrupted {:.1} s ago: {why}", ago.as_secs_f64()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_each_link_is_told_for_a_while() {
        let interruptions = Interruptions::default();
        let (a, b): (RegionId, RegionId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (began, seconds) = (Instant::now(), Duration::from_secs);
        interruptions.note(&a, &b, &StoreError::Server("OOM first".to_owned()), began);
        interruptions.note(&a, &b, &StoreError::Server("OOM second".to_owned()), began + seconds(10));
        let told = interruptions.of(&a, &b, began + seconds(20)).unwrap();
        assert!(told.starts_with("its link was interrupted 10.0 s ago: ") && told.contains("OOM second"), "{told}");
        assert_eq!(interruptions.of(&b, &a, began + seconds(20)), None, "the way back is another link");
        assert_eq!(interruptions.of(&a, &b, began + seconds(30)), None);
    }
}
