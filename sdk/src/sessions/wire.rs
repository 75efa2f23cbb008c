//! A token as text: URL-safe, short, and refused unless every byte of it is as it was written.
//!
//! Version, flags, then, if tagged, four bytes of seconds; for each data set four bytes of its name's hash, a head byte
//! (the number of marks, and 128 for a doubt), and for each mark eight bytes of id and the offset as LEB128. Numbers
//! are big-endian. Four bytes of XXH3 end it. All of it as base64url without padding.
//!
//! What was seen on the active-active plane makes it version 2; without any it is version 1, as ever. There the data sets
//! are counted, in one byte before them. Behind them follows each source: six bytes of its names' hashes and a head byte,
//! which is the number of sights, and 128 for a bound. If there are sights, seven bytes of the highest version, and for
//! each sight the partition, three bytes of the incarnation, and how far its version is below the highest, the first and the
//! last as LEB128. The bound is seven bytes of a version and two of partitions.

use std::collections::BTreeSet;

use archipelago_engine::Version;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    source::{Bound, KeyspaceId, ROOM, Sight, Source, SourceId, Tag},
    sources::MAX_SOURCES,
    token::{DataSet, MAX_MARKS, MAX_PLACES, Mark, Place, Token},
};

/// Of tokens of the routed plane.
const ROUTED: u8 = 1;
/// Of tokens of both planes.
const BOTH: u8 = 2;

const DOUBTFUL: u8 = 128;
const DOUBTFUL_SOURCES: u8 = 2;
const TAGGED: u8 = 1;
const BOUND: u8 = 128;

/// The longest varint.
const MAX_OFFSET: usize = 10;
const LONGEST: usize =
    2 + 4 + 1 + MAX_PLACES * (5 + MAX_MARKS * (8 + MAX_OFFSET)) + MAX_SOURCES * (6 + 1 + 7 + ROOM) + 4;

/// Why a text is no token. What to do is the same for all: begin a new session, and tell nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token. Nothing was looked at.
    #[error("longer than any session token")]
    TooLong,
    /// Cut short, or changed on its way.
    #[error("not a session token, or a damaged one")]
    Damaged,
    /// Written by a newer version of this library.
    #[error("a session token of version {0}, which this library does not know")]
    Version(u8),
}

