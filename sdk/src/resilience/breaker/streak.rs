//! Failures in a row, in two atomic words.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::resilience::{Moment, moment::micros};

/// Counts failures during which the node answered nobody.
///
/// A failure counts only if no success was recorded since its call was admitted. Counting in the order of recording
/// instead takes a node out that is well: the slow ones of a burst of calls time out last, one after the other, when all
/// others have long been answered.
///
/// Failures close together count once. A connection that breaks takes all its calls with it, and that is one event.
pub(super) struct Streak {
    burst: u64,
    /// Microseconds. All that a success has to write.
    succeeded_at: AtomicU64,
    /// Generation (16 bits), length (8 bits), when the last failure was counted (40 bits of milliseconds, 34 years).
    word: AtomicU64,
}

#[derive(Clone, Copy)]
struct Word {
    generation: u16,
    length: u8,
    counted_at: u64,
}

impl Streak {
    pub(super) fn new(burst: Duration) -> Self {
        Self { burst: micros(burst) / 1_000, succeeded_at: AtomicU64::new(0), word: AtomicU64::new(0) }
    }

    /// A success: whatever is in a row ends.
    pub(super) fn end(&self, now: Moment) {
        // Threads may record in another order than they looked at the clock.
        if now.as_micros() > self.succeeded_at.load(Ordering::Relaxed) {
            self.succeeded_at.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// A failure of a call admitted then; answers how many there are in a row.
    pub(super) fn lengthen(&self, generation: u64, admitted: Moment, now: Moment) -> u32 {
        let succeeded_at = self.succeeded_at.load(Ordering::Relaxed);
        if succeeded_at > admitted.as_micros() {
            return 0;
        }
        let (generation, now, succeeded_at) = (generation as u16, now.as_micros() / 1_000, succeeded_at / 1_000);
        let mut length = 0;
        let step = |word: u64| {
            let word = Word::unpack(word);
            let goes_on = word.generation == generation && word.length > 0 && succeeded_at <= word.counted_at;
            let next = if !goes_on {
                Word { generation, length: 1, counted_at: now }
            } else if now.saturating_sub(word.counted_at) < self.burst {
                word
            } else {
                Word { length: word.length.saturating_add(1), counted_at: now, ..word }
            };
            length = u32::from(next.length);
            Some(next.pack())
        };
        let _always_some = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
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
