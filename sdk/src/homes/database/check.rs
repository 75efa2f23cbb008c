//! Whether a file can be used, all of it, before it is.

use std::collections::HashSet;

use bytes::Bytes;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::{DatabaseError, record::Record};

/// A reader of contents that are whole, and about places.
///
/// Not by the reader's own `verify`: it refuses databases that everybody uses, for lack of a description.
pub(super) fn checked(bytes: Bytes) -> Result<Reader<Bytes>, DatabaseError> {
    let broken = |error: MaxMindDbError| DatabaseError::Broken(error.to_string());
    let reader = Reader::from_source(bytes).map_err(broken)?;
    match has_places(&reader).map_err(broken)? {
        true => Ok(reader),
        false => Err(DatabaseError::NoPlaces { kind: reader.metadata().database_type.clone() }),
    }
}

/// Whether any record names a place, after each has been decoded.
fn has_places(reader: &Reader<Bytes>) -> Result<bool, MaxMindDbError> {
    // A tree of n nodes has at most n + 1 leaves, and those for IPv4 may be met under other prefixes, too.
    let most = (reader.metadata().node_count as usize).saturating_mul(3);
    // Many networks share a record.
    let (mut seen, mut has_places) = (HashSet::new(), false);
    // Networks without data are counted, or a tree that is a maze could take forever between two with data.
    let all = WithinOptions::default().include_networks_without_data();
    for (number, network) in reader.networks(all)?.enumerate() {
        let network = network?;
        if number > most {
            return Err(MaxMindDbError::invalid_database("the search tree has more networks than nodes allow"));
        }
        if network.offset().is_some_and(|offset| seen.insert(offset)) {
            has_places |= network.decode::<Record<'_>>()?.is_some_and(|record| !record.place().is_unknown());
        }
    }
    Ok(has_places)
}
