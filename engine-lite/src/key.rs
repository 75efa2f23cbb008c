//! Keys: a type and a name; and the fields of a key's cells.

use std::{fmt, str::FromStr};

use bytes::Bytes;

use crate::position;

/// The type of a key. It is part of the key: two regions may create one name with two types, and both stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One value: the register and counter handles.
    String,
    /// Members, each present or not.
    Set,
    /// Fields, each a string.
    Hash,
    /// Members with a score.
    SortedSet,
    /// Members with a score, of which the highest ever submitted counts.
    HighScores,
    /// Members with a score, of which the lowest ever submitted counts.
    LowScores,
    /// One value: the first write wins.
    First,
    /// One number: the highest ever submitted.
    Max,
    /// One number: the lowest ever submitted.
    Min,
    /// One value, or several that were written concurrently and wait for the application's decision.
    Siblings,
    /// On or off; of concurrent writes, on wins.
    EnableWins,
    /// On or off; of concurrent writes, off wins.
    DisableWins,
    /// Values in an order; members are [positions](crate::position).
    List,
    /// How many distinct elements were seen.
    HyperLogLog,
    /// Entries with an id and fields, in the order of their ids; members are [ids](crate::EntryId).
    Stream,
    /// Entries in the order of their ids, and at each region in that of their arrival; members are [ids](crate::EntryId).
    Feed,
    /// Units that cannot be sold twice.
    Stock,
}

/// The native structure that a kind's view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Native {
    /// A string.
    String,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    SortedSet,
    /// A sorted set of equal scores, whose members are positions with a value behind each: its order is theirs.
    Ordered,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 17] = [
        Self::String,
        Self::Set,
        Self::Hash,
        Self::SortedSet,
        Self::HighScores,
        Self::LowScores,
        Self::First,
        Self::Max,
        Self::Min,
        Self::Siblings,
        Self::EnableWins,
        Self::DisableWins,
        Self::List,
        Self::HyperLogLog,
        Self::Stream,
        Self::Feed,
        Self::Stock,
    ];

    /// The word in physical keys, and what TYPE answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
            Self::HighScores => "best-max",
            Self::LowScores => "best-min",
            Self::First => "first",
            Self::Max => "max",
            Self::Min => "min",
            Self::Siblings => "siblings",
            Self::EnableWins => "flag-on",
            Self::DisableWins => "flag-off",
            Self::List => "list",
            Self::HyperLogLog => "hyperloglog",
            Self::Stream => "stream",
            Self::Feed => "feed",
            Self::Stock => "stock",
        }
    }

    /// The byte in encoded deltas.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::String => 1,
            Self::Set => 2,
            Self::Hash => 3,
            Self::SortedSet => 4,
            Self::HighScores => 5,
            Self::LowScores => 6,
            Self::First => 7,
            Self::Max => 8,
            Self::Min => 9,
            Self::Siblings => 10,
            Self::EnableWins => 11,
            Self::DisableWins => 12,
            Self::List => 13,
            Self::HyperLogLog => 14,
            Self::Stream => 15,
            Self::Feed => 16,
            Self::Stock => 17,
        }
    }

    /// What the view is, to plain commands.
    #[must_use]
    pub const fn native(self) -> Native {
        match self {
            Self::String
            | Self::First
            | Self::Max
            | Self::Min
            | Self::Siblings
            | Self::EnableWins
            | Self::DisableWins
            | Self::HyperLogLog
            | Self::Stock => Native::String,
            Self::Set => Native::Set,
            Self::Hash => Native::Hash,
            Self::SortedSet | Self::HighScores | Self::LowScores => Native::SortedSet,
            Self::List | Self::Stream | Self::Feed => Native::Ordered,
        }
    }

    /// The kind with this byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether its members are ids of entries that are appended and evicted.
    #[must_use]
    pub const fn has_entries(self) -> bool {
        matches!(self, Self::Stream | Self::Feed)
    }

    /// Whether a key of this type can have such a member: a decoder refuses what no writer makes.
    pub(crate) fn admits(self, member: &[u8]) -> bool {
        match self {
            Self::List => position::is_position(member),
            Self::Stream | Self::Feed => member.len() == 16,
            _ => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads the word, and the names people use for it (`register`, `counter`, `map`, `sorted-set`).
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "register" | "counter" => Ok(Self::String),
            "map" => Ok(Self::Hash),
            "sorted-set" | "sorted_set" => Ok(Self::SortedSet),
            "high-scores" => Ok(Self::HighScores),
            "low-scores" => Ok(Self::LowScores),
            "enable-wins" => Ok(Self::EnableWins),
            "disable-wins" => Ok(Self::DisableWins),
            "hll" => Ok(Self::HyperLogLog),
            word => {
                let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
                known.ok_or_else(|| UnknownKind(text.chars().take(32).collect()))
            }
        }
    }
}

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown type {0:?}: use one of {known}", known = Kind::ALL.map(Kind::word).join(", "))]
pub struct UnknownKind(String);

/// A typed name within a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The type.
    pub kind: Kind,
    /// The user's name for it: any bytes.
    pub name: Bytes,
}

impl Key {
    /// The key of this type and name.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<Bytes>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// Whose cells: a member's (a string's single member is the empty one), or those of the key's expiry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A member of a set or sorted set, a field of a hash, a position in a list, or the value of a string or HyperLogLog.
    Member(Bytes),
    /// When the key expires.
    Expiry,
}

impl Field {
    /// The field of the value of a string or HyperLogLog.
    pub const VALUE: Self = Self::Member(Bytes::new());

    /// The name of the field in the Redis hash of cells: `m` and the member, or `x`.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Member(member) => [b"m", member.as_ref()].concat().into(),
            Self::Expiry => Bytes::from_static(b"x"),
        }
    }

    /// Reads what [`Field::to_bytes`] writes; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &Bytes) -> Option<Self> {
        match bytes.first() {
            Some(b'm') => Some(Self::Member(bytes.slice(1..))),
            Some(b'x') if bytes.len() == 1 => Some(Self::Expiry),
            Some(_) | None => None,
        }
    }
}
