//! Mutations: what a write asks for, and what it answers.

use bytes::Bytes;
use thiserror::Error;

use crate::{
    claim::Claim,
    entry::{Append, EntryId, Keep},
    hyperloglog::Registers,
    key::{Key, Kind},
    list::ListEdit,
    number,
    origin::Origin,
    rule::{OFF, ON},
    steps::ClearStep,
    stock::{StockChange, StockOutcome},
    version::Version,
};

/// A write of one key, in the algebra's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Mutation {
    /// Assign members: SET, SADD, HSET, ZADD.
    Assign(Assignment),
    /// Add to a member's number: INCRBY, HINCRBY, ZINCRBY and their kin.
    Add {
        /// The member; empty for a string.
        member: Bytes,
        /// By how much.
        amount: Amount,
    },
    /// Assign a decision about siblings, and retract no more than those it was about.
    Resolve {
        /// What was decided.
        payload: Bytes,
        /// The siblings that the decision has seen: [`Cells::context`](crate::Cells::context).
        seen: Vec<(Origin, Version)>,
    },
    /// Remove members: SREM, HDEL, ZREM.
    Remove {
        /// Which.
        members: Vec<Bytes>,
    },
    /// Note elements, and what another HyperLogLog has noted: PFADD, PFMERGE.
    Observe {
        /// The elements.
        elements: Vec<Bytes>,
        /// What to take in besides.
        union: Option<Registers>,
    },
    /// Remove everything: DEL, GETDEL.
    Clear {
        /// Whether to answer what a string held before (GETDEL).
        previous: bool,
    },
    /// Remove some of what a key holds: a step of a clear that has too many fields for one.
    ClearStep(ClearStep),
    /// Change when the key expires: EXPIRE and PERSIST.
    Expire(Expiry),
    /// Write a list: LPUSH, LINSERT, LPOP and their kin.
    List(ListEdit),
    /// Append an entry to a stream or feed: XADD.
    Append(Append),
    /// Remove what is too much of a stream or feed: XTRIM.
    Evict(Keep),
    /// Remove the first of these elements of a list or stream that is there: what an element's home does for whoever
    /// claims it.
    Claim {
        /// Their positions or ids.
        candidates: Vec<Bytes>,
    },
    /// Clear the key if it expired at least `grace` milliseconds ago: what the sweeper does.
    Sweep {
        /// How long after the deadline.
        grace: u64,
    },
    /// Restock, take, give back, reserve and transfer: the only writes of a stock.
    Stock(StockChange),
}

/// What to assign, and under which conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Members with their payloads, in order; of a repeated member the last wins.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Only if absent (NX) or present (XX).
    pub presence: Presence,
    /// Only if the score grows (GT) or falls (LT); sorted sets only.
    pub order: Order,
    /// What becomes of the key's expiry.
    pub retention: Retention,
    /// Whether to answer what a string held before (SET's GET).
    pub previous: bool,
}

/// A condition on whether the member exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// No condition.
    #[default]
    Any,
    /// Only where absent (NX).
    Absent,
    /// Only where present (XX).
    Present,
}

/// A condition on how a score compares with the present one; an absent member meets both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// No condition.
    #[default]
    Any,
    /// Only if greater (GT).
    Greater,
    /// Only if less (LT).
    Less,
}

/// What an assignment does to the key's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Leave it: everything but a plain SET.
    #[default]
    Keep,
    /// Remove it: a plain SET.
    Clear,
    /// Replace it: SET with EX or PX.
    Set(Expiry),
}

/// When to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This many milliseconds from now, by the clock of the region that executes the write.
    In(i64),
    /// At this many milliseconds since 1970.
    At(i64),
    /// Never (PERSIST).
    Never,
}

/// By how much a number changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// An integer: the present value has to be one, and the sum is exact to 2^53.
    Integer(i64),
    /// A fraction: computed in doubles.
    Float(f64),
}

/// What a mutation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of an assignment.
    Assigned {
        /// How many members were new.
        added: u64,
        /// How many members were assigned: zero when a condition refused all of them.
        assigned: u64,
        /// How many members were new or changed what a reader sees (ZADD's CH).
        changed: u64,
        /// What a string held before, if asked for.
        previous: Option<Bytes>,
    },
    /// Of an addition: the value a reader now sees.
    Sum(Bytes),
    /// Of a removal: how many visible members it removed.
    Removed(u64),
    /// Of a clear.
    Cleared {
        /// Whether there was anything to see.
        existed: bool,
        /// What a string held before, if asked for.
        previous: Option<Bytes>,
    },
    /// Of a step of a clear: how many visible members it removed; `None` where the key is not past its expiry (any more),
    /// and nothing was done.
    Stepped(Option<u64>),
    /// Of an observation: whether it changed a register, or made the key.
    Observed(bool),
    /// Of a change of expiry: whether it applied.
    Expiry(bool),
    /// Of a push or an insert: how long the list is now; `None` when the element to insert beside was not found.
    Length(Option<u64>),
    /// Of a pop: the values, in the order in which they were taken.
    Popped(Vec<Bytes>),
    /// Of a change of stock.
    Stock(StockOutcome),
    /// Of an appended entry: its id; `None` when there was nothing to append to.
    Appended(Option<EntryId>),
    /// Of a claim: what was taken; `None` when none of the candidates was there.
    Claimed(Option<Claim>),
}

