//! Readers of feeds with a cursor, at regions that lose data, over links that gap, pushes and resyncs: every entry that is
//! there in the end was given to each of them.
//!
//! A failure prints its seed. `FEED_SEEDS=first..last` runs a longer campaign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use archipelago_engine::{
    Append, Arrived, EntryId, Expiry, Incarnation, Keep, Key, Kind, Mutation, Outcome, Partition, Place, Push, Since,
};
use support::{By, Readers, World, v};

fn random_world(seed: u64, by: By) -> World {
    let mut world = World::new(seed, 3);
    world.lossless = seed.is_multiple_of(2);
    world.readers = Readers::new(by);
    for _ in 0..2 {
        for _ in 0..100 {
            world.step_with_faults();
        }
        world.heal();
    }
    world
}

fn campaign(by: By) -> (u64, u64) {
    let (mut delivered, mut restarts) = (0, 0);
    for seed in support::seeds("FEED_SEEDS", 0..150) {
        support::named(seed, || {
            let readers = random_world(seed, by).readers;
            (delivered, restarts) = (delivered + readers.delivered, restarts + readers.restarts);
        });
    }
    println!("{delivered} entries delivered, {restarts} restarts");
    (delivered, restarts)
}

#[test]
fn a_reader_with_a_cursor_is_given_every_entry_whatever_is_lost_late_or_repeated() {
    let (delivered, restarts) = campaign(By::Place);
    assert!(delivered > 0 && restarts > 0);
}

/// Proof that the check bites.
#[test]
#[should_panic(expected = "was never given entry")]
fn a_cursor_by_id_misses_what_arrives_late() {
    campaign(By::Id);
}

/// The same: numbers are given again after a loss.
#[test]
#[should_panic(expected = "was never given entry")]
fn a_cursor_without_its_line_misses_what_comes_after_a_loss() {
    campaign(By::Number);
}

const HERE: &str = "server";

/// A region that takes writes.
fn open(region: &str, incarnation: u64) -> Partition {
    let mut partition = Partition::new(region.parse().unwrap());
    partition.open(HERE, Incarnation::new(incarnation), 0, v(0));
    partition
}

fn room() -> Key {
    Key::new(Kind::Feed, "room")
}

