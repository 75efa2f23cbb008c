//! The laws of a join, as checks over samples.

use std::fmt::Debug;

use crate::{Cell, Cells};

/// Something two regions may hold different sights of, and merge.
///
/// Implemented by [`Cell`] and [`Cells`]; implement it for a state of your own to run [`check_join_laws`] on it.
pub trait Lattice: Clone + PartialEq + Debug {
    /// Merges another sight into this one; says whether this one moved.
    fn merge(&mut self, other: &Self) -> bool;
}

impl Lattice for Cell {
    fn merge(&mut self, other: &Self) -> bool {
        self.join(other).changed
    }
}

impl Lattice for Cells {
    fn merge(&mut self, other: &Self) -> bool {
        other.iter().fold(false, |changed, (origin, cell)| self.join(origin, cell).changed || changed)
    }
}

/// Checks that merging is idempotent, commutative, associative, monotone, and reports truly whether it moved.
///
/// All triples are tried, so a few dozen samples are plenty. Samples that are close to each other (equal versions,
/// one part equal) find more than far ones.
///
/// # Panics
/// On the first law broken, with its samples.
pub fn check_join_laws<L: Lattice>(samples: &[L]) {
    let joined = |a: &L, b: &L| {
        let mut grown = a.clone();
        let changed = grown.merge(b);
        assert_eq!(changed, grown != *a, "wrong `changed` flag: {a:?}, {b:?}");
        grown
    };
    let pairs = || samples.iter().flat_map(|a| samples.iter().map(move |b| (a, b)));
    for a in samples {
        assert_eq!(joined(a, a), *a, "not idempotent: {a:?}");
    }
    for (a, b) in pairs() {
        let ab = joined(a, b);
        assert_eq!(ab, joined(b, a), "not commutative: {a:?}, {b:?}");
        // In a join's order "x is at most y" means that x adds nothing to y.
        for part in [a, b] {
            assert_eq!(joined(&ab, part), ab, "not monotone: {part:?} still moves the join of {a:?} and {b:?}");
        }
    }
    for (a, b) in pairs() {
        let ab = joined(a, b);
        for c in samples {
            assert_eq!(joined(&ab, c), joined(a, &joined(b, c)), "not associative: {a:?}, {b:?}, {c:?}");
        }
    }
}

/// Checks that a view is a function of the state alone: equal states show the same, however they came to be.
///
/// For every pair of samples the two orders of merging, and a merge repeated, have to show one and the same view.
///
/// # Panics
/// When one state shows two views.
pub fn check_rule<L: Lattice, V: PartialEq + Debug>(samples: &[L], mut view: impl FnMut(&L) -> V) {
    for a in samples {
        for b in samples {
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(b);
            ba.merge(a);
            let shown = view(&ab);
            ab.merge(b);
            for same in [&ab, &ba] {
                assert_eq!(view(same), shown, "one state, two views: {a:?}, {b:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell as Counter;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Broken {
        Sum(u32),
        Overwrite(u32),
        Average(u32),
        AlwaysChanged(u32),
    }

    impl Lattice for Broken {
        fn merge(&mut self, other: &Self) -> bool {
            let before = *self;
            match (&mut *self, other) {
                (Self::Sum(a), Self::Sum(b)) => *a += b,
                (Self::Overwrite(a), Self::Overwrite(b)) => *a = *b,
                (Self::Average(a), Self::Average(b)) => *a = u32::midpoint(*a, *b),
                (Self::AlwaysChanged(a), Self::AlwaysChanged(b)) => {
                    *a = (*a).max(*b);
                    return true;
                }
                _ => {}
            }
            *self != before
        }
    }

    /// Wins by the greater remainder of three, in a circle: any two agree, three do not.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Circle(u32);

    impl Lattice for Circle {
        fn merge(&mut self, other: &Self) -> bool {
            let before = self.0;
            if (self.0 + 1) % 3 == other.0 {
                self.0 = other.0;
            }
            self.0 != before
        }
    }

    #[test]
    fn the_greater_of_two_passes() {
        #[derive(Clone, Debug, PartialEq)]
        struct Greater(u32);
        impl Lattice for Greater {
            fn merge(&mut self, other: &Self) -> bool {
                let moved = other.0 > self.0;
                self.0 = self.0.max(other.0);
                moved
            }
        }
        let samples = [Greater(0), Greater(1), Greater(7)];
        check_join_laws(&samples);
        check_rule(&samples, |g| g.0);
    }

    #[test]
    #[should_panic(expected = "not idempotent")]
    fn the_checker_rejects_addition() {
        check_join_laws(&[Broken::Sum(0), Broken::Sum(1)]);
    }

    #[test]
    #[should_panic(expected = "not commutative")]
    fn the_checker_rejects_the_last_one_to_arrive() {
        check_join_laws(&[Broken::Overwrite(0), Broken::Overwrite(1)]);
    }

    #[test]
    #[should_panic(expected = "not monotone")]
    fn the_checker_rejects_a_join_that_sinks() {
        check_join_laws(&[Broken::Average(0), Broken::Average(4)]);
    }

    #[test]
    #[should_panic(expected = "not associative")]
    fn the_checker_rejects_a_circle_of_winners() {
        check_join_laws(&[Circle(0), Circle(1), Circle(2)]);
    }

    #[test]
    #[should_panic(expected = "wrong `changed` flag")]
    fn the_checker_rejects_a_flag_that_always_says_yes() {
        check_join_laws(&[Broken::AlwaysChanged(0)]);
    }

    #[test]
    #[should_panic(expected = "one state, two views")]
    fn the_checker_rejects_a_view_that_depends_on_more_than_the_state() {
        let asked = Counter::new(0);
        check_rule(&[Cells::default()], |_| {
            asked.set(asked.get() + 1);
            asked.get()
        });
    }
}
