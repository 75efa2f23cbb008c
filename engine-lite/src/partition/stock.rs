//! Writes of a stock: rights are checked and spent in one step, by the only region that may.

use std::collections::{BTreeMap, BTreeSet};

use super::{Partition, Record, Stale, mutate::Write};
use crate::{
    key::{Key, Kind},
    mutation::{Mutation, MutationError, Outcome, limits},
    origin::{Incarnation, Origin},
    stock::{Account, Books, CallId, Reservation, StockChange, StockOutcome},
    version::Version,
};

/// How long a call is remembered by its id, in milliseconds: ten minutes.
const REMEMBERED: u64 = 600_000;

/// How many reservations that have run out one write returns at most.
const RETURNED_AT_ONCE: usize = 100;

/// What a region knows of its own stock beside the cells: it goes back with them when the region loses data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// What is set aside, and until when, in milliseconds since 1970.
    holds: BTreeMap<Reservation, u64>,
    receipts: BTreeMap<Call, Receipt>,
}

/// What a receipt is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Id(CallId),
    End(Reservation),
}

/// What became of a call, for whoever repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Receipt {
    asked: Asked,
    units: u64,
    /// Who did it: repeated after a clean restart, a reservation is still that of the incarnation before.
    by: Origin,
    until: u64,
}

/// What a call asked for: the same id for something else is a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Restock(u64),
    Take { units: u64, partial: bool, hold: bool },
    GiveBack(u64),
    Confirm,
    Release,
}

impl Side {
    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.receipts.is_empty()
    }
}

impl Partition {
    /// Opens a new incarnation that inherits the rights of the one before: nothing was lost.
    ///
    /// Only the caller can know that: the same server came back with every write it had acknowledged. Otherwise use
    /// [`Partition::open`], and the rights stay frozen.
    pub fn open_without_loss(&mut self, history: &str, fresh: Incarnation, floor: u64, now: Version) -> Record {
        let (before, line) = ((self.record.clone(), self.inherited.clone()), self.arrivals.line());
        let record = self.open(history, fresh, floor, now);
        if let (Some(old), inherited) = before {
            let is_closed = old.incarnation != record.incarnation;
            // A peer that knows a later opening knows another history of this region.
            if is_closed && old.opening >= floor {
                self.inherited = inherited;
                self.inherited.insert(old.incarnation);
                self.arrivals.resume(line);
            } else if !is_closed {
                self.inherited = inherited;
            }
        }
        record
    }

    /// Lets the current incarnation spend the rights of every closed one of this region; says of which.
    ///
    /// What a closed incarnation sold, and nobody heard of, is sold again. An operator decides that.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn reclaim(&mut self, history: &str) -> Result<Vec<Incarnation>, Stale> {
        let own = self.check(history)?.incarnation;
        let stocks = self.keys.iter().filter(|(key, _)| key.kind == Kind::Stock);
        let books: Vec<Books> = stocks.map(|(_, state)| Books::of(state)).collect();
        let origins = books.iter().flat_map(Books::origins);
        let closed = origins.filter(|origin| origin.region == self.region && origin.incarnation != own);
        let closed: BTreeSet<Incarnation> = closed.map(|origin| origin.incarnation).collect();
        self.inherited.extend(&closed);
        Ok(self.inherited.iter().copied().collect())
    }

    /// The closed incarnations of this region whose rights it may spend.
    pub fn inherited(&self) -> impl Iterator<Item = Incarnation> {
        self.inherited.iter().copied()
    }

    /// The stocks with reservations that have run out, up to a number.
    #[must_use]
    pub fn overdue(&self, now: Version, limit: usize) -> Vec<Key> {
        let is_due = |side: &Side| side.holds.values().any(|until| *until <= now.as_millis());
        self.sides.iter().filter(|(_, side)| is_due(side)).map(|(key, _)| key.clone()).take(limit).collect()
    }
}

