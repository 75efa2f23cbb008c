//! The bytes of format 1, as files: what regions store and send today has to be read by every later build.
//!
//! A failure here means that the format changed. That takes a new format number and a reader for the old one, not new
//! golden files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use archipelago_engine::{
    Assign, Base, Body, Cell, Cells, Delta, Entry, EntryId, Field, Key, Kind, Origin, Total, Vector, Version, codec,
};
use bytes::Bytes;

const ID: u64 = 1_790_000_000_123_456;

fn v(offset: i64) -> Version {
    Version::from_micros(ID.saturating_add_signed(offset))
}

fn own() -> Origin {
    "eu-west-1/0123456789abcdef".parse().unwrap()
}

fn other() -> Origin {
    "us-east-1/fedcba9876543210".parse().unwrap()
}

/// Every register once, and observations alone.
fn cells() -> Cells {
    let full = Cell {
        assign: Some(Assign { version: v(1), payload: Bytes::from_static(b"caf\xc3\xa9\0") }),
        retracted: v(0),
        total: Some(Total { version: v(2), number: -2.5, since: v(-1_000_000) }),
        base: Some(Base { version: v(-500), number: 4.0 }),
    };
    let observed = Cell { retracted: v(-7), base: Some(Base { version: v(-9), number: 0.1 }), ..Cell::default() };
    [(own(), full), (other(), observed)].into_iter().collect()
}

fn delta() -> Delta {
    let mut delta = Delta::new(Key::new(Kind::Hash, "profile"));
    delta.fields.insert(Field::Member(Bytes::from_static(b"name")), cells());
    let mut expiry = Cell::default();
    expiry.assign(v(3), Bytes::from_static(b"1790000600000"));
    delta.fields.insert(Field::Expiry, [(own(), expiry)].into_iter().collect());
    delta
}

fn entry(body: Body) -> Entry {
    Entry { number: 0x0102_0304, version: v(0), span: 4, body }
}

fn vector() -> Body {
    let applied: Vector = [(own(), v(-1)), (other(), v(-2))].into_iter().collect();
    Body::Vector { opening: 1_780_000_000_000_001, applied }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

fn check(name: &str, golden: &str, encoded: &[u8]) {
    assert_eq!(encoded, from_hex(golden), "{name} of format 1 has other bytes now:\n{}", to_hex(encoded));
}

#[test]
fn stored_cells_have_the_bytes_of_format_1() {
    let golden = include_str!("golden/stored.hex");
    check("a stored value", golden, &codec::encode_stored(42, &cells()));
    assert_eq!(codec::decode_stored(&from_hex(golden)), Ok((42, cells())));
}

#[test]
fn a_delta_has_the_bytes_of_format_1() {
    let golden = include_str!("golden/delta.hex");
    check("a delta", golden, &codec::encode_delta(&delta()));
    assert_eq!(codec::decode_delta(&from_hex(golden)), Ok(delta()));
}

#[test]
fn a_feed_has_the_bytes_of_format_1() {
    let id = EntryId { millis: 1_790_000_000_123, sequence: 0x0203_04dd_ee00_1122 };
    let mut delta = Delta::new(Key::new(Kind::Feed, "room:7"));
    let mut cell = Cell::default();
    cell.assign(v(0), Bytes::from_static(b"\"hello\""));
    delta.fields.insert(Field::Member(id.to_bytes()), [(own(), cell)].into_iter().collect());
    let golden = include_str!("golden/feed_delta.hex");
    check("a feed's delta", golden, &codec::encode_delta(&delta));
    assert_eq!(codec::decode_delta(&from_hex(golden)), Ok(delta));
}

#[test]
fn a_data_entry_has_the_bytes_of_format_1_with_its_own_versions_as_offsets() {
    let golden = include_str!("golden/data_entry.hex");
    let entry = entry(Body::Data(delta()));
    check("a data entry", golden, &codec::encode_entry(&own(), &entry));
    assert_eq!(codec::decode_entry(&own(), v(0), &from_hex(golden)), Ok(entry));
    // The same bytes under another id mean other versions of the entry's own, and the same old ones.
    let moved = codec::decode_entry(&own(), v(10), &from_hex(golden)).unwrap();
    let Body::Data(moved) = moved.body else { panic!("no data") };
    let cell = moved.fields[&Field::Member(Bytes::from_static(b"name"))].get(&own()).unwrap().clone();
    assert_eq!(cell.assign.unwrap().version, v(11));
    assert_eq!(cell.total.unwrap().since, v(-1_000_000));
}

#[test]
fn a_vector_entry_has_the_bytes_of_format_1() {
    let golden = include_str!("golden/vector_entry.hex");
    check("a vector entry", golden, &codec::encode_entry(&own(), &entry(vector())));
    assert_eq!(codec::decode_entry(&own(), v(0), &from_hex(golden)), Ok(entry(vector())));
}
