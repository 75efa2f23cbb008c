//! The laws of tokens, their text, and what a session does with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    Session, SessionKind, TokenError,
    position::Position,
    session::Demand,
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

/// Tokens that overflow, too.
fn wide() -> impl Strategy<Value = Token> {
    (token(), prop::collection::vec(any::<u32>(), 0..MAX_PLACES)).prop_map(|(mut token, sets)| {
        sets.into_iter().for_each(|set| token.doubt(DataSet(set)));
        token
    })
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
    fn a_token_comes_back_from_its_text(token in wide()) {
        let text = token.encode();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(Token::decode(&text), Ok(token));
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
    fn no_text_panics(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let _ = Token::decode(&text);
        // With a true checksum, so that the reader behind it is met.
        let mut forged = bytes;
        forged.insert(0, 1);
        let sum = xxhash_rust::xxh3::xxh3_64(&forged).to_be_bytes();
        forged.extend(&sum[4..]);
        let text = URL_SAFE_NO_PAD.encode(&forged);
        if let Ok(token) = Token::decode(&text) {
            prop_assert_eq!(token.encode(), text, "one token has one text");
            prop_assert!(token.places.len() <= MAX_PLACES);
            prop_assert!(token.places.iter().all(|place| place.marks.len() <= MAX_MARKS));
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
fn tokens_stay_small() {
    let far = |id| mark(id, u64::MAX);
    assert!(seen_by(&[(1, far(1))]).encode().len() < 64);
    let three: Vec<_> = (0..3).flat_map(|set| (1..9).map(move |id| (set, far(id)))).collect();
    assert!(seen_by(&three).encode().len() < 300, "with every history that there is room for");
    let many: Vec<_> = (0..99).flat_map(|set| (1..9).map(move |id| (set, far(id)))).collect();
    let (most, text) = (seen_by(&many), seen_by(&many).encode());
    assert!(most.is_doubtful && Token::decode(&text) == Ok(most));
    assert_eq!(Token::decode(&"A".repeat(2000)), Err(TokenError::TooLong));
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
