//! The breaker's promises, by example, on random histories and on threads.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::sync::atomic::AtomicU32;

use proptest::prelude::*;

use super::*;
use crate::resilience::simulation::Rng;

const fn ms(millis: u64) -> Moment {
    Moment::from_micros(millis * 1_000)
}

fn breaker() -> Breaker {
    Breaker::new(&BreakerOptions::default())
}

fn ticket(breaker: &Breaker, now: Moment) -> Ticket {
    match breaker.admit(now) {
        Admission::Allowed(ticket) | Admission::Probe(ticket) => ticket,
        Admission::Rejected { retry_at } => panic!("rejected until {retry_at:?}"),
    }
}

fn call(breaker: &Breaker, now: Moment, outcome: Outcome) -> Option<Transition> {
    let ticket = ticket(breaker, now);
    breaker.record(ticket, now, outcome)
}

fn is_rejected(breaker: &Breaker, now: Moment) -> bool {
    matches!(breaker.admit(now), Admission::Rejected { .. })
}

/// Opened by hand at `now`.
fn opened(now: Moment) -> Breaker {
    let breaker = breaker();
    assert!(breaker.open(now).is_some());
    breaker
}

#[test]
fn four_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let breaker = breaker();
    for i in 0..100 {
        let outcome = if i % 4 == 3 { Outcome::Success } else { Outcome::Failure };
        assert_eq!(call(&breaker, ms(i * 500), outcome), None, "call {i}");
    }
    let opened: Vec<_> = (0..4).map(|i| call(&breaker, ms(60_000 + i * 100), Outcome::Failure)).collect();
    assert_eq!(opened, [None, None, None, Some(Transition::Opened { until: ms(60_800) })]);
    assert!(matches!(breaker.admit(ms(60_799)), Admission::Rejected { retry_at } if retry_at == ms(60_800)));
}

#[test]
fn a_connection_that_breaks_under_a_hundred_calls_is_one_failure() {
    let breaker = breaker();
    for i in 0..2_000 {
        call(&breaker, ms(i), Outcome::Success);
    }
    let tickets: Vec<_> = (0..100).map(|_| ticket(&breaker, ms(2_000))).collect();
    for ticket in tickets {
        assert_eq!(breaker.record(ticket, ms(2_001), Outcome::Failure), None);
    }
    // It is not connected again: the refusals that follow are failures of their own.
    let refused = (0..100).find_map(|i| call(&breaker, ms(2_002 + i), Outcome::Failure));
    assert!(matches!(refused, Some(Transition::Opened { .. })));
}

#[test]
fn the_slow_ones_of_a_burst_of_calls_are_no_streak() {
    // Found by the simulation: when traffic stops, only what is slow is still to come, and it comes in a row.
    let breaker = breaker();
    let mut slow = Vec::new();
    for i in 0..100 {
        let ticket = ticket(&breaker, ms(i));
        if i % 10 == 9 {
            slow.push(ticket)
        } else {
            assert_eq!(breaker.record(ticket, ms(i + 20), Outcome::Success), None)
        }
    }
    for (i, ticket) in (0_u64..).zip(slow) {
        assert_eq!(breaker.record(ticket, ms(200 + i * 20), Outcome::Failure), None, "slow call {i}");
    }
}

#[test]
fn one_late_answer_and_the_few_calls_behind_it_are_one_failure() {
    let breaker = breaker();
    // Ten calls a second on one connection that stalls for 400 ms, each given up after 160: three fail, and a fourth
    // because of a little jitter. It happened every few minutes, and each time the region was left.
    // A node that is gone fails the next ones, too, and is noticed within a second.
    let tickets: Vec<_> = (0..10).map(|i| ticket(&breaker, ms(1_000 + 100 * i))).collect();
    let failing = tickets.into_iter().zip((1_160..).step_by(100));
    let mut opened = failing.filter_map(|(ticket, at)| breaker.record(ticket, ms(at), Outcome::Failure).map(|_| at));
    assert_eq!(opened.next(), Some(1_760));
}

#[test]
fn many_calls_that_fail_together_are_more_than_one_late_answer() {
    let breaker = breaker();
    let tickets: Vec<_> = (0..100).map(|i| ticket(&breaker, ms(1_000 + i))).collect();
    let failing = tickets.into_iter().zip(1_100..);
    let mut opened = failing.filter_map(|(ticket, at)| breaker.record(ticket, ms(at), Outcome::Failure).map(|_| at));
    assert!(opened.next().is_some_and(|at| at < 1_160), "{:?}", breaker.state());
}

#[test]
fn half_of_the_calls_failing_opens_it_however_the_window_is_cut() {
    for start in (0..1_000).step_by(50) {
        let breaker = breaker();
        // Success, failure, failure, over and over: no streak, two thirds failed.
        let mut outcomes = [Outcome::Success, Outcome::Failure, Outcome::Failure].into_iter().cycle();
        let calls = (0..100).map(|i| ms(start + i * 20));
        let opened_at = calls.into_iter().position(|now| call(&breaker, now, outcomes.next().unwrap()).is_some());
        assert!(opened_at.is_some_and(|calls| (19..22).contains(&calls)), "from {start}: {opened_at:?}");
    }
}