impl Write<'_> {
    /// A write of a key that is a stock.
    pub(super) fn stock(&mut self, mutation: &Mutation) -> Result<Outcome, MutationError> {
        let is_absent = self.state.fields.is_empty();
        match mutation {
            Mutation::Stock(change) => self.change_stock(change).map(Outcome::Stock),
            // DEL and EXPIRE of a name go to every type that the name may have.
            Mutation::Clear { .. } if is_absent => Ok(Outcome::Cleared { existed: false, previous: None }),
            Mutation::Expire(_) if is_absent => Ok(Outcome::Expiry(false)),
            Mutation::Assign(_)
            | Mutation::Resolve { .. }
            | Mutation::Add { .. }
            | Mutation::Remove { .. }
            | Mutation::Clear { .. }
            | Mutation::Expire(_)
            | Mutation::Sweep { .. }
            | Mutation::ClearStep(_)
            | Mutation::List(_)
            | Mutation::Append(_)
            | Mutation::Observe { .. }
            | Mutation::Evict(_)
            | Mutation::Claim { .. } => Err(MutationError::NotForStock),
        }
    }

    fn change_stock(&mut self, change: &StockChange) -> Result<StockOutcome, MutationError> {
        self.check_exact(change)?;
        let now = self.now.as_millis();
        self.side.receipts.retain(|_, receipt| receipt.until > now);
        self.return_overdue();
        Ok(match change {
            StockChange::Restock { id, units } => {
                self.once(id, Asked::Restock(*units), |write| write.enter(&Account::Mint, *units))
            }
            StockChange::GiveBack { id, units } => self.once(id, Asked::GiveBack(*units), |write| {
                let taken = write.books().taken();
                if taken < *units {
                    return Err(StockOutcome::NotTaken { taken });
                }
                write.enter(&Account::Returned, *units)
            }),
            StockChange::Take { id, units, partial, hold } => self.take(id, *units, *partial, *hold),
            StockChange::Transfer { to, units, partial } => self.transfer(to, *units, *partial)?,
            StockChange::Confirm(reservation) => self.end(reservation, Asked::Confirm),
            StockChange::Release(reservation) => self.end(reservation, Asked::Release),
            StockChange::Tidy => self.done(self.rights()),
        })
    }

    /// Whether every sum stays one that a double holds exactly.
    fn check_exact(&self, change: &StockChange) -> Result<(), MutationError> {
        let (before, units, most) = match change {
            StockChange::Restock { units, .. } => (self.books().minted(), *units, limits::UNITS),
            StockChange::Take { units, .. } => (self.own_total(&Account::Used), *units, limits::TURNOVER),
            StockChange::GiveBack { units, .. } => (self.own_total(&Account::Returned), *units, limits::TURNOVER),
            StockChange::Transfer { to, .. } if to.region == self.own.region => {
                return Err(MutationError::TransferToSelf);
            }
            StockChange::Transfer { to, units, .. } => {
                (self.own_total(&Account::To(to.clone())), *units, limits::TURNOVER)
            }
            StockChange::Confirm(_) | StockChange::Release(_) | StockChange::Tidy => return Ok(()),
        };
        if before + amount(units) <= amount(most) { Ok(()) } else { Err(MutationError::Overflow) }
    }

    fn own_total(&self, account: &Account) -> f64 {
        let cell = self.state.cells(&account.field()).and_then(|cells| cells.get(&self.own));
        cell.and_then(|cell| cell.total).map_or(0.0, |total| total.number)
    }

    fn books(&self) -> Books {
        Books::of(&self.state)
    }

    /// The own origin, and those of this region that it inherits from.
    fn estate(&self) -> Vec<Origin> {
        let inherited = self.inherited.iter().map(|old| Origin::new(self.own.region.clone(), *old));
        std::iter::once(self.own.clone()).chain(inherited).collect()
    }

    fn is_ours(&self, origin: &Origin) -> bool {
        *origin == self.own || (origin.region == self.own.region && self.inherited.contains(&origin.incarnation))
    }

    fn rights(&self) -> u64 {
        self.books().rights(&self.estate())
    }

    fn short(&self) -> StockOutcome {
        let local = self.rights();
        StockOutcome::Short { local, elsewhere: self.books().left().saturating_sub(local) }
    }

    fn done(&self, units: u64) -> StockOutcome {
        StockOutcome::Done { units, left: self.books().left() }
    }

    /// Adds to the own origin's total of a member.
    #[allow(clippy::unnecessary_wraps, reason = "what a call does once may refuse")]
    fn enter(&mut self, account: &Account, units: u64) -> Result<u64, StockOutcome> {
        let (version, own, field) = (self.version(), self.own.clone(), account.field());
        self.state.fields.entry(field.clone()).or_default().cells.grow(&own, version, amount(units));
        self.touch(field, [own]);
        Ok(units)
    }

    /// Returns what was set aside and has run out, the longest ago first. What an incarnation set aside whose rights are
    /// frozen is forgotten: what became of it is not known here.
    fn return_overdue(&mut self) {
        let now = self.now.as_millis();
        let mut overdue: Vec<(u64, String, Reservation)> = self
            .side
            .holds
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(reservation, until)| (*until, reservation.to_string(), reservation.clone()))
            .collect();
        overdue.sort();
        let mut units = 0;
        for (_, _, reservation) in overdue.into_iter().take(RETURNED_AT_ONCE) {
            self.side.holds.remove(&reservation);
            if self.is_ours(&reservation.origin) {
                units += reservation.units;
            }
        }
        self.give_back_if_exact(units);
    }

    /// Units that cannot be counted exactly any more stay sold: never too many are left.
    fn give_back_if_exact(&mut self, units: u64) {
        if units > 0 && self.own_total(&Account::Returned) + amount(units) <= amount(limits::TURNOVER) {
            let _ = self.enter(&Account::Returned, units);
        }
    }

    /// Does what a call asks for, unless a call of this id was done before.
    fn once(
        &mut self,
        id: &CallId,
        asked: Asked,
        act: impl FnOnce(&mut Self) -> Result<u64, StockOutcome>,
    ) -> StockOutcome {
        let call = Call::Id(id.clone());
        let units = match self.side.receipts.get(&call) {
            Some(receipt) if receipt.asked == asked => receipt.units,
            Some(_) => return StockOutcome::Reused,
            None => match act(self) {
                Ok(units) => {
                    self.remember(call, asked, units);
                    units
                }
                Err(refusal) => return refusal,
            },
        };
        self.done(units)
    }

    fn remember(&mut self, call: Call, asked: Asked, units: u64) {
        let until = self.now.as_millis().saturating_add(REMEMBERED);
        let by = self.own.clone();
        self.side.receipts.insert(call, Receipt { asked, units, by, until });
    }

    fn take(&mut self, id: &CallId, units: u64, partial: bool, hold: Option<u64>) -> StockOutcome {
        let asked = Asked::Take { units, partial, hold: hold.is_some() };
        let outcome = self.once(id, asked, |write| {
            let granted = write.granted(units, partial).ok_or_else(|| write.short())?;
            if let Some(millis) = hold {
                let reservation = Reservation { origin: write.own.clone(), units: granted, id: id.clone() };
                write.side.holds.insert(reservation, write.now.as_millis().saturating_add(millis));
            }
            write.enter(&Account::Used, granted)
        });
        match (outcome, self.side.receipts.get(&Call::Id(id.clone()))) {
            (StockOutcome::Done { units, .. }, Some(receipt)) if hold.is_some() => {
                StockOutcome::Held(Reservation { origin: receipt.by.clone(), units, id: id.clone() })
            }
            (outcome, _) => outcome,
        }
    }

    /// How many of so many units may be had.
    fn granted(&self, units: u64, partial: bool) -> Option<u64> {
        let rights = self.rights();
        let granted = if partial { units.min(rights) } else { units };
        (granted > 0 && granted <= rights).then_some(granted)
    }

    fn transfer(&mut self, to: &Origin, units: u64, partial: bool) -> Result<StockOutcome, MutationError> {
        let Some(units) = self.granted(units, partial) else { return Ok(self.short()) };
        let account = Account::To(to.clone());
        let _ = self.enter(&account, units);
        let own = self.own.clone();
        let cell = self.state.cells(&account.field()).and_then(|cells| cells.get(&own));
        let total = cell.and_then(|cell| cell.total).ok_or(MutationError::Overflow)?;
        Ok(StockOutcome::Given { units, by: own, total })
    }

    /// Confirms or releases.
    fn end(&mut self, reservation: &Reservation, asked: Asked) -> StockOutcome {
        let call = Call::End(reservation.clone());
        if self.side.receipts.get(&call).is_some_and(|receipt| receipt.asked == asked) {
            return self.done(reservation.units);
        }
        if !self.is_ours(&reservation.origin) || self.side.holds.remove(reservation).is_none() {
            return StockOutcome::Gone;
        }
        if asked == Asked::Release {
            self.give_back_if_exact(reservation.units);
        }
        self.remember(call, asked, reservation.units);
        self.done(reservation.units)
    }
}

/// Units as a double: at most 2^50, so exactly; more are too many anyway.
#[allow(clippy::cast_precision_loss, reason = "counts of units are at most 2^50")]
const fn amount(units: u64) -> f64 {
    units as f64
}
