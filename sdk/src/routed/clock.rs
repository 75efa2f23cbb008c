//! The clock of the routed plane: the only place where its policies' time comes from.

use std::time::Duration;

use tokio::time::Instant;

use crate::resilience::Moment;

/// Counts from the client's start. Tests that pause tokio's time pause it, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::START.after(self.start.elapsed())
    }

    /// The same moment as the runtime's timers count it.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.start + Duration::from_micros(moment.as_micros())
    }
}
