//! Failures in a row, in two atomic words.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::resilience::{Moment, moment::micros};

/// How long after the first call that one late answer holds up the last of them is sent, in milliseconds.
const STALL: u64 = 150;

/// Counts failures during which the node answered nobody.
///
/// A failure counts only if no success was recorded since its call was admitted. Counting in the order of recording
/// instead takes a node out that is well: the slow ones of a burst of calls time out last, one after the other, when all
/// others have long been answered.
///
/// Failures of one event count once. A connection that breaks takes all its calls with it, within a moment. And one late
/// answer holds up those behind it on the same connection: calls that were under way together are one event, too, if
/// they were sent soon after each other and are few, however far apart they are given up.
pub(super) struct Streak {
    burst: u64,
    /// Microseconds. All that a success has to write.
    succeeded_at: AtomicU64,
    /// Generation (16 bits), length (8 bits), when the last failure was counted (40 bits of milliseconds, 34 years).
    word: AtomicU64,
    /// When the call was admitted whose failure was the last to be counted, in milliseconds.
    admitted_at: AtomicU64,
}

#[derive(Clone, Copy)]
struct Word {
    generation: u16,
    length: u8,
    counted_at: u64,
}

impl Streak {
    pub(super) fn new(burst: Duration) -> Self {
        Self {
            burst: micros(burst) / 1_000,
            succeeded_at: AtomicU64::new(0),
            word: AtomicU64::new(0),
            admitted_at: AtomicU64::new(0),
        }
    }

    /// A success: whatever is in a row ends.
    pub(super) fn end(&self, now: Moment) {
        // Threads may record in another order than they looked at the clock.
        if now.as_micros() > self.succeeded_at.load(Ordering::Relaxed) {
            self.succeeded_at.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// A failure of a call admitted then, one of many lately or of few; answers how many there are in a row.
    pub(super) fn lengthen(&self, generation: u64, admitted: Moment, now: Moment, are_many: bool) -> u32 {
        let succeeded_at = self.succeeded_at.load(Ordering::Relaxed);
        if succeeded_at > admitted.as_micros() {
            return 0;
        }
        let (generation, now, succeeded_at) = (generation as u16, now.as_micros() / 1_000, succeeded_at / 1_000);
        let admitted = admitted.as_micros() / 1_000;
        let is_soon = admitted < self.admitted_at.load(Ordering::Relaxed) + STALL;
        let (mut length, mut is_counted) = (0, false);
        let step = |word: u64| {
            let word = Word::unpack(word);
            let goes_on = word.generation == generation && word.length > 0 && succeeded_at <= word.counted_at;
            let is_held_up = !are_many && is_soon && admitted < word.counted_at;
            is_counted = !goes_on || !is_held_up && now.saturating_sub(word.counted_at) >= self.burst;
            let next = match (goes_on, is_counted) {
                (false, _) => Word { generation, length: 1, counted_at: now },
                (true, true) => Word { length: word.length.saturating_add(1), counted_at: now, ..word },
                (true, false) => word,
            };
            length = u32::from(next.length);
            Some(next.pack())
        };
        let _always_some = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        if is_counted {
            self.admitted_at.store(admitted, Ordering::Relaxed);
        }
        length
    }
}

impl Word {
    const fn unpack(word: u64) -> Self {
        Self { generation: (word >> 48) as u16, length: (word >> 40) as u8, counted_at: word & ((1 << 40) - 1) }
    }

    const fn pack(self) -> u64 {
        (self.generation as u64) << 48 | (self.length as u64) << 40 | self.counted_at & ((1 << 40) - 1)
    }
}