#[test]
fn old_outcomes_leave_the_window() {
    let breaker = breaker();
    for i in 0..100 {
        call(&breaker, ms(i), Outcome::Success);
    }
    // A second later these are gone; 21 calls, 11 of them failed.
    let mut opened = None;
    for i in 0..21 {
        let outcome = if i % 2 == 0 { Outcome::Failure } else { Outcome::Success };
        opened = call(&breaker, ms(1_200 + i * 30), outcome);
    }
    assert!(opened.is_some());
}

#[test]
fn slow_answers_open_it_only_in_great_number() {
    let breaker = breaker();
    for i in 0..3_000 {
        let outcome = if i % 4 == 0 { Outcome::Success } else { Outcome::Slow };
        assert_eq!(call(&breaker, ms(i * 10), outcome), None, "three quarters");
    }
    assert!((3_000..3_200).any(|i| call(&breaker, ms(i * 10), Outcome::Slow).is_some()));
}

#[test]
fn probes_go_one_at_a_time_and_two_successes_close_it() {
    let breaker = opened(ms(0));
    let now = ms(500);
    let Admission::Probe(first) = breaker.admit(now) else { panic!("a probe") };
    assert!(is_rejected(&breaker, now), "one probe at a time");
    assert_eq!(breaker.record(first, now, Outcome::Success), None);
    let Admission::Probe(second) = breaker.admit(now) else { panic!("another probe") };
    assert_eq!(breaker.record(second, now, Outcome::Success), Some(Transition::Closed));
    assert!(matches!(breaker.admit(now), Admission::Allowed(_)));
}

#[test]
fn a_cancelled_probe_gives_its_place_back() {
    let breaker = opened(ms(0));
    for _ in 0..10 {
        let Admission::Probe(probe) = breaker.admit(ms(500)) else { panic!("a probe") };
        drop(probe);
    }
    let Admission::Probe(probe) = breaker.admit(ms(500)) else { panic!("a probe") };
    assert_eq!(breaker.record(probe, ms(500), Outcome::Ignored), None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(matches!(breaker.admit(ms(500)), Admission::Probe(_)));
}

#[test]
fn the_delay_doubles_up_to_its_cap_and_starts_afresh_when_the_node_was_well_for_long() {
    let breaker = breaker();
    let mut now = ms(60_000);
    let Some(Transition::Opened { mut until }) = breaker.open(now) else { panic!("opened") };
    let mut delays = Vec::new();
    for _ in 0..7 {
        delays.push(until.since(now).as_millis());
        now = until;
        let Some(Transition::Opened { until: next }) = call(&breaker, now, Outcome::Failure) else { panic!("opened") };
        until = next;
    }
    assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    // Back, and gone again after a second: still on thin ice. Back for a minute: forgiven.
    let again = |now: Moment| {
        assert_eq!(
            [call(&breaker, now, Outcome::Success), call(&breaker, now, Outcome::Success)].last(),
            Some(&Some(Transition::Closed))
        );
    };
    again(until);
    let now = until.after(Duration::from_secs(1));
    assert_eq!(breaker.open(now), Some(Transition::Opened { until: now.after(Duration::from_secs(10)) }));
    let now = now.after(Duration::from_secs(10));
    again(now);
    let now = now.after(Duration::from_secs(60));
    assert_eq!(breaker.open(now), Some(Transition::Opened { until: now.after(Duration::from_millis(500)) }));
}

#[test]
fn what_was_admitted_before_a_change_counts_no_more() {
    let breaker = breaker();
    let stragglers: Vec<_> = (0..50).map(|_| ticket(&breaker, ms(0))).collect();
    breaker.open(ms(1));
    breaker.close(ms(2));
    for (i, straggler) in (3_u64..).zip(stragglers) {
        assert_eq!(breaker.record(straggler, ms(i), Outcome::Failure), None);
    }
    // Nor is it held against the next generation, in a row or in the window: three more failures are three.
    for i in 0..3 {
        assert_eq!(call(&breaker, ms(100 + i * 20), Outcome::Failure), None);
    }
    assert!(breaker.is_closed());
}

#[test]
fn a_straggler_of_an_earlier_half_open_spell_frees_no_place_in_this_one() {
    let breaker = opened(ms(0));
    let old = ticket(&breaker, ms(500));
    breaker.close(ms(501));
    breaker.open(ms(502));
    let _current = ticket(&breaker, ms(1_502));
    drop(old);
    assert!(is_rejected(&breaker, ms(1_502)));
}

#[test]
fn closing_by_hand_resets_it() {
    let breaker = opened(ms(0));
    assert!(is_rejected(&breaker, ms(1)));
    assert_eq!(breaker.close(ms(1)), Some(Transition::Closed));
    assert_eq!(breaker.close(ms(1)), None);
    assert_eq!(breaker.open(ms(2)), Some(Transition::Opened { until: ms(502) }), "the delay starts afresh, too");
    assert_eq!(breaker.open(ms(3)), None, "and is not drawn out");
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Record(usize, Outcome),
    Drop(usize),
    Wait(u64),
    Open,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure),
        Just(Outcome::Failure),
        Just(Outcome::Slow),
        Just(Outcome::Ignored)
    ];
    prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<prop::sample::Index>(), outcome).prop_map(|(i, outcome)| Step::Record(i.index(64), outcome)),
        2 => any::<prop::sample::Index>().prop_map(|i| Step::Drop(i.index(64))),
        4 => (0_u64..3_000_000).prop_map(Step::Wait),
        1 => Just(Step::Open),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_probes_are_few_old_tickets_are_mute_and_it_comes_back(
        probes in 1_u32..4,
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let options = BreakerOptions { probes, ..BreakerOptions::default() };
        let breaker = Breaker::new(&options);
        let mut now = Moment::START;
        let mut tickets: Vec<(Ticket, bool)> = Vec::new();
        let generation = |breaker: &Breaker| breaker.shared.lock().generation;
        for step in steps {
            match step {
                Step::Admit => match breaker.admit(now) {
                    Admission::Allowed(ticket) => tickets.push((ticket, false)),
                    Admission::Probe(ticket) => tickets.push((ticket, true)),
                    Admission::Rejected { .. } => prop_assert!(!breaker.is_closed()),
                },
                Step::Record(i, outcome) if !tickets.is_empty() => {
                    let (ticket, _) = tickets.swap_remove(i % tickets.len());
                    let (before, is_old) = (breaker.state(), ticket.generation != generation(&breaker));
                    let changed = breaker.record(ticket, now, outcome);
                    prop_assert!(!is_old || changed.is_none() && breaker.state() == before);
                }
                Step::Drop(i) if !tickets.is_empty() => drop(tickets.swap_remove(i % tickets.len())),
                Step::Record(..) | Step::Drop(_) => {}
                Step::Wait(micros) => now = now.after(Duration::from_micros(micros)),
                Step::Open => drop(breaker.open(now)),
                Step::Close => drop(breaker.close(now)),
            }
            let current = generation(&breaker);
            let out = tickets.iter().filter(|(ticket, is_probe)| *is_probe && ticket.generation == current).count();
            prop_assert!(out <= probes as usize, "{} probes out", out);
        }
        // Once the calls in flight are over and the longest delay has passed, a call gets through.
        drop(tickets);
        now = now.after(options.open_max);
        prop_assert!(!is_rejected(&breaker, now));
    }
}

