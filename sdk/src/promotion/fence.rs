//! The fence: until when a client may write, by what it heard of the record's copies.

use std::time::Duration;

use crate::resilience::Moment;

/// Until when a client may write.
///
/// Pure: told what was heard, asked for the end of the lease.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    /// How many regions have to confirm; 0 without a fence.
    quorum: usize,
    lease: Duration,
    /// What the copy of each region said last.
    heard: Vec<Option<Heard>>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When the question was sent: a copy may have changed the moment after it answered, and the answer may have been
    /// under way for long.
    asked: Moment,
    epoch: u64,
}

impl Fence {
    /// A fence that no region has confirmed yet.
    pub(crate) fn new(regions: usize, is_fenced: bool, lease: Duration) -> Self {
        let quorum = if is_fenced { regions / 2 + 1 } else { 0 };
        Self { quorum, lease, heard: vec![None; regions] }
    }

    /// A region's copy answered: it has this epoch, 0 for none.
    pub(crate) fn hear(&mut self, region: usize, asked: Moment, epoch: u64) {
        if let Some(heard) = self.heard.get_mut(region)
            && heard.is_none_or(|heard| heard.asked <= asked)
        {
            *heard = Some(Heard { asked, epoch });
        }
    }

    /// Until when a client that follows `epoch` may write; `None` before enough regions confirmed.
    ///
    /// A copy with a later epoch confirms nothing: somebody has begun to move a writer.
    pub(crate) fn lease_until(&self, epoch: u64) -> Option<Moment> {
        if self.quorum == 0 {
            return Some(Moment::START.after(Duration::MAX));
        }
        let confirming = self.heard.iter().flatten().filter(|heard| heard.epoch <= epoch);
        let mut asked: Vec<_> = confirming.map(|heard| heard.asked).collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        asked.get(self.quorum - 1).map(|asked| asked.after(self.lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Moment {
        Moment::START.after(Duration::from_millis(millis))
    }

    #[test]
    fn the_lease_counts_from_the_oldest_question_of_the_newest_majority() {
        let mut fence = Fence::new(3, true, LEASE);
        assert_eq!(fence.lease_until(0), None);
        fence.hear(0, at(100), 0);
        assert_eq!(fence.lease_until(0), None, "one of three");
        fence.hear(2, at(300), 0);
        assert_eq!(fence.lease_until(0), Some(at(2_100)));
        fence.hear(1, at(200), 0);
        assert_eq!(fence.lease_until(0), Some(at(2_200)));
        fence.hear(1, at(150), 7);
        assert_eq!(fence.lease_until(0), Some(at(2_200)), "answers may overtake each other");
    }

    #[test]
    fn a_copy_that_has_moved_on_confirms_nothing() {
        let mut fence = Fence::new(3, true, LEASE);
        (0..3).for_each(|region| fence.hear(region, at(100), 1));
        assert_eq!(fence.lease_until(1), Some(at(2_100)));
        fence.hear(0, at(200), 2);
        assert_eq!(fence.lease_until(1), Some(at(2_100)), "an attempt that reached one of three");
        fence.hear(1, at(300), 2);
        assert_eq!(fence.lease_until(1), None);
        assert_eq!(fence.lease_until(2), Some(at(2_200)), "whoever follows may write");
    }

    #[test]
    fn without_a_fence_there_is_no_end() {
        assert!(Fence::new(2, false, LEASE).lease_until(0) > Some(at(1 << 40)));
    }
}