/// Why a mutation was refused; nothing was changed. The texts are Redis's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MutationError {
    /// INCRBY on a string that is no integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// HINCRBY on a field that is no integer.
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    /// The sum would leave the range in which integers are exact.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// INCRBYFLOAT on a string that is no number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// HINCRBYFLOAT on a field that is no number.
    #[error("ERR hash value is not a float")]
    HashNotAFloat,
    /// INCRBYFLOAT past the largest double.
    #[error("ERR increment would produce NaN or Infinity")]
    Infinite,
    /// ZADD or ZINCRBY with a score that is no number.
    #[error("ERR resulting score is not a number (NaN)")]
    NanScore,
    /// An increment of a type whose rule is not a sum.
    #[error("ERR this type takes no increments")]
    NoIncrements,
    /// A flag that is neither on nor off.
    #[error("ERR a flag is 1 or 0")]
    NotAFlag,
    /// The name is in use by another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// A relative or absolute expiry outside of what can be represented.
    #[error("ERR invalid expire time")]
    InvalidExpire,
    /// LSET on a list that is not there.
    #[error("ERR no such key")]
    NoSuchKey,
    /// LSET past an end of the list.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// XADD with an id that is not above the last entry's, or no id is left above it.
    #[error("ERR The ID specified in XADD is equal or smaller than the target stream top item")]
    IdTooSmall,
    /// XADD with the id 0-0.
    #[error("ERR The ID specified in XADD must be greater than 0-0")]
    IdZero,
    /// A name, member or value over its limit, or too many members in one write.
    #[error("ERR value exceeds the limit for its kind (name 1 KiB, member 64 KiB, value 8 MiB, 10000 members)")]
    TooLarge,
    /// A clear of more than [`limits::CLEARED_AT_ONCE`] fields: it goes in steps. Stores take them, and callers of a store
    /// do not meet this.
    #[error("ERR too many fields to be cleared at once")]
    TooManyFields,
    /// SET, DEL, EXPIRE and their kin on a stock, or a change of stock on another type.
    #[error("ERR a stock is only restocked, taken from, given back to, reserved from and transferred")]
    NotForStock,
    /// No units at all, or more than can be counted.
    #[error("ERR units must be from 1 to 1099511627776")]
    Units,
    /// A transfer of rights from a region to itself.
    #[error("ERR a region transfers rights to other regions only")]
    TransferToSelf,
}

impl MutationError {
    /// Every refusal, for telling them apart by their texts.
    pub const ALL: [Self; 20] = [
        Self::NotAnInteger,
        Self::HashNotAnInteger,
        Self::Overflow,
        Self::NotAFloat,
        Self::HashNotAFloat,
        Self::Infinite,
        Self::NanScore,
        Self::NoIncrements,
        Self::NotAFlag,
        Self::WrongType,
        Self::InvalidExpire,
        Self::NoSuchKey,
        Self::IndexOutOfRange,
        Self::IdTooSmall,
        Self::IdZero,
        Self::TooLarge,
        Self::TooManyFields,
        Self::NotForStock,
        Self::Units,
        Self::TransferToSelf,
    ];
}

/// What bounds untrusted input.
pub mod limits {
    /// The longest name, in bytes.
    pub const NAME: usize = 1024;
    /// The longest member of a set or sorted set, or field of a hash, in bytes.
    pub const MEMBER: usize = 64 * 1024;
    /// The longest value, in bytes.
    pub const VALUE: usize = 8 * 1024 * 1024;
    /// The most members one write may name.
    pub const MEMBERS: usize = 10_000;
    /// The most fields, dead ones included, of a key that is cleared in one step; and the most elements that LTRIM and LREM
    /// remove in one.
    pub const CLEARED_AT_ONCE: usize = 1000;
    /// The most entries that one read of a feed by a cursor answers.
    pub const ARRIVALS: usize = 1000;
    /// The most units of a stock, and of one change of it: 2^40.
    pub const UNITS: u64 = 1 << 40;
    /// The most units an origin may take, or return, or give to another in all its time: 2^50. So the sums over all origins
    /// are exact.
    pub const TURNOVER: u64 = 1 << 50;
    /// The furthest expire-at, in milliseconds since 1970: where versions end, in the year 2255.
    pub const EXPIRE_AT: i64 = 9_007_199_254_740;
}

impl Mutation {
    /// A plain SET.
    #[must_use]
    pub fn set(value: impl Into<Bytes>) -> Self {
        Self::Assign(Assignment {
            entries: vec![(Bytes::new(), value.into())],
            retention: Retention::Clear,
            ..Assignment::default()
        })
    }

    /// Assigns members, as SADD (with empty payloads), HSET and ZADD do.
    #[must_use]
    pub fn assign(entries: impl IntoIterator<Item = (Bytes, Bytes)>) -> Self {
        Self::Assign(Assignment { entries: entries.into_iter().collect(), ..Assignment::default() })
    }

