//! Origins: who wrote a cell.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The name of a region, such as `eu-west-1`: 1 to 64 of `A-Z a-z 0-9 - _ .`.
///
/// Names compare by their bytes; that order settles ties between equal versions.
///
/// ```
/// use archipelago_engine::RegionId;
/// let region: RegionId = "eu-west-1".parse()?;
/// assert_eq!(region.as_str(), "eu-west-1");
/// assert!("no spaces".parse::<RegionId>().is_err());
/// # Ok::<(), archipelago_engine::RegionIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(Arc<str>);

/// Why a text is not a region's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a region name: use 1 to 64 of A-Z a-z 0-9 - _ .")]
pub struct RegionIdError(String);

impl RegionId {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegionId {
    type Err = RegionIdError;

    fn from_str(text: &str) -> Result<Self, RegionIdError> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        // The zero byte ends a region in an origin's bytes, and `/` ends it in its text, so neither may occur.
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits && plain {
            Ok(Self(text.into()))
        } else {
            Err(RegionIdError(text.chars().take(Self::MAX_LEN).collect()))
        }
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One uninterrupted history of a region's data: 64 random bits, drawn anew whenever the history may have broken.
///
/// Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation with these bits.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl FromStr for Incarnation {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(OriginError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| OriginError)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who wrote a cell: a region in one of its incarnations.
///
/// Ordered by region, then incarnation. Sums run in this order, so every region gets the same bits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The region that executed the write.
    pub region: RegionId,
    /// Its incarnation at that time.
    pub incarnation: Incarnation,
}

/// A text or byte string that names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an origin: expected REGION/16 hexadecimal digits")]
pub struct OriginError;

impl Origin {
    /// An origin from its two parts.
    #[must_use]
    pub const fn new(region: RegionId, incarnation: Incarnation) -> Self {
        Self { region, incarnation }
    }

    /// The region's name, a zero byte, and the incarnation in 8 bytes: their byte order is the origins' order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.region.as_str().len() + 9);
        bytes.extend_from_slice(self.region.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.incarnation.0.to_be_bytes());
        bytes
    }

    /// Reads what [`Origin::to_bytes`] writes.
    ///
    /// # Errors
    /// [`OriginError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OriginError> {
        let (rest, bits) = bytes.split_last_chunk::<8>().ok_or(OriginError)?;
        let (&end, region) = rest.split_last().ok_or(OriginError)?;
        let region = std::str::from_utf8(region).map_err(|_| OriginError)?;
        if end != 0 {
            return Err(OriginError);
        }
        let region = region.parse().map_err(|_| OriginError)?;
        Ok(Self::new(region, Incarnation(u64::from_be_bytes(*bits))))
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (region, incarnation) = text.split_once('/').ok_or(OriginError)?;
        Ok(Self::new(region.parse().map_err(|_| OriginError)?, incarnation.parse()?))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.incarnation)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_of_an_origin_read_back() {
        let origin: Origin = "eu-west-1/00000000000000ff".parse().unwrap();
        assert_eq!(Origin::from_bytes(&origin.to_bytes()), Ok(origin.clone()));
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }

    #[test]
    fn byte_order_is_origin_order_even_when_one_region_prefixes_another() {
        let mut origins: Vec<Origin> =
            ["eu/ffffffffffffffff", "eu-1/0000000000000001", "eu/0000000000000001", "a/0000000000000002"]
                .iter()
                .map(|o| o.parse().unwrap())
                .collect();
        let mut by_bytes = origins.clone();
        origins.sort();
        by_bytes.sort_by_key(Origin::to_bytes);
        assert_eq!(origins, by_bytes);
    }

    #[test]
    fn malformed_origins_are_refused() {
        for text in ["", "eu", "eu/12", "eu/00000000000000FF", "e u/00000000000000ff", "/00000000000000ff"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        for bytes in [&b""[..], b"\0", b"12345678", b"eu123456789", b"\xff\x0012345678", b"\x0012345678"] {
            assert!(Origin::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
