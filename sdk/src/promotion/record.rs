//! The topology record: an epoch, and who writes for the regions that were moved.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// Where each copy is.
pub(crate) const KEY: &str = "archipelago:topology";

/// The version of the format, the record's first byte.
const VERSION: &str = "1";

/// The longest record that is read: more than the largest topology needs.
const LONGEST: usize = 64 * 1024;

/// The highest epoch: what the servers' scripts count exactly.
const LAST_EPOCH: u64 = 1 << 53;

/// An epoch, and the node that writes for each region that was moved; the others are as configured.
///
/// On the wire: version, epoch, and a JSON object, separated by blanks: `1 3 {"us":"us/replica-1@eu"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) epoch: u64,
    /// Node names by region.
    pub(crate) writers: BTreeMap<String, String>,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it is of another version: is this client older than the others?")]
    Version,
    #[error("it is malformed")]
    Malformed,
}

impl Record {
    /// The same with another writer for a region, one epoch later.
    pub(crate) fn moved(&self, region: &str, writer: &str) -> Self {
        let mut next = Self { epoch: self.epoch + 1, ..self.clone() };
        next.writers.insert(region.to_owned(), writer.to_owned());
        next
    }

    pub(crate) fn encode(&self) -> String {
        let writers: serde_json::Map<_, _> =
            self.writers.iter().map(|(region, node)| (region.clone(), node.clone().into())).collect();
        format!("{VERSION} {} {}", self.epoch, serde_json::Value::Object(writers))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > LONGEST {
            return Err(RecordError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed)?;
        let mut parts = text.splitn(3, ' ');
        if parts.next() != Some(VERSION) {
            return Err(RecordError::Version);
        }
        let epoch = parts.next().and_then(|epoch| epoch.parse().ok()).filter(|epoch| (1..LAST_EPOCH).contains(epoch));
        let writers = parts.next().and_then(|writers| serde_json::from_str(writers).ok());
        match (epoch, writers) {
            (Some(epoch), Some(writers)) => Ok(Self { epoch, writers }),
            (None, _) | (_, None) => Err(RecordError::Malformed),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_the_committed_ones() {
        let record = Record::default().moved("us", "us/replica-1@eu").moved("ap", "ap/primary");
        let golden = r#"1 2 {"ap":"ap/primary","us":"us/replica-1@eu"}"#;
        assert_eq!(record.encode(), golden);
        assert_eq!(Record::decode(golden.as_bytes()), Ok(record));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (text, error) in [
            ("", RecordError::Version),
            ("2 1 {}", RecordError::Version),
            ("1 0 {}", RecordError::Malformed),
            ("1 9007199254740992 {}", RecordError::Malformed),
            ("1 -1 {}", RecordError::Malformed),
            ("1 1", RecordError::Malformed),
            ("1 1 []", RecordError::Malformed),
            ("1 1 {\"us\":1}", RecordError::Malformed),
        ] {
            assert_eq!(Record::decode(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(Record::decode(&vec![b'1'; LONGEST + 1]), Err(RecordError::TooLong));
    }

    proptest! {
        #[test]
        fn every_record_is_read_back(epoch in 1..LAST_EPOCH, writers: BTreeMap<String, String>) {
            let record = Record { epoch, writers };
            prop_assert_eq!(Record::decode(record.encode().as_bytes()), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
        }
    }
}
