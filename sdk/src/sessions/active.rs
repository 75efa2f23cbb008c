//! What a session asks of regions on the active-active plane, and what it learns there.

use std::time::Duration;

use archipelago_engine::Standing;

use super::{
    Session,
    builder::WhenBehind,
    source::{Sight, SourceId},
    sources::{Lack, Partition},
};

/// How long a read waits for a region that is behind: by default many times what a link takes across an ocean.
const PATIENCE: Duration = Duration::from_secs(1);

/// And at most, so that no sum of times overflows.
const LONGEST_PATIENCE: Duration = Duration::from_secs(3600);

impl Session {
    /// How long a call waits for a region that is behind.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.options.wait.unwrap_or(PATIENCE).min(LONGEST_PATIENCE)
    }

    pub(crate) fn when_behind(&self) -> WhenBehind {
        self.shared.options.when_behind
    }

    /// Whether a write waits for what was seen before it.
    pub(crate) fn orders_writes(&self) -> bool {
        self.shared.options.orders_writes
    }

    /// Whether anything was seen in a partition.
    pub(crate) fn seeks(&self, at: Partition) -> bool {
        self.state().token.sources.seeks(at)
    }

    /// What regions that stand so lack, all together; `members` are the keyspace's sources that can be asked.
    pub(crate) fn lack(&self, at: Partition, members: &[SourceId], standings: &[&Standing]) -> Lack {
        self.state().token.sources.lack(at, members, standings)
    }

    /// How many doubts there were so far: see [`Session::learn`].
    pub(crate) fn doubts(&self) -> u64 {
        self.state().doubts
    }

    /// A read was answered by a region that stood so: all that it showed was seen.
    pub(crate) fn saw(&self, at: Partition, standing: &Standing) {
        let mut state = self.state();
        for (origin, version) in standing.visible() {
            state.token.sources.raise(at, &origin, version);
        }
    }

    /// A region has said where it stands: what is not known of it is known now, but for doubts that are younger than the
    /// question.
    pub(crate) fn learn(&self, at: Partition, standing: &Standing, doubts: u64) {
        let mut state = self.state();
        let settles = state.doubts == doubts;
        state.token.sources.learn(at, standing, settles);
    }

    /// Asks for these no more: no region has them.
    pub(crate) fn forget(&self, lost: &[(SourceId, Sight)]) {
        self.state().token.sources.forget(lost);
    }

    /// A write begins. Unless it is said how it ended, it leaves a doubt: it may have been applied.
    pub(crate) fn begin_write(&self, at: Partition, source: SourceId) -> Writing<'_> {
        Writing { session: self, at, source, doubts: self.doubts(), is_over: false }
    }
}

/// A write under way on the active-active plane.
pub(crate) struct Writing<'s> {
    session: &'s Session,
    at: Partition,
    source: SourceId,
    doubts: u64,
    is_over: bool,
}

impl Writing<'_> {
    /// It was done; behind it its region stood so.
    pub(crate) fn landed(mut self, standing: &Standing) {
        self.is_over = true;
        self.session.learn(self.at, standing, self.doubts);
    }

    /// It changed nothing, or not all that it was to change: what kept it from that was seen.
    pub(crate) fn was_refused(mut self, standing: &Standing) {
        self.is_over = true;
        self.session.learn(self.at, standing, self.doubts);
        self.session.saw(self.at, standing);
    }

    /// It was certainly not done, and nothing is known of what is there.
    pub(crate) fn never_was(mut self) {
        self.is_over = true;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.session.state();
            state.doubts += 1;
            state.token.sources.doubt(self.source, self.at.number);
        }
    }
}