const PROBES: u32 = 3;

/// Four threads that call as fast as they can and disagree about the time, as threads may. Answers the breaker, and the
/// most probes that were out at once.
fn hammered(probe_outcome: impl Fn(&mut Rng) -> Outcome + Sync) -> (Breaker, u32) {
    let short = Duration::from_millis(1);
    let options = BreakerOptions { probes: PROBES, open: short, open_max: short, ..BreakerOptions::default() };
    let breaker = Breaker::new(&options);
    let (out, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let hammer = |seed| {
        let mut rng = Rng::new(seed);
        for i in 0..30_000_u64 {
            let now = Moment::from_micros(i * 100 + rng.below(300));
            match breaker.admit(now) {
                Admission::Allowed(ticket) => {
                    let outcome = if rng.below(3) == 0 { Outcome::Success } else { Outcome::Failure };
                    breaker.record(ticket, now, outcome);
                }
                Admission::Probe(probe) => {
                    most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    out.fetch_sub(1, Ordering::SeqCst);
                    breaker.record(probe, now, probe_outcome(&mut rng));
                }
                Admission::Rejected { .. } => {}
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || hammer(seed)))));
    (breaker, most.into_inner())
}

/// The places that are free long after everything has ended.
fn free_places(breaker: &Breaker) -> usize {
    let later = Moment::from_micros(u64::from(u32::MAX));
    let places = std::iter::from_fn(|| match breaker.admit(later) {
        Admission::Probe(probe) => Some(probe),
        Admission::Allowed(_) | Admission::Rejected { .. } => None,
    });
    places.take(10).collect::<Vec<_>>().len()
}

#[test]
fn threads_never_exceed_the_probes() {
    // Every probe is cancelled, so that all are of one spell.
    let (breaker, most) = hammered(|_| Outcome::Ignored);
    assert!((1..=PROBES).contains(&most), "{most} probes at once");
    assert_eq!(free_places(&breaker), PROBES as usize);
}

#[test]
fn threads_that_open_and_close_it_leak_no_place() {
    let (breaker, _) = hammered(|rng| if rng.below(4) == 0 { Outcome::Failure } else { Outcome::Success });
    breaker.open(ms(4_000));
    assert_eq!(free_places(&breaker), PROBES as usize);
    breaker.close(ms(4_000));
    assert!(matches!(breaker.admit(ms(4_000)), Admission::Allowed(_)));
}
