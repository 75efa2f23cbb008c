//! The laws of the join on random cells: close versions, equal versions with other content, dead payloads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use archipelago_engine::{
    Assign, Base, Cell, Cells, Incarnation, Origin, Total, Version, number,
    testing::{Lattice, check_join_laws, check_rule},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Few versions, so that many are equal.
fn version() -> impl Strategy<Value = Version> {
    (0_u64..6).prop_map(Version::from_micros)
}

fn payload() -> impl Strategy<Value = Bytes> {
    select(vec!["", "1", "7", "word", "-0", "900"]).prop_map(Bytes::from)
}

fn sum() -> impl Strategy<Value = f64> {
    select(vec![0.0, -0.0, 1.0, -3.5, 0.1, 1e16, f64::INFINITY, f64::NEG_INFINITY])
}

fn cell() -> impl Strategy<Value = Cell> {
    let assign = option::of((version(), payload()).prop_map(|(version, payload)| Assign { version, payload }));
    let total =
        option::of((version(), sum(), version()).prop_map(|(version, number, since)| Total { version, number, since }));
    let base = option::of((version(), sum()).prop_map(|(version, number)| Base { version, number }));
    (assign, version(), total, base).prop_map(|(assign, retracted, total, base)| {
        let mut cell = Cell { assign, retracted, total, base };
        cell.join(&Cell::default()); // drops a payload that is dead, as every cell in use has done
        cell
    })
}

fn origin(i: usize) -> Origin {
    // Two incarnations of one region among them.
    Origin::new(["a", "a", "b"][i].parse().unwrap(), Incarnation::new(i as u64))
}

fn cells() -> impl Strategy<Value = Cells> {
    vec((0_usize..3, cell()), 0..4)
        .prop_map(|cells| cells.into_iter().filter(|(_, c)| !c.is_empty()).map(|(i, c)| (origin(i), c)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cells_of_one_origin_join_by_the_laws(samples in vec(cell(), 1..6)) {
        check_join_laws(&samples);
    }

    #[test]
    fn cells_of_all_origins_join_by_the_laws(samples in vec(cells(), 1..5)) {
        check_join_laws(&samples);
    }

    #[test]
    fn what_a_reader_sees_is_a_function_of_the_cells(samples in vec(cells(), 1..5)) {
        check_rule(&samples, |cells| {
            let sum = cells.contributions().map(f64::to_bits);
            (cells.text(), cells.score().map(f64::to_bits), cells.is_live(), cells.deadline(), sum)
        });
    }

    #[test]
    fn a_conflict_is_seen_from_both_sides_and_only_at_equal_versions(a in cell(), b in cell()) {
        let (there, back) = (a.clone().join(&b), b.clone().join(&a));
        prop_assert_eq!(there.conflict, back.conflict);
        let at = |c: &Cell| [c.assign.as_ref().map(|a| a.version), c.total.map(|t| t.version), c.base.map(|b| b.version)];
        if at(&a).iter().zip(at(&b)).all(|(x, y)| x.is_none() || *x != y) {
            prop_assert!(!there.conflict);
        }
    }

    #[test]
    fn nothing_is_live_after_a_retraction_whatever_joins_that_was_seen(a in cell(), b in cell()) {
        let mut all = a.clone();
        all.join(&b);
        all.retract();
        prop_assert!(!all.is_live());
        prop_assert!(!all.clone().retract());
        // Older sights of the cell do not bring it back.
        for old in [a, b] {
            let changed = all.join(&old).changed;
            prop_assert!(!changed && !all.is_live());
        }
    }

    #[test]
    fn observations_alone_hide_what_a_retraction_hid(a in cell()) {
        let mut removed = a.clone();
        removed.retract();
        // In either order: the removal may arrive before what it removed.
        let (mut first, mut last) = (removed.observations(), a.clone());
        first.merge(&a);
        last.merge(&removed.observations());
        prop_assert!(!first.is_live() && !last.is_live());
        prop_assert_eq!(first, last);
    }

    #[test]
    fn an_increment_counts_once_wherever_the_run_began(a in cell(), amount in -50_i32..50, at in 10_u64..20) {
        let before = a.contribution();
        let mut grown = a.clone();
        grown.total = Some(a.total_after(Version::from_micros(at), f64::from(amount)));
        let is_exact = |n: f64| n.abs() < 1e15 && n.fract() == 0.0;
        if before.is_none_or(is_exact) && a.base.is_none_or(|b| is_exact(b.number)) {
            prop_assert_eq!(grown.contribution(), Some(number::plus(before.unwrap_or(0.0), f64::from(amount))));
        }
    }
}
