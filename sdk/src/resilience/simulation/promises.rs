//! What is promised, and that breaking it is noticed.

use std::time::Duration;

use super::{
    client::{Bug, Report, Setup, run},
    world::{Fault, World},
};
use crate::resilience::{Moment, ResilienceOptions};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A client in steady traffic; `fault` strikes after `warm_up` and lasts.
fn setup(seed: u64, rate: u64, fault: Fault, warm_up: Duration) -> Setup {
    // At any point between two calls of a slow client.
    let from = Moment::START.after(warm_up + Duration::from_micros(seed * 7_919 % 100_000));
    let world = World { fault, from, until: Moment::from_micros(u64::MAX), jitter: ms(40), slow: ms(400) };
    let length = warm_up + ms(2_000);
    Setup { seed, world, options: ResilienceOptions::default(), bug: Bug::None, rate, is_sequential: false, length }
}

/// The promises that a run breaks. Collected, so that planted bugs can be seen to break them.
fn broken_promises(setup: &Setup, report: &Report) -> Vec<String> {
    let from = setup.world.from;
    let mut broken = Vec::new();
    let failed = report.done.iter().filter(|call| !call.is_answered).count();
    if failed > 0 {
        broken.push(format!("{failed} reads failed"));
    }
    let late = report.allowed_on_first.iter().filter(|at| at.since(from) > ms(1_000)).count();
    if late > 0 {
        broken.push(format!("{late} calls to the dead node after a second"));
    }
    let early = report.opened.iter().filter(|(node, at)| *node == 1 || *at < from).count();
    if early > 0 {
        broken.push(format!("{early} false failovers: {:?}", report.opened));
    }
    broken
}

fn p99(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() * 99 / 100).copied().unwrap_or_default()
}

/// Runs these seeds; the first read after the fault and every read after it recover within `bound`.
fn check_recovery(seeds: std::ops::Range<u64>, bound: Duration, make: impl Fn(u64) -> Setup) {
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for seed in seeds {
        let setup = make(seed);
        let report = run(&setup);
        assert_eq!(broken_promises(&setup, &report), [""; 0], "seed {seed}: {setup:?}");
        let mut after: Vec<_> = report.done.iter().filter(|call| call.begun >= setup.world.from).collect();
        after.sort_by_key(|call| call.begun);
        first.extend(after.first().map(|call| call.excess));
        all.extend(after.iter().map(|call| call.excess));
    }
    let (first, all) = (p99(first), p99(all));
    println!("p99 beyond one round trip: first read {first:?}, all reads {all:?}");
    assert!(first <= bound && all <= bound, "first read {first:?}, all reads {all:?}, promised {bound:?}");
}

#[test]
fn a_read_survives_a_killed_region_within_50_ms() {
    check_recovery(0..1_000, ms(50), |seed| setup(seed, 10, Fault::Kill, ms(5_000)));
    check_recovery(0..1_000, ms(50), |seed| sequential(setup(seed, 10, Fault::Kill, ms(5_000))));
    check_recovery(0..15, ms(50), |seed| setup(seed, 5_000, Fault::Kill, ms(500)));
}

#[test]
fn a_read_survives_a_paused_region_within_300_ms() {
    check_recovery(0..1_000, ms(300), |seed| setup(seed, 10, Fault::Pause, ms(5_000)));
    check_recovery(0..1_000, ms(300), |seed| sequential(setup(seed, 10, Fault::Pause, ms(5_000))));
    check_recovery(0..15, ms(300), |seed| setup(seed, 5_000, Fault::Pause, ms(500)));
}

#[test]
fn a_client_that_starts_during_an_outage_is_no_worse_off() {
    for fault in [Fault::Kill, Fault::Pause] {
        check_recovery(0..500, ms(300), |seed| setup(seed, 10, fault, ms(0)));
        check_recovery(0..5, ms(300), |seed| setup(seed, 5_000, fault, ms(0)));
    }
}

fn sequential(setup: Setup) -> Setup {
    Setup { is_sequential: true, ..setup }
}

/// Jitter and slow calls, nothing else.
fn calm(seed: u64, rate: u64, length: Duration) -> Setup {
    let setup = setup(seed, rate, Fault::None, ms(0));
    let never = Moment::from_micros(u64::MAX);
    Setup { length, world: World { from: never, ..setup.world }, ..setup }
}

