//! A token as text: URL-safe, short, and refused unless every byte of it is as it was written.
//!
//! Version, flags, then, if tagged, four bytes of seconds; for each data set four bytes of its name's hash, a head byte
//! (the number of marks, and 128 for a doubt), and for each mark eight bytes of id and the offset as LEB128. Numbers
//! are big-endian. Four bytes of XXH3 end it. All of it as base64url without padding.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::xxh3_64;

use super::token::{DataSet, MAX_MARKS, MAX_PLACES, Mark, Place, Token};

const VERSION: u8 = 1;
const DOUBTFUL: u8 = 128;
const TAGGED: u8 = 1;

/// The longest varint.
const MAX_OFFSET: usize = 10;
const LONGEST: usize = 2 + 4 + MAX_PLACES * (5 + MAX_MARKS * (8 + MAX_OFFSET)) + 4;

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
        let mut bytes = vec![VERSION, flag(self.is_doubtful, DOUBTFUL) | flag(self.tagged_until != 0, TAGGED)];
        if self.tagged_until != 0 {
            bytes.extend(self.tagged_until.to_be_bytes());
        }
        for place in &self.places {
            bytes.extend(place.set.0.to_be_bytes());
            let count = u8::try_from(place.marks.len()).unwrap_or(0);
            bytes.push(flag(place.is_doubtful, DOUBTFUL) | count);
            for mark in &place.marks {
                bytes.extend(mark.id.to_be_bytes());
                push_varint(&mut bytes, mark.offset);
            }
        }
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
            Some((&VERSION, body)) => {
                Reader(body).token().filter(|token| token.encode() == text).ok_or(TokenError::Damaged)
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
    fn token(mut self) -> Option<Token> {
        let flags = self.byte()?;
        let mut token = Token { is_doubtful: flags & DOUBTFUL != 0, ..Token::default() };
        if flags & TAGGED != 0 {
            token.tagged_until = u32::from_be_bytes(self.chunk()?);
        }
        while !self.0.is_empty() {
            let place = self.place()?;
            let is_next = token.places.last().is_none_or(|last| last.set < place.set);
            if !is_next || token.places.len() == MAX_PLACES {
                return None;
            }
            token.places.push(place);
        }
        Some(token)
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
