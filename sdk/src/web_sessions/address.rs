//! Where a session is: the region that created it, and its name there.

use std::fmt::Write;

use archipelago_engine::{Key, Kind, RegionId};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

/// A region in 16 bits: of its name's hash, so that regions that come and go change no other region's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HomeTag(pub(super) u16);

impl HomeTag {
    pub(super) fn of(region: &RegionId) -> Self {
        let [.., high, low] = xxh3_64(region.as_str().as_bytes()).to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }
}

/// What of an id may be shown: its home, and the name of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) home: HomeTag,
    pub(super) name: Bytes,
}

impl Address {
    /// The address of some id's bytes. `domain` keeps apart what different kinds of ids mean by the same bytes.
    ///
    /// The name is a digest: who reads keys, in a backup or a log, has no id to send. 128 random bits need no salt, and
    /// 128 bits of a digest cannot be met by chance.
    pub(super) fn new(home: HomeTag, domain: &str, id: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(domain).chain_update([0]).chain_update(id).finalize();
        let mut name = String::from("session:");
        for byte in digest.iter().take(16) {
            // Writing to a string never fails.
            let _ = write!(name, "{byte:02x}");
        }
        Self { home, name: name.into() }
    }

    /// The hash of the session.
    pub(super) fn session(&self) -> Key {
        Key::new(Kind::Hash, self.name.clone())
    }

    /// The string that marks it as revoked. The same name, so it is in the same partition and arrives in order.
    pub(super) fn mark(&self) -> Key {
        Key::new(Kind::String, self.name.clone())
    }
}