impl Token {
    pub(super) fn encode(&self) -> String {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let sources = &self.sources;
        let version = if sources.list.is_empty() && !sources.is_doubtful { ROUTED } else { BOTH };
        let flags = flag(self.is_doubtful, DOUBTFUL)
            | flag(sources.is_doubtful, DOUBTFUL_SOURCES)
            | flag(self.tagged_until != 0, TAGGED);
        let mut bytes = vec![version, flags];
        if self.tagged_until != 0 {
            bytes.extend(self.tagged_until.to_be_bytes());
        }
        if version == BOTH {
            bytes.push(small(self.places.len()));
        }
        for place in &self.places {
            bytes.extend(place.set.0.to_be_bytes());
            bytes.push(flag(place.is_doubtful, DOUBTFUL) | small(place.marks.len()));
            for mark in &place.marks {
                bytes.extend(mark.id.to_be_bytes());
                push_varint(&mut bytes, mark.offset);
            }
        }
        sources.list.iter().for_each(|source| push_source(&mut bytes, &source.as_written()));
        bytes.extend(checksum(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Token::encode`] wrote, and nothing else.
    pub(super) fn decode(text: &str) -> Result<Self, TokenError> {
        if text.len() > LONGEST.div_ceil(3) * 4 {
            return Err(TokenError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
        if checksum(body) != *sum {
            return Err(TokenError::Damaged);
        }
        match body.split_first() {
            // Numbers and flags could be written in more ways than one; only ours is read.
            Some((&version @ (ROUTED | BOTH), body)) => {
                Reader(body).token(version).filter(|token| token.encode() == text).ok_or(TokenError::Damaged)
            }
            Some((&version, _)) => Err(TokenError::Version(version)),
            None => Err(TokenError::Damaged),
        }
    }
}

/// Against accidents, not against forgery: anybody can compute it.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [.., a, b, c, d] = xxh3_64(bytes).to_be_bytes();
    [a, b, c, d]
}

/// A count that a limit keeps below 128.
fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(0)
}

fn push_source(bytes: &mut Vec<u8>, source: &Source) {
    bytes.extend(source.id.keyspace.0);
    bytes.extend(source.id.region);
    let head = if source.bound.is_some() { BOUND } else { 0 };
    bytes.push(head | small(source.sights.len()));
    if !source.sights.is_empty() {
        let top = source.top();
        push_version(bytes, top);
        for sight in &source.sights {
            push_varint(bytes, u64::from(sight.partition));
            bytes.extend(sight.tag.0);
            push_varint(bytes, top.as_micros() - sight.version.as_micros());
        }
    }
    if let Some(bound) = &source.bound {
        push_version(bytes, bound.to);
        bytes.extend(bound.partitions.to_be_bytes());
    }
}

/// Versions end where seven bytes do.
fn push_version(bytes: &mut Vec<u8>, version: Version) {
    let [_, rest @ ..] = version.as_micros().to_be_bytes();
    bytes.extend(rest);
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [.., low] = number.to_be_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 127);
        }
        bytes.push(low | 128);
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn token(mut self, version: u8) -> Option<Token> {
        let flags = self.byte()?;
        let mut token = Token { is_doubtful: flags & DOUBTFUL != 0, ..Token::default() };
        token.sources.is_doubtful = flags & DOUBTFUL_SOURCES != 0;
        if flags & TAGGED != 0 {
            token.tagged_until = u32::from_be_bytes(self.chunk()?);
        }
        let places = if version == BOTH { usize::from(self.byte()?) } else { usize::MAX };
        while !self.0.is_empty() && token.places.len() < places {
            let place = self.place()?;
            let is_next = token.places.last().is_none_or(|last| last.set < place.set);
            if !is_next || token.places.len() == MAX_PLACES {
                return None;
            }
            token.places.push(place);
        }
        while !self.0.is_empty() {
            let source = self.source()?;
            let is_next = token.sources.list.last().is_none_or(|last| last.id < source.id);
            if !is_next || token.sources.list.len() == MAX_SOURCES {
                return None;
            }
            token.sources.list.push(source);
        }
        Some(token)
    }

    fn source(&mut self) -> Option<Source> {
        let id = SourceId { keyspace: KeyspaceId(self.chunk()?), region: self.chunk()? };
        let head = self.byte()?;
        let (has_bound, count) = (head & BOUND != 0, head & !BOUND);
        let sights = if count == 0 { Vec::new() } else { self.sights(count)? };
        let bound = if has_bound { Some(self.bound()?) } else { None };
        (count > 0 || has_bound).then_some(Source { id, sights, bound })
    }

    fn sights(&mut self, count: u8) -> Option<Vec<Sight>> {
        let top = self.version()?;
        let mut sights: Vec<Sight> = Vec::new();
        for _ in 0..count {
            let partition = u16::try_from(self.varint()?).ok()?;
            let tag = Tag(self.chunk()?);
            let version = Version::from_micros(top.as_micros().checked_sub(self.varint()?)?);
            if sights.last().is_some_and(|last| (last.partition, last.tag) >= (partition, tag)) {
                return None;
            }
            sights.push(Sight { partition, tag, version });
        }
        Some(sights)
    }

    fn bound(&mut self) -> Option<Bound> {
        Some(Bound { to: self.version()?, partitions: u16::from_be_bytes(self.chunk()?), settled: BTreeSet::new() })
    }

    fn version(&mut self) -> Option<Version> {
        let [a, b, c, d, e, f, g] = self.chunk()?;
        Some(Version::from_micros(u64::from_be_bytes([0, a, b, c, d, e, f, g])))
    }

    fn place(&mut self) -> Option<Place> {
        let set = DataSet(u32::from_be_bytes(self.chunk()?));
        let head = self.byte()?;
        let count = usize::from(head & !DOUBTFUL);
        let mut place = Place { set, is_doubtful: head & DOUBTFUL != 0, marks: Vec::new() };
        if count > MAX_MARKS {
            return None;
        }
        for _ in 0..count {
            let mark = Mark { id: u64::from_be_bytes(self.chunk()?), offset: self.varint()? };
            if place.marks.last().is_some_and(|last| last.id >= mark.id) {
                return None;
            }
            place.marks.push(mark);
        }
        Some(place)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for at in 0..MAX_OFFSET {
            let byte = self.byte()?;
            let part = u64::from(byte & 127);
            let shifted = part << (7 * at);
            if shifted >> (7 * at) != part {
                return None;
            }
            number |= shifted;
            if byte & 128 == 0 {
                return Some(number);
            }
        }
        None
    }
}