fn append(at: &mut Partition, micros: u64, keep: Option<Keep>) -> EntryId {
    let append = Append { id: None, payload: "x".into(), existing: false, keep };
    match at.mutate(HERE, v(micros), &room(), &Mutation::Append(append)).unwrap() {
        Outcome::Appended(Some(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn read(at: &Partition, micros: u64, since: Since) -> Arrived {
    at.arrived(HERE, v(micros), &room(), since, 10).unwrap()
}

fn ids(arrived: &Arrived) -> Vec<EntryId> {
    arrived.entries.iter().map(|(id, _)| *id).collect()
}

/// Everything that `from` holds, past its log: joins that share one number of the receiver's log.
fn push(from: &Partition, to: &mut Partition, now: u64) -> Push {
    if !to.sync_state().applied.contains_key(&from.origin().unwrap()) {
        resync(&mut from.clone(), to, now);
    }
    let state = from.key(&room()).unwrap();
    let fields = state.fields.iter().map(|(field, stamped)| (field.clone(), stamped.cells.clone())).collect();
    let push = from.standing(HERE, v(now)).unwrap().push(vec![archipelago_engine::Delta { key: room(), fields }]);
    to.push(HERE, &push).unwrap();
    push
}

fn resync(from: &mut Partition, to: &mut Partition, now: u64) {
    let plan = from.begin_resync(HERE, v(now), None).unwrap();
    to.start_resync(HERE, &plan).unwrap();
    let slice = from.walk(HERE, &plan, &bytes::Bytes::new(), 10).unwrap();
    to.apply_slice(HERE, &plan, &slice).unwrap();
    let end = from.walk(HERE, &plan, &slice.last.unwrap_or_default(), 10).unwrap();
    to.apply_slice(HERE, &plan, &end).unwrap();
    to.complete_resync(HERE, &plan).unwrap();
}

// Both are joined at one number of the log here, and the later one has the lower id.
#[test]
fn what_arrives_late_comes_behind_what_was_read_also_within_one_number_of_the_log() {
    let (mut a, mut b, mut c) = (open("a", 1), open("b", 2), open("c", 3));
    let old = append(&mut b, 1_000, None);
    let young = append(&mut c, 9_000_000, None);
    let number = a.sync_state().number;
    push(&c, &mut a, 9_100_000);
    let first = read(&a, 9_200_000, Since::Start);
    assert_eq!(ids(&first), [young]);
    push(&b, &mut a, 9_300_000);
    let second = read(&a, 9_400_000, Since::Place(first.place));
    assert_eq!(ids(&second), [old], "an older entry, and it came later");
    assert_eq!(a.sync_state().number, number, "no step took a number of the log");
    assert_eq!(ids(&read(&a, 9_400_000, Since::Place(second.place))), []);
    assert_eq!(ids(&read(&a, 9_400_000, Since::Start)), [young, old]);
}

#[test]
fn a_cursor_behind_everything_is_given_what_comes_from_then_on() {
    let mut a = open("a", 1);
    append(&mut a, 1_000, None);
    let now = read(&a, 2_000, Since::Now);
    assert_eq!((ids(&now), now.restarted), (vec![], false));
    let next = append(&mut a, 3_000, None);
    assert_eq!(ids(&read(&a, 4_000, Since::Place(now.place))), [next]);
}

#[test]
fn a_place_in_an_expired_feed_stays_until_the_feed_is_cleared_or_lives_longer() {
    let mut a = open("a", 1);
    let first = append(&mut a, 1_000, None);
    a.mutate(HERE, v(2_000), &room(), &Mutation::Expire(Expiry::In(10))).unwrap();
    let (mut b, begun) = (open("b", 2), read(&a, 3_000, Since::Start));
    assert_eq!(ids(&begun), [first]);
    let second = append(&mut a, 4_000, None);
    push(&a, &mut b, 4_500);
    let hidden = read(&a, 50_000, Since::Place(begun.place));
    assert_eq!((ids(&hidden), hidden.place), (vec![], begun.place), "past its expiry there is nothing to see");
    // Region b extends it before it is over there, by a clock that is behind.
    b.mutate(HERE, v(9_000), &room(), &Mutation::Expire(Expiry::In(60_000))).unwrap();
    push(&b, &mut a, 60_000);
    assert_eq!(ids(&read(&a, 61_000, Since::Place(hidden.place))), [second]);
    // Over, and written again: what was there is gone.
    let third = append(&mut a, 100_000_000, None);
    assert_eq!(ids(&read(&a, 100_001_000, Since::Place(begun.place))), [third]);
}

#[test]
fn what_was_evicted_is_not_given_and_a_feed_that_comes_back_goes_on_behind_what_was_there() {
    let mut a = open("a", 1);
    for n in 0..5 {
        append(&mut a, 1_000 * n, Some(Keep::Newest(2)));
    }
    let two = read(&a, 9_000, Since::Start);
    assert_eq!(two.entries.len(), 2);
    a.mutate(HERE, v(10_000), &room(), &Mutation::Clear { previous: false }).unwrap();
    while a.collect(HERE, v(11_000), &[], 10).unwrap().cells > 0 {}
    assert!(a.key(&room()).is_none(), "nothing is left of it");
    let next = append(&mut a, 12_000, None);
    assert_eq!(ids(&read(&a, 13_000, Since::Place(two.place))), [next]);
}

#[test]
fn a_place_of_another_line_and_one_that_was_never_reached_start_over_and_say_so() {
    let mut a = open("a", 1);
    let entry = append(&mut a, 1_000, None);
    let end = read(&a, 2_000, Since::Start).place;
    let forged = Place { number: end.number + 1, ..end };
    let foreign = Place { line: Incarnation::new(9), ..end };
    for place in [forged, foreign] {
        let again = read(&a, 3_000, Since::Place(place));
        assert_eq!((ids(&again), again.restarted, again.place), (vec![entry], true, end));
    }
    let mut kept = a.clone();
    kept.open_without_loss("restarted", Incarnation::new(4), 0, v(4_000));
    let on = kept.arrived("restarted", v(5_000), &room(), Since::Place(end), 10).unwrap();
    assert_eq!((on.entries.len(), on.restarted), (0, false), "nothing was lost");
    a.open("restarted", Incarnation::new(4), 0, v(4_000));
    let over = a.arrived("restarted", v(5_000), &room(), Since::Place(end), 10).unwrap();
    assert_eq!((ids(&over), over.restarted), (vec![entry], true));
    assert!(a.arrived(HERE, v(5_000), &room(), Since::Start, 10).is_err(), "a server that was left behind");
}
