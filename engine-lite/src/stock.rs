//! Stock that cannot be oversold: a bounded counter (escrow).
//!
//! Every origin owns rights to a part of the units, and only its own region spends them. Four kinds of member hold running
//! totals that their origin only ever adds to: `mint` (restocked), `used` (taken), `returned` (given back) and
//! `to:ORIGIN` (rights given to another). So the rights of an origin are
//! `mint + returned + received - given - used`, and no two regions can spend the same one, whatever they hear of each
//! other and when. The design is the bounded counter of Balegas et al., "Extending Eventually Consistent Cloud
//! Databases for Enforcing Numeric Invariants" (SRDS 2015).
//!
//! An origin is a region in one incarnation, and an incarnation is one uninterrupted history: what a region that lost
//! data had spent is spent by an origin whose rights nobody spends any more.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bytes::Bytes;
use thiserror::Error;

use crate::{
    cell::Total,
    key::Field,
    mutation::{MutationError, limits},
    number,
    origin::{Origin, RegionId},
    partition::KeyState,
};

/// A caller's own id for one call, such as an order number: the call counts once, however often it is repeated.
///
/// 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Box<str>);

/// A text that is no id of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the id of a call has 1 to 128 visible ASCII characters")]
pub struct CallIdError;

impl CallId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CallId {
    type Err = CallIdError;

    fn from_str(text: &str) -> Result<Self, CallIdError> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(CallIdError) }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Units that are set aside until they are confirmed or released, or until their time runs out.
///
/// Its text `REGION/INCARNATION/UNITS/ID` names the origin that set them aside: nobody else may confirm or return them, or
/// one unit could be confirmed here and returned there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Who set them aside.
    pub origin: Origin,
    /// How many.
    pub units: u64,
    /// The id of the call that did.
    pub id: CallId,
}

/// A text that is no reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a reservation: expected REGION/INCARNATION/UNITS/ID, as a reserving call answers it")]
pub struct ReservationError;

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.units, self.id)
    }
}

impl FromStr for Reservation {
    type Err = ReservationError;

    fn from_str(text: &str) -> Result<Self, ReservationError> {
        let mut parts = text.splitn(4, '/');
        let mut part = || parts.next().ok_or(ReservationError);
        let (region, incarnation, units, id) = (part()?, part()?, part()?, part()?);
        let region: RegionId = region.parse().map_err(|_| ReservationError)?;
        let incarnation = incarnation.parse().map_err(|_| ReservationError)?;
        let parsed: u64 = units.parse().map_err(|_| ReservationError)?;
        // One text for one reservation: `+5` and `05` are none.
        if check_units(parsed).is_err() || parsed.to_string() != units {
            return Err(ReservationError);
        }
        let id = id.parse().map_err(|_| ReservationError)?;
        Ok(Self { origin: Origin::new(region, incarnation), units: parsed, id })
    }
}

/// A write of a stock. Each first returns what was reserved and has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockChange {
    /// New units.
    Restock {
        /// Counts once by this.
        id: CallId,
        /// How many.
        units: u64,
    },
    /// Units are sold, or set aside for a time.
    Take {
        /// Counts once by this.
        id: CallId,
        /// How many.
        units: u64,
        /// Fewer will do, if there are any.
        partial: bool,
        /// Milliseconds after which they come back unless they are confirmed.
        hold: Option<u64>,
    },
    /// Sold units come back.
    GiveBack {
        /// Counts once by this.
        id: CallId,
        /// How many.
        units: u64,
    },
    /// Rights go to another region's origin.
    Transfer {
        /// Whose they become.
        to: Origin,
        /// How many.
        units: u64,
        /// Fewer will do, if there are any.
        partial: bool,
    },
    /// Reserved units are sold.
    Confirm(Reservation),
    /// Reserved units come back.
    Release(Reservation),
    /// Nothing but the return of what has run out: what the sweeper does. Answers what this region has a right to.
    Tidy,
}

/// What a write of a stock answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockOutcome {
    /// It is done.
    Done {
        /// How many units it was about.
        units: u64,
        /// How many are left in all regions, as far as this one knows.
        left: u64,
    },
    /// Units are set aside.
    Held(Reservation),
    /// Rights were given away.
    Given {
        /// How many.
        units: u64,
        /// By whom.
        by: Origin,
        /// The giver's total for the receiver: what the receiver has to hold before it may spend them.
        total: Total,
    },
    /// Nothing was done: this region has no right to so many.
    Short {
        /// How many it has a right to.
        local: u64,
        /// How many others have, as far as it knows.
        elsewhere: u64,
    },
    /// Nothing was done: the reservation ran out, was released or confirmed, or was lost with its region's data.
    Gone,
    /// Nothing was done: the id stands for a call that asked for something else.
    Reused,
    /// Nothing was done: so many units were not taken, as far as this region knows.
    NotTaken {
        /// How many were, less those that came back.
        taken: u64,
    },
}

impl StockChange {
    /// Checks what the types cannot.
    pub(crate) fn check(&self) -> Result<(), MutationError> {
        match self {
            Self::Restock { units, .. } | Self::GiveBack { units, .. } | Self::Transfer { units, .. } => {
                check_units(*units)
            }
            Self::Take { units, hold, .. } => {
                check_units(*units)?;
                let longest = limits::EXPIRE_AT.unsigned_abs();
                if hold.is_none_or(|millis| (1..=longest).contains(&millis)) {
                    Ok(())
                } else {
                    Err(MutationError::InvalidExpire)
                }
            }
            Self::Confirm(reservation) | Self::Release(reservation) => check_units(reservation.units),
            Self::Tidy => Ok(()),
        }
    }
}

