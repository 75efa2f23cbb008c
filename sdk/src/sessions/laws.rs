//! The laws of tokens, their text, and what a session does with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use archipelago_engine::{Incarnation, Origin, RegionId, Standing, Version};

use super::{
    Session, SessionKind, TokenError,
    position::Position,
    session::Demand,
    source::{KeyspaceId, Source, SourceId},
    sources::{MAX_SOURCES, Partition, Sources},
    token::{DataSet, Found, MAX_MARKS, MAX_PLACES, Mark, Token},
};

const SET: DataSet = DataSet(7);

fn mark(id: u64, offset: u64) -> Mark {
    Mark { id, offset }
}

fn primary(id: u64, offset: u64, before: Option<Mark>) -> Position {
    Position { is_primary: true, mark: mark(id, offset), before }
}

/// Few data sets, histories and offsets, so that they meet.
fn marks() -> impl Strategy<Value = Vec<(u32, Mark)>> {
    prop::collection::vec((0..3_u32, (1..6_u64, 0..8_u64)).prop_map(|(set, (id, at))| (set, mark(id, at))), 0..8)
}

fn token() -> impl Strategy<Value = Token> {
    (marks(), prop::collection::vec(0..3_u32, 0..2), 0..3_u32).prop_map(|(marks, doubts, tagged_until)| {
        let mut token = Token { tagged_until, ..Token::default() };
        for (set, mark) in marks {
            token.settle(DataSet(set), None, &primary(mark.id, mark.offset, None));
        }
        doubts.into_iter().for_each(|set| token.doubt(DataSet(set)));
        token
    })
}

/// Tokens that overflow, too, and those of both planes.
fn wide() -> impl Strategy<Value = Token> {
    let sets = prop::collection::vec(any::<u32>(), 0..MAX_PLACES);
    (token(), sets, sources(), any::<bool>()).prop_map(|(mut token, sets, sources, is_of_both)| {
        sets.into_iter().for_each(|set| token.doubt(DataSet(set)));
        if is_of_both {
            token.sources = sources;
        }
        token
    })
}

const KEYSPACE: KeyspaceId = KeyspaceId([1, 2, 3]);

fn region(number: u8) -> RegionId {
    format!("region-{number}").parse().unwrap()
}

fn origin(number: u8, incarnation: u64) -> Origin {
    Origin::new(region(number), Incarnation::new(incarnation << 40))
}

fn partition(number: u16) -> Partition {
    Partition { keyspace: KEYSPACE, number, of: 1024 }
}

fn version(number: u64) -> Version {
    Version::from_micros(number)
}

/// Something that happens to a session on the active-active plane.
#[derive(Clone, Debug)]
enum Learnt {
    Sight(u16, Origin, Version),
    Doubt(u16, u8),
    Settled(u16, u8),
}

/// Few regions, partitions, incarnations and versions, so that they meet.
fn sources() -> impl Strategy<Value = Sources> {
    let learnt = prop_oneof![
        4 => (0..20_u16, 0..3_u8, 0..3_u64, 1..8_u64)
            .prop_map(|(at, number, incarnation, to)| Learnt::Sight(at, origin(number, incarnation), version(to))),
        1 => (0..20_u16, 0..3_u8).prop_map(|(at, number)| Learnt::Doubt(at, number)),
        1 => (0..20_u16, 0..3_u8).prop_map(|(at, number)| Learnt::Settled(at, number)),
    ];
    prop::collection::vec(learnt, 0..8).prop_map(|all| {
        let mut sources = Sources::default();
        for learnt in all {
            match learnt {
                Learnt::Sight(at, origin, version) => sources.raise(partition(at), &origin, version),
                Learnt::Doubt(at, number) => sources.doubt(SourceId::of(KEYSPACE, &region(number)), at),
                Learnt::Settled(at, number) => sources.settle(SourceId::of(KEYSPACE, &region(number)), partition(at)),
            }
        }
        sources
    })
}

