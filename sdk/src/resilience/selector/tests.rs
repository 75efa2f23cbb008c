//! The selector's promises, by example and on random worlds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use proptest::prelude::*;

use super::*;

const fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

/// Health as `H` (healthy) or `-`, one letter for each region; weights 3, 2, 1, latencies 10 ms.
fn world(text: &str) -> Vec<RegionHealth> {
    let one = |(i, letter)| RegionHealth {
        is_healthy: letter == 'H',
        latency: Duration::from_millis(10),
        weight: 3 - u32::try_from(i).unwrap(),
    };
    text.chars().enumerate().map(one).collect()
}

fn started(text: &str) -> Selector {
    let mut selector = Selector::new(&SelectorOptions::default(), text.len());
    selector.observe(at(0), &world(text));
    selector
}

/// Observes the same world once a second; the first switch and when.
fn run(selector: &mut Selector, seconds: std::ops::Range<u64>, text: &str) -> Option<(u64, Switch)> {
    seconds.into_iter().find_map(|s| selector.observe(at(s), &world(text)).map(|switch| (s, switch)))
}

#[test]
fn it_starts_with_the_heaviest_healthy_region_and_a_majority_is_not_needed() {
    let mut selector = Selector::new(&SelectorOptions::default(), 3);
    assert_eq!(selector.observe(at(0), &world("---")), None);
    assert_eq!((selector.active(), selector.next_try()), (None, Some(at(1))));
    let switch = selector.observe(at(1), &world("--H")).unwrap();
    assert_eq!(switch, Switch { from: None, to: 2, reason: Reason::Startup });
    assert_eq!(selector.next_try(), None);
}

#[test]
fn latency_decides_between_equals_and_moves_nothing_that_is_settled() {
    let health = |latency| RegionHealth { is_healthy: true, latency: Duration::from_millis(latency), weight: 1 };
    let mut selector = Selector::new(&SelectorOptions::default(), 2);
    assert_eq!(selector.observe(at(0), &[health(20), health(10)]).unwrap().to, 1);
    for s in 1..1_000 {
        assert_eq!(selector.observe(at(s), &[health(1), health(500)]), None);
    }
}

#[test]
fn an_unhealthy_region_is_left_at_once_and_returned_to_with_hesitation() {
    let mut selector = started("HHH");
    let left = selector.observe(at(1), &world("-HH")).unwrap();
    assert_eq!(left, Switch { from: Some(0), to: 1, reason: Reason::Unhealthy });
    // Healthy again at once: it waits for its grace and the cooldown, 30 s.
    let (when, back) = run(&mut selector, 2..100, "HHH").unwrap();
    assert_eq!((when, back), (31, Switch { from: Some(1), to: 0, reason: Reason::Failback }));
    // Away for long: it waits until it has been healthy for 10 s.
    selector.observe(at(40), &world("-HH"));
    assert_eq!(run(&mut selector, 41..200, "-HH"), None);
    assert_eq!(run(&mut selector, 200..300, "HHH").unwrap().0, 210);
}

#[test]
fn a_region_that_comes_and_goes_is_not_returned_to() {
    let mut selector = started("HHH");
    selector.observe(at(1), &world("-HH"));
    for s in 2..1_000 {
        let text = if s % 9 == 0 { "-HH" } else { "HHH" };
        assert_eq!(selector.observe(at(s), &world(text)), None, "at {s}");
    }
}

#[test]
fn grace_yields_when_nobody_else_is_left() {
    let mut selector = started("HH");
    selector.observe(at(1), &world("-H"));
    let back = selector.observe(at(2), &world("H-")).unwrap();
    assert_eq!(back, Switch { from: Some(1), to: 0, reason: Reason::Unhealthy });
}

#[test]
fn when_all_are_down_the_active_one_stays_and_it_never_gives_up() {
    let mut selector = started("HHH");
    assert_eq!(run(&mut selector, 1..1_000, "---"), None);
    assert_eq!((selector.active(), selector.next_try()), (Some(0), Some(at(1_000))));
    assert_eq!(selector.observe(at(1_000), &world("--H")).unwrap().to, 2);
}

