//! The mapping from names to partitions and physical keys: documented, so that any language can read a view.

use archipelago_engine::{Incarnation, Key};

/// The partition of a name: CRC-16/XMODEM of the name (the checksum of Redis Cluster's slots), modulo the number of
/// partitions. The type does not count, so all types of one name share a partition.
///
/// ```
/// assert_eq!(archipelago::partition_of(b"page_views", 16), 10);
/// ```
#[must_use]
pub fn partition_of(name: &[u8], partitions: u16) -> u16 {
    crc16(name) % partitions.max(1)
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16.get(usize::from(high ^ byte)).copied().unwrap_or_default()
    })
}

/// The checksum's step for each byte.
#[allow(clippy::indexing_slicing, reason = "evaluated at compile time, within the table")]
const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The physical keys of one partition. All share the hash tag `{KEYSPACE:PARTITION}`, so they share a slot.
///
/// | key | holds |
/// |---|---|
/// | `{ks:p}:TYPE:NAME` | the view: a native string, set, hash or sorted set; of a list, stream or feed a sorted set of equal scores, each member a [position](archipelago_engine::position) and the value behind it, or the 16 bytes of an [id](archipelago_engine::EntryId) and the [fields](archipelago_engine::encode_fields), or of a feed the value |
/// | `{ks:p}:cells:TYPE:NAME` | hash of cells: `m` and the member, `x` the expiry, `s` a number that no field of the key is above, and `!` when it may expire (strings have only the fields' own) |
/// | `{ks:p}:meta` | hash: record, epoch, cursors, vectors |
/// | `{ks:p}:log:INCARNATION` | stream of the region's own deltas |
/// | `{ks:p}:number:INCARNATION` | number of the last log entry |
/// | `{ks:p}:index` | sorted set of `TYPE:NAME`, for resyncs |
/// | `{ks:p}:expiring` | sorted set of `TYPE:NAME` by expire-at, and behind them of fields with dead cells, by 10^13 plus the number of their last change |
/// | `{ks:p}:arrivals:NAME` | sorted set of the ids of a feed's entries by the order of their arrival here |
/// | `{ks:p}:holds:NAME` | sorted set of what is set aside of a stock, by deadline |
/// | `{ks:p}:held` | sorted set of stocks by the earliest such deadline |
/// | `{ks:p}:receipt:LENGTH:NAME:CALL` | what became of a call on a stock, for ten minutes; LENGTH is the name's |
/// | `{ks:p}:aside` | hash of log entries that could not be decoded |
/// | `{ks:p}:scratch` | registers of a HyperLogLog while a script merges them |
/// | `{ks:0}:lease:NAME` | who drives a link |
#[derive(Clone, Debug)]
pub struct PhysicalKeys {
    prefix: Vec<u8>,
}

impl PhysicalKeys {
    /// The keys of a partition.
    #[must_use]
    pub fn new(keyspace: &str, partition: u16) -> Self {
        Self { prefix: format!("{{{keyspace}:{partition}}}:").into_bytes() }
    }

    fn with(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + parts.iter().map(|p| p.len()).sum::<usize>());
        key.extend_from_slice(&self.prefix);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// The native view of a key.
    #[must_use]
    pub fn view(&self, key: &Key) -> Vec<u8> {
        self.view_parts(key).concat()
    }

    /// The cells of a key.
    #[must_use]
    pub fn cells(&self, key: &Key) -> Vec<u8> {
        self.cells_parts(key).concat()
    }

    /// The pieces of [`PhysicalKeys::view`], for a command that takes them without building the whole first.
    pub(crate) fn view_parts<'a>(&'a self, key: &'a Key) -> [&'a [u8]; 4] {
        [&self.prefix, key.kind.word().as_bytes(), b":", &key.name]
    }

    /// The pieces of [`PhysicalKeys::cells`].
    pub(crate) fn cells_parts<'a>(&'a self, key: &'a Key) -> [&'a [u8]; 5] {
        [&self.prefix, b"cells:", key.kind.word().as_bytes(), b":", &key.name]
    }

    /// The partition's meta hash.
    #[must_use]
    pub fn meta(&self) -> Vec<u8> {
        self.with(&[b"meta"])
    }

    /// The log of an incarnation.
    #[must_use]
    pub fn log(&self, incarnation: Incarnation) -> Vec<u8> {
        self.with(&[b"log:", incarnation.to_string().as_bytes()])
    }

    /// The numbers of an incarnation's log.
    #[must_use]
    pub fn number(&self, incarnation: Incarnation) -> Vec<u8> {
        self.with(&[b"number:", incarnation.to_string().as_bytes()])
    }

    /// The index of keys.
    #[must_use]
    pub fn index(&self) -> Vec<u8> {
        self.index_parts().concat()
    }

    /// The pieces of [`PhysicalKeys::index`].
    pub(crate) fn index_parts(&self) -> [&[u8]; 2] {
        [&self.prefix, b"index"]
    }

    /// Keys by expire-at.
    #[must_use]
    pub fn expiring(&self) -> Vec<u8> {
        self.expiring_parts().concat()
    }

    /// The pieces of [`PhysicalKeys::expiring`].
    pub(crate) fn expiring_parts(&self) -> [&[u8]; 2] {
        [&self.prefix, b"expiring"]
    }

    /// The entries of a feed in the order of their arrival.
    #[must_use]
    pub fn arrivals(&self, name: &[u8]) -> Vec<u8> {
        self.with(&[b"arrivals:", name])
    }

    /// What is set aside of a stock.
    #[must_use]
    pub fn holds(&self, name: &[u8]) -> Vec<u8> {
        self.with(&[b"holds:", name])
    }

    /// Stocks by the earliest deadline of what is set aside.
    #[must_use]
    pub fn held(&self) -> Vec<u8> {
        self.with(&[b"held"])
    }

    /// What became of a call on a stock. The name's length comes first, or `a:b` with `c` would be `a` with `b:c`.
    #[must_use]
    pub fn receipt(&self, name: &[u8], call: &[u8]) -> Vec<u8> {
        self.with(&[b"receipt:", name.len().to_string().as_bytes(), b":", name, b":", call])
    }

    /// Entries set aside.
    #[must_use]
    pub fn aside(&self) -> Vec<u8> {
        self.with(&[b"aside"])
    }

    /// Where a script puts registers that it merges; gone when the script ends.
    #[must_use]
    pub fn scratch(&self) -> Vec<u8> {
        self.with(&[b"scratch"])
    }

    /// A lease.
    #[must_use]
    pub fn lease(&self, name: &str) -> Vec<u8> {
        self.with(&[b"lease:", name.as_bytes()])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}