/// Where a region may stand.
fn standing() -> impl Strategy<Value = Standing> {
    let held = prop::collection::btree_map((0..3_u8, 0..3_u64), 0..9_u64, 0..9);
    (0..3_u8, 0..3_u64, 0..9_u64, held, prop::collection::btree_map(0..3_u8, 0..3_u64, 0..3)).prop_map(
        |(number, incarnation, last, held, peers)| Standing {
            origin: origin(number, incarnation),
            last: version(last),
            applied: held.into_iter().map(|((number, i), to)| (origin(number, i), version(to))).collect(),
            seen: std::collections::BTreeMap::new(),
            peers: peers.into_iter().map(|(number, i)| (region(number), Incarnation::new(i << 40))).collect(),
            epoch: 1,
            now: version(9),
        },
    )
}

fn lacks(sources: &Sources, at: u16, standing: &Standing) -> bool {
    !sources.lack(partition(at), &[], &[standing]).is_empty()
}

fn position() -> impl Strategy<Value = Position> {
    let before = prop::option::of((1..6_u64, 0..8_u64).prop_map(|(id, at)| mark(id, at)));
    (1..6_u64, 0..8_u64, before).prop_map(|(id, offset, before)| primary(id, offset, before))
}

fn merged(a: &Token, b: &Token) -> Token {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

fn covers(position: &Position, token: &Token, set: DataSet) -> bool {
    !token.is_doubtful && token.place(set).is_none_or(|place| place.is_covered_by(position))
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_idempotent(a in wide(), b in wide(), c in wide()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn whoever_has_what_a_merged_token_asks_for_has_what_each_asked_for(
        a in wide(), b in wide(), at in position(), set in 0..3_u32,
    ) {
        let set = DataSet(set);
        if covers(&at, &merged(&a, &b), set) {
            prop_assert!(covers(&at, &a, set) && covers(&at, &b, set));
        }
    }

    #[test]
    fn a_token_comes_back_from_its_text(mut token in wide()) {
        // What a text has no room for is written as a bound.
        token.sources.list = token.sources.list.iter().map(Source::as_written).collect();
        let text = token.encode();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(Token::decode(&text), Ok(token));
    }

    #[test]
    fn a_region_that_has_what_a_merged_token_asks_for_has_what_each_asked_for(
        a in sources(), b in sources(), at in 0..20_u16, standing in standing(),
    ) {
        let mut both = a.clone();
        both.merge(&b);
        if !lacks(&both, at, &standing) {
            prop_assert!(!lacks(&a, at, &standing) && !lacks(&b, at, &standing));
        }
    }

    #[test]
    fn a_text_asks_for_no_less(sources in sources(), at in 0..20_u16, standing in standing()) {
        let text = Token { sources: sources.clone(), ..Token::default() }.encode();
        let read = Token::decode(&text).unwrap().sources;
        // A bound says nothing of incarnations, so that what was lost of an older one it cannot tell: its own region, and
        // one that has come so far, are taken at their word.
        let has_bound = read.list.iter().any(|source| source.bound.is_some());
        if !has_bound && lacks(&sources, at, &standing) {
            prop_assert!(lacks(&read, at, &standing));
        }
        prop_assert!(!sources.seeks(partition(at)) || read.seeks(partition(at)));
    }

    #[test]
    fn what_was_told_is_asked_for_until_it_is_there(
        sources in sources(), at in 0..20_u16, number in 0..3_u8, incarnation in 0..3_u64, to in 1..8_u64,
        standing in standing(),
    ) {
        let mut more = sources;
        more.raise(partition(at), &origin(number, incarnation), version(to));
        if !lacks(&more, at, &standing) {
            prop_assert!(standing.held(&origin(number, incarnation)) >= version(to));
        }
    }

    #[test]
    fn damage_is_noticed_and_nothing_panics(token in token(), at: prop::sample::Index, byte in 0..128_u8, cut: bool) {
        let mut text = token.encode().into_bytes();
        let at = at.index(text.len());
        let changed = text[at] != byte;
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        let read = Token::decode(std::str::from_utf8(&text).unwrap());
        prop_assert!(read.is_err() || !changed && !cut);
    }

    #[test]
    fn no_text_panics(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200), is_of_both: bool) {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let _ = Token::decode(&text);
        // With a true checksum, so that the reader behind it is met.
        let mut forged = bytes;
        forged.insert(0, 1 + u8::from(is_of_both));
        let sum = xxhash_rust::xxh3::xxh3_64(&forged).to_be_bytes();
        forged.extend(&sum[4..]);
        let text = URL_SAFE_NO_PAD.encode(&forged);
        if let Ok(token) = Token::decode(&text) {
            prop_assert_eq!(token.encode(), text, "one token has one text");
            prop_assert!(token.places.len() <= MAX_PLACES);
            prop_assert!(token.places.iter().all(|place| place.marks.len() <= MAX_MARKS));
            prop_assert!(token.sources.list.len() <= MAX_SOURCES);
        }
    }
}

fn seen_by(marks: &[(u32, Mark)]) -> Token {
    let mut token = Token::default();
    for (set, mark) in marks {
        token.settle(DataSet(*set), None, &primary(mark.id, mark.offset, None));
    }
    token
}

#[test]
fn these_texts_are_read_for_ever() {
    let one = seen_by(&[(0x0102_0304, mark(0x1122_3344_5566_7788, 1_000_000))]);
    let mut all = seen_by(&[(1, mark(1, 0)), (1, mark(u64::MAX, u64::MAX)), (2, mark(2, 127))]);
    (all.tagged_until, all.is_doubtful) = (1_900_000_000, true);
    all.doubt(DataSet(2));
    let tokens = [Token::default(), one, all];
    let texts = [
        "AQDOcnbA",
        "AQABAgMEAREiM0RVZneIwIQ9vjMtZw",
        "AYFxP7MAAAAAAQIAAAAAAAAAAQD______________________wEAAAACgQAAAAAAAAACfyBkRQc",
    ];
    assert_eq!(tokens.each_ref().map(Token::encode), texts);
    assert_eq!(texts.map(|text| Token::decode(text).unwrap()), tokens);
}

#[test]
fn these_texts_of_both_planes_are_read_for_ever() {
    let now = 1_790_000_000_000_000;
    let mut sights = Sources::default();
    sights.raise(partition(3), &origin(1, 0xaa_bbcc), version(now));
    sights.raise(partition(300), &origin(1, 0xaa_bbcc), version(now - 1_000_000));
    sights.raise(partition(3), &origin(2, 7), Version::MAX);
    let mut bounds = Sources { is_doubtful: true, ..Sources::default() };
    bounds.doubt(SourceId::of(KEYSPACE, &region(1)), 17);
    bounds.doubt(SourceId::of(KEYSPACE, &region(2)), 5);
    let routed = seen_by(&[(0x0102_0304, mark(0x1122_3344_5566_7788, 1_000_000))]);
    let tokens = [
        Token { sources: sights.clone(), ..Token::default() },
        Token { sources: bounds, ..Token::default() },
        Token { sources: sights, ..routed },
    ];
    let texts = [
        "AgAAAQIDuxmKAgZb_tol4AADqrvMAKwCqrvMwIQ9AQID2mj4AR________8DAAAHAOP8TOs",
        "AgIAAQIDuxmKgB________8AAgECA9po-IAf________ACCM42XU",
        "AgABAQIDBAERIjNEVWZ3iMCEPQECA7sZigIGW_7aJeAAA6q7zACsAqq7zMCEPQECA9po-AEf________AwAABwAMrnqr",
    ];
    assert_eq!(tokens.each_ref().map(Token::encode), texts);
    assert_eq!(texts.map(|text| Token::decode(text).unwrap()), tokens);
}

#[test]
fn a_text_of_the_active_active_plane_has_room_for_three_partitions_and_then_for_a_bound() {
    let day = 86_400_000_000;
    let seen = |partitions: u16| {
        let mut sources = Sources::default();
        (0..partitions).for_each(|n| {
            sources.raise(
                partition(n * 8),
                &origin(1, u64::from(n)),
                version(Version::MAX.as_micros() - u64::from(n) * day),
            );
        });
        Token { sources, ..Token::default() }
    };
    for partitions in 1..100 {
        let text = seen(partitions).encode();
        assert!(text.len() < 64, "{partitions}: {}", text.len());
        let read = Token::decode(&text).unwrap();
        assert_eq!(read == seen(partitions), partitions <= 3, "{partitions}: {read:?}");
    }
}

#[test]
fn sources_without_room_leave_a_doubt_and_sights_without_room_a_bound() {
    let mut many = Sources::default();
    (0..40).for_each(|number| many.raise(partition(0), &origin(number, 1), version(1)));
    assert!(many.is_doubtful && many.list.len() == MAX_SOURCES);
    let members = [SourceId::of(KEYSPACE, &region(99))];
    let stands = Standing {
        origin: origin(99, 1),
        last: version(1),
        applied: (0..40).map(|number| (origin(number, 1), version(1))).collect(),
        seen: std::collections::BTreeMap::new(),
        peers: std::collections::BTreeMap::new(),
        epoch: 1,
        now: version(1),
    };
    assert_eq!(many.lack(partition(0), &members, &[&stands]).vague, members);

    let mut deep = Sources::default();
    (0..1000).for_each(|at| deep.raise(partition(at), &origin(1, 1), version(u64::from(at) + 1)));
    assert!(deep.list[0].bound.is_some() && deep.list[0].sights.len() < 1000);
    assert!((0..1000).all(|at| deep.seeks(partition(at))));
}

#[test]
fn a_doubt_is_over_when_its_region_has_said_what_there_is() {
    let id = SourceId::of(KEYSPACE, &region(1));
    let stands = Standing {
        origin: origin(1, 1),
        last: version(7),
        applied: std::collections::BTreeMap::new(),
        seen: std::collections::BTreeMap::new(),
        peers: std::collections::BTreeMap::new(),
        epoch: 1,
        now: version(9),
    };
    for of in [16, 1024] {
        let at = |number| Partition { of, ..partition(number) };
        let mut sources = Sources::default();
        sources.doubt(id, 3);
        let doubted = sources.clone();
        sources.learn(at(4), &stands, true);
        assert!(sources.seeks(at(3)), "of another partition it has said nothing");
        sources.learn(at(3), &stands, false);
        assert!(sources.list[0].bound.as_ref().unwrap().counts_in(3), "a younger doubt");
        sources.learn(at(3), &stands, true);
        let is_over = sources.list[0].bound.as_ref().is_none_or(|bound| !bound.counts_in(3));
        assert!(is_over && sources.seeks(at(3)), "it is known now: what is there up to version 7");
        assert_eq!(sources.list[0].bound.is_none(), of == 16, "a bit of 16 partitions stands for one");
        sources.doubt(id, 3);
        assert!(sources.list[0].bound.as_ref().unwrap().counts_in(3), "another one");
        sources.merge(&doubted);
        assert!(sources.list[0].bound.as_ref().unwrap().counts_in(3));
    }
}

#[test]
fn a_version_of_another_incarnation_does_not_pass_for_what_was_seen() {
    let mut seen = Sources::default();
    seen.raise(partition(0), &origin(1, 1), version(100));
    let mut stands = Standing {
        origin: origin(1, 2),
        last: version(500),
        applied: std::collections::BTreeMap::new(),
        seen: std::collections::BTreeMap::from([(origin(1, 1), version(100))]),
        peers: std::collections::BTreeMap::new(),
        epoch: 1,
        now: version(500),
    };
    assert!(lacks(&seen, 0, &stands), "restarted empty, and some of it came back by a push");
    stands.applied.insert(origin(1, 1), version(99));
    assert!(lacks(&seen, 0, &stands));
    stands.applied.insert(origin(1, 1), version(100));
    assert!(!lacks(&seen, 0, &stands), "a resync brought it all back");
}

#[test]
fn tokens_stay_small() {
    let far = |id| mark(id, u64::MAX);
    assert!(seen_by(&[(1, far(1))]).encode().len() < 64);
    let three: Vec<_> = (0..3).flat_map(|set| (1..9).map(move |id| (set, far(id)))).collect();
    assert!(seen_by(&three).encode().len() < 300, "with every history that there is room for");
    let many: Vec<_> = (0..99).flat_map(|set| (1..9).map(move |id| (set, far(id)))).collect();
    let (most, text) = (seen_by(&many), seen_by(&many).encode());
    assert!(most.is_doubtful && Token::decode(&text) == Ok(most));
    assert_eq!(Token::decode(&"A".repeat(3000)), Err(TokenError::TooLong));
}

#[test]
fn a_newer_version_says_so() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let sum = xxhash_rust::xxh3::xxh3_64(&[9]).to_be_bytes();
    let text = URL_SAFE_NO_PAD.encode([9, sum[4], sum[5], sum[6], sum[7]]);
    assert_eq!(Token::decode(&text), Err(TokenError::Version(9)));
}