    /// Checks what needs no look at the data: the [`limits`], and whether the type takes such a write at all.
    ///
    /// # Errors
    /// [`MutationError::TooLarge`], [`MutationError::InvalidExpire`] for an expiry that cannot be represented, and what
    /// the type refuses.
    pub fn check(&self, key: &Key) -> Result<(), MutationError> {
        self.check_limits(&key.name)?;
        let is_union = key.kind == Kind::HyperLogLog;
        match self {
            // Only observations work on registers, and they on nothing else.
            Self::Observe { .. } if !is_union => Err(MutationError::WrongType),
            Self::Assign(_)
            | Self::Resolve { .. }
            | Self::Remove { .. }
            | Self::ClearStep(_)
            | Self::Clear { previous: true }
                if is_union =>
            {
                Err(MutationError::WrongType)
            }
            Self::List(_) if key.kind == Kind::List => Ok(()),
            Self::Append(_) | Self::Evict(_) if key.kind.has_entries() => Ok(()),
            Self::Claim { .. } if matches!(key.kind, Kind::List | Kind::Stream) => Ok(()),
            Self::Stock(_) if key.kind == Kind::Stock => Ok(()),
            // DEL and EXPIRE of a name go to every type that it may have.
            Self::Clear { .. } | Self::Expire(_) if key.kind == Kind::Stock => Ok(()),
            Self::Stock(_) => Err(MutationError::NotForStock),
            Self::Add { .. } if key.kind == Kind::Stock => Err(MutationError::NoIncrements),
            _ if key.kind == Kind::Stock => Err(MutationError::NotForStock),
            Self::Assign(_) | Self::Resolve { .. } | Self::Add { .. } if !key.kind.assigns() => {
                Err(MutationError::WrongType)
            }
            Self::List(_) | Self::Append(_) | Self::Evict(_) | Self::Claim { .. } => Err(MutationError::WrongType),
            Self::Add { .. } if !key.kind.adds() => Err(MutationError::NoIncrements),
            Self::Assign(assignment) => assignment.entries.iter().try_for_each(|(_, payload)| fits(key.kind, payload)),
            Self::Resolve { payload, .. } => fits(key.kind, payload),
            Self::Add { .. }
            | Self::Remove { .. }
            | Self::Observe { .. }
            | Self::Clear { .. }
            | Self::ClearStep(_)
            | Self::Expire(_)
            | Self::Sweep { .. } => Ok(()),
        }
    }

    fn check_limits(&self, name: &[u8]) -> Result<(), MutationError> {
        let member_fits = |member: &Bytes| member.len() <= limits::MEMBER;
        let expiry_fits = |expiry: &Expiry| match expiry {
            Expiry::In(millis) | Expiry::At(millis) => millis.unsigned_abs() <= limits::EXPIRE_AT.unsigned_abs(),
            Expiry::Never => true,
        };
        let (fits, expiry) = match self {
            Self::Assign(assignment) => {
                let entries = &assignment.entries;
                let total: usize = entries.iter().map(|(member, payload)| member.len() + payload.len()).sum();
                let fit = entries.iter().all(|(member, payload)| member_fits(member) && payload.len() <= limits::VALUE);
                let expiry = match &assignment.retention {
                    Retention::Set(expiry) => Some(expiry),
                    Retention::Keep | Retention::Clear => None,
                };
                (fit && entries.len() <= limits::MEMBERS && total <= 2 * limits::VALUE, expiry)
            }
            Self::Resolve { payload, seen } => (payload.len() <= limits::VALUE && seen.len() <= limits::MEMBERS, None),
            Self::Add { member, .. } => (member_fits(member), None),
            Self::Remove { members } | Self::Claim { candidates: members } => {
                (members.iter().all(member_fits) && members.len() <= limits::MEMBERS, None)
            }
            Self::Observe { elements, .. } => {
                (elements.iter().all(member_fits) && elements.len() <= limits::MEMBERS, None)
            }
            Self::Expire(expiry) => (true, Some(expiry)),
            Self::List(edit) => (edit.check_limits().is_ok(), None),
            Self::Append(append) => (append.check_limits().is_ok(), None),
            Self::ClearStep(step) => (step.check_limits().is_ok(), None),
            Self::Evict(_) | Self::Clear { .. } | Self::Sweep { .. } => (true, None),
            Self::Stock(change) => {
                change.check()?;
                (true, None)
            }
        };
        if !fits || name.len() > limits::NAME {
            return Err(MutationError::TooLarge);
        }
        if expiry.is_some_and(|e| !expiry_fits(e)) {
            return Err(MutationError::InvalidExpire);
        }
        Ok(())
    }
}

/// Whether a type can show what is assigned. Behind this a join has to take every payload.
fn fits(kind: Kind, payload: &[u8]) -> Result<(), MutationError> {
    match kind {
        kind if kind.is_scored() && number::parse_score(payload).is_none() => Err(MutationError::NotAFloat),
        Kind::EnableWins | Kind::DisableWins if payload != ON && payload != OFF => Err(MutationError::NotAFlag),
        _ => Ok(()),
    }
}