fn check_units(units: u64) -> Result<(), MutationError> {
    if (1..=limits::UNITS).contains(&units) { Ok(()) } else { Err(MutationError::Units) }
}

/// What all origins together show of a stock: their rights, and what is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    rights: BTreeMap<Origin, f64>,
    spent: BTreeMap<Origin, f64>,
    minted: f64,
    used: f64,
    returned: f64,
}

impl Books {
    /// The books of a stock's cells.
    ///
    /// What is observed of a total does not count here: a stock's totals are never retracted, and a count that another
    /// writer hid by mistake must not come back as a right.
    #[must_use]
    pub fn of(state: &KeyState) -> Self {
        let mut books = Self::default();
        for (field, stamped) in &state.fields {
            let Some(account) = Account::of(field) else { continue };
            for (origin, cell) in stamped.cells.iter() {
                if let Some(total) = cell.total {
                    books.enter(&account, origin, counted(total.number));
                }
            }
        }
        books
    }

    fn enter(&mut self, account: &Account, origin: &Origin, units: f64) {
        let add = |to: &mut BTreeMap<Origin, f64>, origin: &Origin, n| *to.entry(origin.clone()).or_default() += n;
        match account {
            Account::Mint => self.minted += units,
            Account::Used => {
                self.used += units;
                add(&mut self.spent, origin, units);
            }
            Account::Returned => self.returned += units,
            Account::To(receiver) => add(&mut self.rights, receiver, units),
        }
        let sign = if matches!(account, Account::Mint | Account::Returned) { 1.0 } else { -1.0 };
        add(&mut self.rights, origin, sign * units);
    }

    /// How many units are left in all regions, as far as these books go: they may hold what was sold, and not yet what was
    /// restocked.
    #[must_use]
    pub fn left(&self) -> u64 {
        whole(self.minted + self.returned - self.used)
    }

    /// How many units were taken and did not come back.
    #[must_use]
    pub fn taken(&self) -> u64 {
        whole(self.used - self.returned)
    }

    /// How many units an origin has taken since it began, whatever came back.
    #[must_use]
    pub fn spent(&self, origin: &Origin) -> u64 {
        whole(self.spent.get(origin).copied().unwrap_or_default())
    }

    /// How many units were restocked.
    pub(crate) const fn minted(&self) -> f64 {
        self.minted
    }

    /// The rights that some origins have together.
    ///
    /// Negative ones count: what an incarnation spent of the rights that it inherited is a debt of its own.
    #[must_use]
    pub fn rights<'a>(&self, origins: impl IntoIterator<Item = &'a Origin>) -> u64 {
        whole(origins.into_iter().filter_map(|origin| self.rights.get(origin)).sum())
    }

    /// Every origin that has or had rights.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.rights.keys()
    }

    /// The rights of a region in all its incarnations: those of closed ones may be frozen.
    #[must_use]
    pub fn rights_of_region(&self, region: &RegionId) -> u64 {
        self.rights(self.origins().filter(|origin| origin.region == *region))
    }
}

/// A member of a stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Mint,
    Used,
    Returned,
    To(Origin),
}

impl Account {
    pub(crate) fn field(&self) -> Field {
        Field::Member(match self {
            Self::Mint => Bytes::from_static(b"mint"),
            Self::Used => Bytes::from_static(b"used"),
            Self::Returned => Bytes::from_static(b"returned"),
            Self::To(receiver) => format!("to:{receiver}").into(),
        })
    }

    /// `None` for what no stock has: another version's, or a mistake.
    fn of(field: &Field) -> Option<Self> {
        let Field::Member(member) = field else { return None };
        match member.as_ref() {
            b"mint" => Some(Self::Mint),
            b"used" => Some(Self::Used),
            b"returned" => Some(Self::Returned),
            other => std::str::from_utf8(other.strip_prefix(b"to:")?).ok()?.parse().ok().map(Self::To),
        }
    }
}

/// The units that a total counts: a join takes any cell, and what is no count must not become rights.
pub(crate) fn counted(number: f64) -> f64 {
    if (0.0..=number::MAX_EXACT).contains(&number) { number.floor() } else { 0.0 }
}

/// Units from a sum that may be below zero.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn whole(sum: f64) -> u64 {
    sum.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_reads_back_whatever_its_id_looks_like() {
        for id in ["order-7", "a/b/c", "%d", "~"] {
            let text = format!("eu-west-1/00000000000000ff/3/{id}");
            let reservation: Reservation = text.parse().unwrap();
            assert_eq!((reservation.units, reservation.id.as_str()), (3, id));
            assert_eq!(reservation.to_string(), text);
        }
        for text in ["", "eu/1/2/x", "eu/00000000000000ff/0/x", "eu/00000000000000ff/+3/x", "eu/00000000000000ff/3/"] {
            assert_eq!(text.parse::<Reservation>(), Err(ReservationError), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_short_and_visible() {
        assert!("x".repeat(128).parse::<CallId>().is_ok());
        for text in ["", " ", "a b", "\n", "é", &"x".repeat(129)] {
            assert_eq!(text.parse::<CallId>(), Err(CallIdError), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_count_is_no_right() {
        for number in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            assert_eq!(counted(number).to_bits(), 0.0_f64.to_bits());
        }
        assert!((counted(2.5) - 2.0).abs() < f64::EPSILON);
    }
}