#[test]
fn a_write_without_an_answer_leaves_a_doubt_that_the_next_answer_ends() {
    let session = Session::new();
    assert_eq!(session.demand(SET), Demand::Nothing);
    drop(session.write(SET, SessionKind::Token));
    assert_eq!(session.demand(SET), Demand::Primary);
    let resumed = Session::from_token(&session.token()).unwrap();
    assert_eq!(resumed.demand(SET), Demand::Primary, "the doubt travels");
    assert_eq!(session.write(SET, SessionKind::Token).landed(&primary(1, 10, None)), Found::Whole);
    assert_eq!(session.demand(SET), Demand::Cover);
}

#[test]
fn an_answer_does_not_end_a_doubt_that_is_younger_than_its_question() {
    let session = Session::new();
    let earlier = session.write(SET, SessionKind::Token);
    drop(session.write(SET, SessionKind::Token));
    earlier.landed(&primary(1, 10, None));
    assert_eq!(session.demand(SET), Demand::Primary);
}

#[test]
fn a_late_answer_undoes_nothing_that_a_newer_one_said() {
    let session = Session::new();
    let late = session.write(SET, SessionKind::Token);
    session.write(SET, SessionKind::Token).landed(&primary(2, 950, Some(mark(1, 901))));
    assert_eq!(late.landed(&primary(1, 100, None)), Found::Whole);
    let has = |position| session.before(SET).place.unwrap().is_covered_by(&position);
    assert!(!has(primary(1, 100, None)), "the newer write is still asked for");
    assert!(has(primary(2, 950, Some(mark(1, 901)))));
}

