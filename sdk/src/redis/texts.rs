//! The small texts of the meta hash, of stream ids and of fields set aside: written by the scripts or by this client.

use std::collections::BTreeMap;

use archipelago_engine::{Cursor, Incarnation, Mark, Origin, Record, RegionId, ResyncPlan, Vector, Version};
use bytes::Bytes;

use crate::store::StoreError;

/// Reads `INCARNATION OPENING HISTORY`.
pub(super) fn parse_record(text: &str) -> Option<Record> {
    let mut parts = text.splitn(3, ' ');
    Some(Record {
        incarnation: parts.next()?.parse().ok()?,
        opening: parts.next()?.parse().ok()?,
        history: parts.next()?.to_owned(),
    })
}

/// `INCARNATION NUMBER ID`.
pub(super) fn parse_cursor(text: &str) -> Option<Cursor> {
    let mut parts = text.split(' ');
    Some(Cursor {
        incarnation: parts.next()?.parse().ok()?,
        number: parts.next()?.parse().ok()?,
        id: Version::from_micros(parts.next()?.parse().ok()?),
    })
}

pub(super) fn aside_field(field: &Bytes) -> Option<(Origin, Version)> {
    let (origin, id) = std::str::from_utf8(field).ok()?.rsplit_once(' ')?;
    Some((origin.parse().ok()?, Version::from_micros(id.parse().ok()?)))
}

/// The stream id of a version: milliseconds, and the rest of the microseconds as sequence.
pub(super) fn stream_id(version: Version) -> String {
    format!("{}-{}", version.as_micros() / 1000, version.as_micros() % 1000)
}

/// Reads what [`stream_id`] writes.
pub(super) fn version_of(id: &str) -> Result<Version, StoreError> {
    id.split_once('-')
        .and_then(|(ms, seq)| ms.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(seq.parse().ok()?))
        .map(Version::from_micros)
        .ok_or_else(|| StoreError::Protocol(format!("stream id {id:?}")))
}

/// A vector as text: `REGION/INCARNATION VERSION`, separated by commas.
pub(super) fn encode_vector(vector: &Vector) -> String {
    vector.iter().map(|(origin, version)| format!("{origin} {version}")).collect::<Vec<_>>().join(",")
}

/// Reads what [`encode_vector`] writes.
pub(super) fn decode_vector(text: &str) -> Option<Vector> {
    let entry = |entry: &str| {
        let (origin, version) = entry.split_once(' ')?;
        Some((origin.parse().ok()?, Version::from_micros(version.parse().ok()?)))
    };
    listed(text).map(entry).collect()
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|entry| !entry.is_empty())
}

/// The current incarnations of regions: `REGION INCARNATION OPENING`, separated by commas.
fn encode_known(known: &BTreeMap<RegionId, (Incarnation, u64)>) -> String {
    let entries = known.iter().map(|(region, (incarnation, opening))| format!("{region} {incarnation} {opening}"));
    entries.collect::<Vec<_>>().join(",")
}

fn decode_known(text: &str) -> Option<BTreeMap<RegionId, (Incarnation, u64)>> {
    let entry = |entry: &str| {
        let mut parts = entry.split(' ');
        let region = parts.next()?.parse().ok()?;
        Some((region, (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))
    };
    listed(text).map(entry).collect()
}

/// Reads `NUMBER|VECTOR`, which the scripts write.
pub(super) fn decode_mark(text: &str) -> Option<Mark> {
    let (number, seen) = text.split_once('|')?;
    Some(Mark { number: number.parse().ok()?, seen: decode_vector(seen)? })
}

/// A plan as one line of text.
pub(super) fn encode_plan(plan: &ResyncPlan) -> String {
    let ResyncPlan { sender, opening, epoch, number, id, vector, above, known, aside } = plan;
    let aside: Vec<String> = aside.iter().map(Origin::to_string).collect();
    let (vector, known, aside) = (encode_vector(vector), encode_known(known), aside.join(","));
    format!("{sender}|{opening}|{epoch}|{number}|{id}|{above}|{vector}|{known}|{aside}")
}

/// Reads what [`encode_plan`] writes.
pub(super) fn decode_plan(text: &str) -> Option<ResyncPlan> {
    let mut parts = text.splitn(9, '|');
    Some(ResyncPlan {
        sender: parts.next()?.parse().ok()?,
        opening: parts.next()?.parse().ok()?,
        epoch: parts.next()?.parse().ok()?,
        number: parts.next()?.parse().ok()?,
        id: Version::from_micros(parts.next()?.parse().ok()?),
        above: parts.next()?.parse().ok()?,
        vector: decode_vector(parts.next()?)?,
        known: decode_known(parts.next()?)?,
        aside: listed(parts.next()?).map(|origin| origin.parse().ok()).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn plans_and_vectors_read_back() {
        let sender: Origin = "eu-west-1/00000000000000ff".parse().unwrap();
        let vector = Vector::from([
            (sender.clone(), Version::from_micros(7)),
            ("a/0000000000000001".parse().unwrap(), Version::MAX),
        ]);
        for vector in [vector, Vector::new()] {
            let (number, id) = (5, Version::from_micros(6));
            let plan = ResyncPlan {
                sender: sender.clone(),
                opening: 1,
                epoch: 2,
                number,
                id,
                vector,
                above: 3,
                known: BTreeMap::from([("us".parse().unwrap(), (Incarnation::new(9), 10))]),
                aside: [sender.clone()].into(),
            };
            assert_eq!(decode_plan(&encode_plan(&plan)), Some(plan));
        }
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for text in ["", "x", "1|2|3|4|5|6|7", "eu/00000000000000ff|1|2|3|4|5|eu/1 2"] {
            assert_eq!(decode_plan(text), None, "{text}");
        }
        assert!(parse_record("").is_none() && parse_cursor("1 2 3").is_none() && version_of("1").is_err());
        assert_eq!(
            version_of(&stream_id(Version::from_micros(1_790_000_000_000_999))).unwrap().as_micros(),
            1_790_000_000_000_999
        );
    }
}
