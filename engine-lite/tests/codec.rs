//! The codec on random values and on random, cut and changed bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use archipelago_engine::{
    Assign, Base, Body, Cell, Cells, Delta, Entry, Field, Incarnation, Key, Kind, Origin, RegionId, Total, Vector,
    Version,
    codec::{self, DecodeError},
    number,
    position::{Maker, between},
};
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

const ID: u64 = 1_790_000_000_000_000;

fn version() -> impl Strategy<Value = Version> {
    let near = (ID - 3..ID + 3).prop_map(Version::from_micros);
    let any = (Version::FLOOR.as_micros()..=Version::MAX.as_micros()).prop_map(Version::from_micros);
    prop_oneof![near, any]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<i32>().prop_map(f64::from), any::<f64>().prop_filter("not NaN", |n| !n.is_nan())]
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn cell() -> impl Strategy<Value = Cell> {
    let assign = option::of((version(), bytes(20)).prop_map(|(version, payload)| Assign { version, payload }));
    let total = option::of((version(), double(), version()).prop_map(|(version, number, since)| Total {
        version,
        number,
        since,
    }));
    let base = option::of((version(), double()).prop_map(|(version, number)| Base { version, number }));
    let cell = (assign, option::of(version()), total, base).prop_map(|(assign, retracted, total, base)| {
        let mut cell = Cell { assign, retracted: retracted.unwrap_or_default(), total, base };
        cell.join(&Cell::default());
        cell
    });
    cell.prop_filter("says something", |cell| !cell.is_empty())
}

fn origin() -> impl Strategy<Value = Origin> {
    let region = select(vec!["a".to_owned(), "eu-west-1".to_owned(), "r".repeat(RegionId::MAX_LEN)]);
    (region, 0_u64..3).prop_map(|(region, i)| Origin::new(region.parse().unwrap(), Incarnation::new(i)))
}

fn own() -> Origin {
    Origin::new("a".parse().unwrap(), Incarnation::new(0))
}

fn cells() -> impl Strategy<Value = Cells> {
    vec((origin(), cell()), 0..4).prop_map(|cells| cells.into_iter().collect())
}

/// Members of lists are positions.
fn member_of(kind: Kind, field: Field) -> Field {
    match (kind, field) {
        (Kind::List, Field::Member(seed)) => {
            let number = seed.iter().fold(0, |n, byte| n << 6 | u64::from(*byte));
            let maker = Maker { incarnation: Incarnation::new(number), number: number % (1 << 48) };
            Field::Member(between(None, None, 1, maker).remove(0))
        }
        (Kind::Stream | Kind::Feed, Field::Member(seed)) => {
            Field::Member([seed, vec![0; 16].into()].concat()[..16].to_vec().into())
        }
        (_, field) => field,
    }
}