#[test]
fn what_is_lost_is_said_once_and_asked_for_no_more() {
    let session = Session::new();
    session.write(SET, SessionKind::Token).landed(&primary(1, 1000, None));
    let promoted = primary(2, 1005, Some(mark(1, 901)));
    assert_eq!(session.settle(&session.before(SET), &promoted), Found::Lost);
    assert_eq!(session.settle(&session.before(SET), &promoted), Found::Whole);
    assert!(session.before(SET).place.unwrap().is_covered_by(&promoted));
}

#[test]
fn a_tag_sends_reads_to_the_writer_for_its_time_here_and_in_the_next_process() {
    let began = Instant::now();
    let session = Session::builder().tag_for(Duration::from_secs(5)).build();
    drop(session.write(SET, SessionKind::Tag));
    let resumed = Session::from_token(&session.token()).unwrap();
    // The text counts whole seconds, rounded up.
    let over = Instant::now() + Duration::from_secs(8);
    for session in [session, resumed] {
        assert_eq!(session.demand_at(began + Duration::from_millis(4900), SET), Demand::Primary);
        assert_eq!(session.demand_at(over, SET), Demand::Nothing);
        assert!(session.token().len() < 64);
    }
}

#[test]
fn a_forged_tag_lasts_no_longer_than_a_true_one() {
    let forged = Token { tagged_until: u32::MAX, ..Token::default() }.encode();
    let session = Session::from_token(&forged).unwrap();
    assert_eq!(session.demand(SET), Demand::Primary);
    assert_eq!(session.demand_at(Instant::now() + Duration::from_secs(5), SET), Demand::Nothing);
}