#[test]
fn a_choice_by_hand_is_checked_and_outlives_an_outage_until_it_is_released() {
    let mut selector = started("HH-");
    assert_eq!(selector.switch_to(at(1), 2), Err(Refusal::Unhealthy));
    assert_eq!(selector.switch_to(at(1), 3), Err(Refusal::Unknown(3)));
    let manual = selector.switch_to(at(1), 1).unwrap().unwrap();
    assert_eq!(manual, Switch { from: Some(0), to: 1, reason: Reason::Manual });
    assert_eq!(run(&mut selector, 2..500, "HHH"), None, "the heavier region does not win it back");
    assert_eq!(selector.observe(at(500), &world("H-H")).unwrap().reason, Reason::Unhealthy);
    let (_, back) = run(&mut selector, 501..600, "HHH").unwrap();
    assert_eq!(back, Switch { from: Some(0), to: 1, reason: Reason::Failback });
    let released = selector.release(at(600)).unwrap();
    assert_eq!(released, Switch { from: Some(1), to: 0, reason: Reason::Released });
    assert_eq!(selector.release(at(601)), None);
}

#[test]
fn force_asks_nobody_ends_in_time_and_keeps_nobody_out() {
    let mut selector = started("HH-");
    let forced = selector.force(at(1), 2, Duration::from_secs(60)).unwrap().unwrap();
    assert_eq!(forced, Switch { from: Some(0), to: 2, reason: Reason::Forced });
    assert_eq!(selector.switch_to(at(2), 1), Err(Refusal::Forced(2)));
    assert_eq!(run(&mut selector, 2..61, "HH-"), None, "although unhealthy");
    let expired = selector.observe(at(61), &world("HH-")).unwrap();
    assert_eq!(expired, Switch { from: Some(2), to: 0, reason: Reason::ForceExpired });
    assert_eq!(selector.force(at(70), 9, Duration::ZERO), Err(Refusal::Unknown(9)));
}

#[test]
fn a_force_over_a_choice_by_hand_gives_way_to_it() {
    let mut selector = started("HHH");
    selector.switch_to(at(1), 1).unwrap();
    selector.force(at(2), 2, Duration::from_secs(10)).unwrap();
    let expired = selector.observe(at(12), &world("HHH")).unwrap();
    assert_eq!(expired, Switch { from: Some(2), to: 1, reason: Reason::ForceExpired });
}

/// Seconds until the next round, and the health of three regions.
fn rounds() -> impl Strategy<Value = Vec<(u64, [bool; 3])>> {
    prop::collection::vec((0_u64..20, prop::array::uniform3(any::<bool>())), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_moves_only_for_a_reason_and_back_no_more_often_than_allowed(rounds in rounds()) {
        // Longer than the cooldown, so that each is seen to do its part.
        let options = SelectorOptions { grace: Duration::from_secs(60), ..SelectorOptions::default() };
        let mut selector = Selector::new(&options, 3);
        let (mut now, mut changed, mut left) = (0, at(0), [None; 3]);
        for (wait, healthy) in rounds {
            now += wait;
            let mut health = world("---");
            health.iter_mut().zip(healthy).for_each(|(health, is_healthy)| health.is_healthy = is_healthy);
            let before = selector.active();
            let switch = selector.observe(at(now), &health);
            prop_assert_eq!(selector.active(), switch.map_or(before, |switch| Some(switch.to)));
            // Never on an unhealthy region while there is a healthy one.
            let is_any = healthy.contains(&true);
            prop_assert!(!is_any || healthy[selector.active().unwrap()]);
            prop_assert_eq!(selector.next_try().is_some(), !is_any);
            let Some(switch) = switch else { continue };
            prop_assert_ne!(switch.from, Some(switch.to));
            match switch.reason {
                Reason::Startup => prop_assert!(switch.from.is_none()),
                Reason::Unhealthy => {
                    let from = switch.from.unwrap();
                    prop_assert!(!healthy[from]);
                    // Not to a region in its grace, unless no other is healthy.
                    let is_out = |i: usize| left[i].is_none_or(|left| at(now).since(left) >= options.grace);
                    prop_assert!(is_out(switch.to) || (0..3).all(|i| !healthy[i] || !is_out(i)));
                    left[from] = Some(at(now));
                }
                Reason::Failback => {
                    prop_assert!(at(now).since(changed) >= options.cooldown);
                    prop_assert!(left[switch.to].is_none_or(|left| at(now).since(left) >= options.grace));
                    prop_assert!(health[switch.to].weight > health[switch.from.unwrap()].weight);
                }
                other => prop_assert!(false, "nobody asked for {:?}", other),
            }
            changed = at(now);
        }
    }
}