fn delta() -> impl Strategy<Value = Delta> {
    let field = prop_oneof![bytes(8).prop_map(Field::Member), Just(Field::Expiry)];
    let fields = vec((field, cells()), 0..4).prop_map(|fields| fields.into_iter().collect());
    (select(Kind::ALL.to_vec()), bytes(8), fields).prop_map(|(kind, name, fields): (_, _, BTreeMap<Field, Cells>)| {
        Delta {
            key: Key::new(kind, name),
            fields: fields.into_iter().map(|(field, cells)| (member_of(kind, field), cells)).collect(),
        }
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let vector = vec((origin(), version()), 0..4).prop_map(|v| v.into_iter().collect::<Vector>());
    let body = prop_oneof![
        delta().prop_map(Body::Data),
        (0_u64..1 << 56, vector).prop_map(|(opening, applied)| Body::Vector { opening, applied }),
    ];
    (0_u64..1 << 48, 1_u32..100, body).prop_map(|(number, span, body)| Entry {
        number,
        version: Version::from_micros(ID),
        span,
        body,
    })
}

/// Whatever decodes says the same when it is written and read again.
fn decodes_without_panic(bytes: &[u8]) {
    if let Ok((stamp, cells)) = codec::decode_stored(bytes) {
        assert_eq!(codec::decode_stored(&codec::encode_stored(stamp, &cells)), Ok((stamp, cells)));
    }
    if let Ok(delta) = codec::decode_delta(bytes) {
        assert_eq!(codec::decode_delta(&codec::encode_delta(&delta)), Ok(delta));
    }
    let id = Version::from_micros(ID);
    if let Ok(entry) = codec::decode_entry(&own(), id, bytes) {
        assert_eq!(codec::decode_entry(&own(), id, &codec::encode_entry(&own(), &entry)), Ok(entry));
    }
    for id in [Version::ZERO, Version::MAX] {
        let _ = codec::decode_entry(&own(), id, bytes);
    }
    let _ = codec::peek_number(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stored_cells_read_back(stamp in 0_u64..1 << 48, cells in cells()) {
        prop_assert_eq!(codec::decode_stored(&codec::encode_stored(stamp, &cells)), Ok((stamp, cells)));
    }

    #[test]
    fn deltas_read_back(delta in delta()) {
        prop_assert_eq!(codec::decode_delta(&codec::encode_delta(&delta)), Ok(delta));
    }

    #[test]
    fn a_delta_begins_with_its_head(delta in delta()) {
        let encoded = codec::encode_delta(&delta);
        prop_assert!(encoded.starts_with(&codec::encode_delta_head(&delta.key, None)));
        let fields: Vec<_> = delta.fields.keys().collect();
        if let [Field::Member(member)] = fields.as_slice() {
            prop_assert!(encoded.starts_with(&codec::encode_delta_head(&delta.key, Some(member))));
        }
    }

    #[test]
    fn entries_read_back_and_tell_their_number(entry in entry()) {
        let bytes = codec::encode_entry(&own(), &entry);
        prop_assert_eq!(codec::peek_number(&bytes), Some(entry.number));
        prop_assert_eq!(codec::decode_entry(&own(), entry.version, &bytes), Ok(entry));
    }

    #[test]
    fn arbitrary_bytes_decode_or_are_refused(mut bytes in vec(any::<u8>(), 0..200), tagged in any::<bool>()) {
        if tagged && bytes.len() > 1 {
            bytes[0] = codec::FORMAT;
            bytes[1] = if bytes[1] % 2 == 0 { b'D' } else { b'V' };
        }
        decodes_without_panic(&bytes);
    }

    #[test]
    fn changed_bytes_decode_or_are_refused(entry in entry(), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()) {
        let stored = match &entry.body {
            Body::Data(delta) => delta.fields.values().next().map(|cells| codec::encode_stored(7, cells)),
            Body::Vector { .. } => None,
        };
        let delta = match &entry.body {
            Body::Data(delta) => Some(codec::encode_delta(delta)),
            Body::Vector { .. } => None,
        };
        for mut bytes in [Some(codec::encode_entry(&own(), &entry)), stored, delta].into_iter().flatten() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            decodes_without_panic(&bytes);
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut.index(bytes.len()));
            decodes_without_panic(&bytes);
        }
    }

    #[test]
    fn a_number_shows_in_plain_digits_and_reads_back(n in double()) {
        prop_assume!(n.is_finite());
        let shown = number::show(n);
        prop_assert!(shown.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.'), "{}", shown);
        prop_assert_eq!(number::parse(shown.as_bytes()), Some(n), "{}", shown);
        prop_assert!(!shown.contains('.') || !shown.ends_with('0'), "{}", shown);
        prop_assert_eq!(number::is_integer(shown.as_bytes()), n.fract() == 0.0 && shown.parse::<i64>().is_ok());
    }

    #[test]
    fn texts_are_numbers_or_not_without_panic(text in vec(select(b"0123456789+-.eEinfx ".to_vec()), 0..24)) {
        if let Some(n) = number::parse(&text) {
            prop_assert_eq!(number::parse(number::show(n).as_bytes()), Some(n));
        }
        if number::is_integer(&text) {
            prop_assert!(number::parse(&text).is_some());
        }
    }
}

#[test]
fn a_short_message_cannot_ask_for_much_memory() {
    let mut bytes = codec::encode_delta(&Delta::new(Key::new(Kind::Set, "k")));
    let count = bytes.len() - 4;
    bytes[count..].fill(0xff); // four billion fields
    assert_eq!(codec::decode_delta(&bytes), Err(DecodeError::Truncated));
    bytes[1..5].fill(0xff); // a name of four gigabytes
    assert_eq!(codec::decode_delta(&bytes), Err(DecodeError::TooLong));
    assert_eq!(codec::decode_stored(&[2, 0, 0, 0, 0, 0, 0]), Err(DecodeError::Format(2)));
}

#[test]
fn an_entry_of_a_later_format_tells_its_number() {
    let entry = Entry {
        number: 77,
        version: Version::from_micros(ID),
        span: 1,
        body: Body::Vector { opening: 1, applied: Vector::new() },
    };
    let mut bytes = codec::encode_entry(&own(), &entry);
    bytes[0] = 2;
    assert_eq!(codec::decode_entry(&own(), entry.version, &bytes), Err(DecodeError::Format(2)));
    assert_eq!(codec::peek_number(&bytes), Some(77));
}

#[test]
fn a_dead_payload_that_another_writer_kept_is_dropped_on_reading() {
    let version = Version::from_micros(ID);
    let assign = Some(Assign { version, payload: Bytes::from_static(b"dead") });
    let cells: Cells = [(own(), Cell { assign, retracted: version, ..Cell::default() })].into_iter().collect();
    let (_, read) = codec::decode_stored(&codec::encode_stored(0, &cells)).unwrap();
    assert_eq!(read.get(&own()).unwrap().assign.as_ref().unwrap().payload, Bytes::new());
}