#[test]
fn ten_minutes_of_jitter_and_slow_calls_are_no_outage() {
    let minutes = Duration::from_secs(600);
    for seed in 0..40 {
        for setup in [calm(seed, 10, minutes), sequential(calm(seed, 10, minutes))] {
            let report = run(&setup);
            assert_eq!(broken_promises(&setup, &report), [""; 0], "seed {seed}");
        }
    }
}

#[test]
fn ten_minutes_of_jitter_and_slow_calls_are_no_outage_for_a_busy_client() {
    let setup = calm(1, 5_000, Duration::from_secs(600));
    let report = run(&setup);
    assert_eq!(broken_promises(&setup, &report), [""; 0]);
    let (calls, extra) = (report.done.len() as u64, report.attempts - report.done.len() as u64);
    assert!(extra < calls / 50, "about one in a hundred is asked again, not {extra} of {calls}");
}

#[test]
fn a_region_that_is_back_is_used_again() {
    for seed in 0..200 {
        let mut setup = setup(seed, 10, if seed % 2 == 0 { Fault::Kill } else { Fault::Pause }, ms(2_000));
        setup.world.until = setup.world.from.after(ms(30_000));
        setup.world.slow = ms(40); // a slow probe would be one more round
        setup.length = ms(60_000);
        let report = run(&setup);
        let back = report.closed.iter().find(|(node, at)| *node == 0 && *at > setup.world.until);
        let waited = back.map(|(_, at)| at.since(setup.world.until));
        assert!(waited.is_some_and(|waited| waited < ms(11_000)), "seed {seed}: {waited:?}");
    }
}

/// A node of which a third of the answers is late: not dead, and not to be made worse by retries.
fn brown_out(seed: u64) -> Setup {
    let setup = setup(seed, 1_000, Fault::BrownOut(30), ms(1_000));
    Setup { length: ms(20_000), ..setup }
}

fn extra_load(report: &Report) -> f64 {
    (report.attempts as f64 - report.done.len() as f64) / report.done.len() as f64
}

#[test]
fn retries_add_little_load_to_a_region_that_is_slow() {
    for seed in 0..5 {
        let report = run(&brown_out(seed));
        // The capacity (1,000) and the reserve (10 a second) are 6 % of these 20,000 calls, the share 10 %.
        let extra = extra_load(&report);
        assert!(extra < 0.17, "seed {seed}: {extra}");
    }
}

/// How many of these runs break a promise.
fn caught(seeds: u64, make: impl Fn(u64) -> Setup) -> usize {
    (0..seeds).map(make).filter(|setup| !broken_promises(setup, &run(setup)).is_empty()).count()
}

#[test]
fn planted_bugs_break_the_promises() {
    let paused = |seed| setup(seed, 10, Fault::Pause, ms(5_000));
    let forgiving = |seed| Setup { bug: Bug::ForgivesTimeouts, ..paused(seed) };
    assert_eq!(caught(20, forgiving), 20, "timeouts are the only sign of a pause");

    let mut slow_to_open = paused(0).options;
    slow_to_open.breaker.consecutive_failures = 20;
    let patient = |seed| Setup { options: slow_to_open.clone(), ..paused(seed) };
    assert_eq!(caught(20, patient), 20, "at ten calls a second there is no rate to go by");

    let mut hasty = paused(0).options;
    hasty.breaker.consecutive_failures = 2;
    let nervous = |seed| sequential(Setup { options: hasty.clone(), ..calm(seed, 10, Duration::from_secs(600)) });
    assert!(caught(50, nervous) > 10, "two slow calls in a row are no outage");

    // Fewer tokens than calls in flight.
    let mut poor = paused(0).options;
    poor.budget.capacity = 300;
    let busy = |seed| Setup { options: poor.clone(), ..setup(seed, 5_000, Fault::Pause, ms(500)) };
    assert_eq!(caught(3, busy), 0, "stranded calls need no token");
    let stranded = |seed| Setup { bug: Bug::StrandedPay, ..busy(seed) };
    assert_eq!(caught(3, stranded), 3, "all in flight need a failover at once");
}

#[test]
fn a_planted_retry_storm_is_seen() {
    let storm = Setup { bug: Bug::IgnoresBudget, ..brown_out(1) };
    assert!(extra_load(&run(&storm)) > 0.25);
}

#[test]
#[should_panic(expected = "calls to the dead node after a second")]
fn a_planted_patience_that_grows_in_an_outage_is_seen() {
    check_recovery(0..50, ms(300), |seed| Setup {
        bug: Bug::LearnsFromTimeouts,
        ..setup(seed, 10, Fault::Pause, ms(0))
    });
}
