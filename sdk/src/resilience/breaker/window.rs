//! A sliding window of outcomes: ten slices, each one atomic word.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::resilience::{Moment, moment::micros};

const SLICES: usize = 10;
const COUNT_BITS: u32 = 14;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MAX: u64 = (1 << (64 - 3 * COUNT_BITS)) - 1;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Success,
    Slow,
    Failure,
}

/// Outcomes of the last window. A slice is forgotten when its time comes round again.
///
/// It slides: a tumbling window forgets a fault that straddles its edge.
pub(super) struct Window {
    slice_micros: u64,
    slices: [AtomicU64; SLICES],
}

/// One slice. `epoch` says which stretch of time it counts; it comes round after 4 million of them (11 hours with
/// the shortest window, five days by default), and then what a slice nobody has used since holds is taken for new once.
#[derive(Clone, Copy, Default)]
struct Slice {
    epoch: u64,
    calls: u64,
    slow: u64,
    failed: u64,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self { slice_micros: (micros(length) / SLICES as u64).max(1), slices: Default::default() }
    }

    pub(super) fn add(&self, now: Moment, sort: Sort) {
        let number = now.as_micros() / self.slice_micros;
        let epoch = number & EPOCH_MAX;
        let Some(slot) = self.slices.get((number % SLICES as u64) as usize) else { return };
        let step = |word: u64| {
            let slice = Slice::unpack(word);
            let mut slice = match age(slice.epoch, epoch) {
                0 => slice,
                // Ahead of us: a thread that was asleep for a whole window has nothing to add.
                ahead if ahead > EPOCH_MAX / 2 => return None,
                _ => Slice { epoch, ..Slice::default() },
            };
            slice.add(sort);
            Some(slice.pack())
        };
        let _none_when_outdated = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
    }

    /// Whether the share of `sort` has reached `rate`, once there are enough calls.
    pub(super) fn is_over(&self, now: Moment, sort: Sort, rate: f64, minimum: u32) -> bool {
        let (calls, of_sort) = self.count(now, sort);
        calls >= u64::from(minimum) && of_sort as f64 >= rate * calls as f64
    }

    /// Whether there are so many of them.
    pub(super) fn are_many(&self, now: Moment, sort: Sort, many: u32) -> bool {
        self.count(now, sort).1 >= u64::from(many)
    }

    /// All calls, and those of a sort.
    fn count(&self, now: Moment, sort: Sort) -> (u64, u64) {
        let epoch = (now.as_micros() / self.slice_micros) & EPOCH_MAX;
        let slices = self.slices.iter().map(|slot| Slice::unpack(slot.load(Ordering::Acquire)));
        let current = slices.filter(|slice| age(slice.epoch, epoch) < SLICES as u64);
        current.fold((0, 0), |(calls, sum), slice| (calls + slice.calls, sum + slice.of(sort)))
    }

    pub(super) fn clear(&self) {
        self.slices.iter().for_each(|slot| slot.store(0, Ordering::Release));
    }
}

/// How many slices ago `epoch` was; huge if it is yet to come.
const fn age(epoch: u64, now: u64) -> u64 {
    now.wrapping_sub(epoch) & EPOCH_MAX
}

impl Slice {
    fn add(&mut self, sort: Sort) {
        if self.calls == COUNT_MAX {
            // Full, at 160,000 calls a second: the shares stay what they are.
            self.calls /= 2;
            self.slow /= 2;
            self.failed /= 2;
        }
        self.calls += 1;
        match sort {
            Sort::Success => {}
            Sort::Slow => self.slow += 1,
            Sort::Failure => self.failed += 1,
        }
    }

    const fn of(self, sort: Sort) -> u64 {
        match sort {
            Sort::Success => self.calls - self.slow - self.failed,
            Sort::Slow => self.slow,
            Sort::Failure => self.failed,
        }
    }

    const fn unpack(word: u64) -> Self {
        Self {
            epoch: word >> (3 * COUNT_BITS),
            calls: word >> (2 * COUNT_BITS) & COUNT_MAX,
            slow: word >> COUNT_BITS & COUNT_MAX,
            failed: word & COUNT_MAX,
        }
    }

    const fn pack(self) -> u64 {
        self.epoch << (3 * COUNT_BITS) | self.calls << (2 * COUNT_BITS) | self.slow << COUNT_BITS | self.failed
    }
}
