//! Stock: units that several regions sell, and never one of them twice.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use archipelago_engine::{
    self as engine, Books, CallId, Cell, Cells, Delta, Field, Mutation, Origin, Outcome, PushReply, RegionId,
    StockChange, StockOutcome, Total,
};
use tokio::time::timeout;

use super::{Handle, optional, unexpected};
use crate::{
    config::defaults,
    error::{Error, ErrorKind},
    keyspace::partition_of,
    store::{Excerpt, Query, Store, StoreError, Write},
};

/// Units of something that run out: stock, seats, quotas. Never more are taken than were restocked, also while the regions
/// cannot reach each other.
///
/// A bounded counter (escrow): each region has *rights* to a part of the units, and takes without asking anybody as long as
/// they last. Then it asks the region that has most for some of its rights, if the keyspace allows
/// ([`StockConfig`](crate::config::StockConfig)), and in the background rights move to where units are taken.
///
/// # Calls with an id
/// Restocking, taking and giving back carry an id of the caller's, 1 to 128 visible ASCII characters, such as an order's
/// number. Repeated with the same id in the same region, a call is done once and answers what it did then. So after
/// [`ErrorKind::MaybeApplied`] repeat it there. An id is remembered for ten minutes by the region's clock, beside the
/// data: it is not known in other regions, and a region that lost its last writes may have lost it with them. A take that
/// is then repeated takes other units; a restock or give-back may count twice if the lost one had already moved elsewhere.
///
/// # Promised
/// Successful takes, less what was given back, never exceed what was restocked: under partitions, crashes, duplicated and
/// reordered messages, and in regions that lose data. Every change makes the exact history check, whatever
/// [`HistoryCheck`](crate::config::HistoryCheck) the keyspace has.
///
/// # Not promised
/// That a unit that is left somewhere can be taken here: [`ErrorKind::InsufficientRights`] says so. What a region that lost
/// data had a right to stays frozen, unless it has
/// [`lossless_restart`](crate::config::RegionConfig::lossless_restart), or an operator runs `archipelago stock reclaim`.
/// A stock is never deleted, set or expired. Batches do not take it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// use archipelago::ErrorKind;
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let tickets = client.stock("tickets");
/// tickets.restock("delivery-1", 3).await?;
/// tickets.take("order-1", 2).await?;
/// tickets.take("order-1", 2).await?; // no answer came? Once more: it counts once
/// assert_eq!(tickets.left().await?, 1);
/// let error = tickets.take("order-2", 2).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InsufficientRights { local: 1, known_elsewhere: 0 });
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Stock {
    pub(crate) handle: Handle,
}

impl Stock {
    /// How many units are left in all regions, as far as this one knows. One plain read.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn left(&self) -> Result<u64, Error> {
        let Some(text) = optional(self.handle.read(Query::Value).await?)? else { return Ok(0) };
        let left = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        left.ok_or_else(|| Error::new(ErrorKind::Serialization, "the units left are no number"))
    }

    /// How many units this region may take without asking another one. Returns reservations that have run out first.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn rights(&self) -> Result<u64, Error> {
        done(self.change(StockChange::Tidy).await?)
    }

    /// Adds new units, and answers how many are left. This region has the right to take them.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for an id that is none or stands for another call, and past 2^40 units in all;
    /// [`ErrorKind::MaybeApplied`] when no answer came: repeat it with the same id.
    pub async fn restock(&self, id: &str, units: u64) -> Result<u64, Error> {
        left(self.change(StockChange::Restock { id: call_id(id)?, units }).await?)
    }

    /// Takes units, all of them or none.
    ///
    /// # Errors
    /// [`ErrorKind::InsufficientRights`], and as [`Stock::restock`].
    ///
    /// # Cancel safety
    /// Dropped, the units may have been taken, and rights may have moved here: repeat it with the same id.
    pub async fn take(&self, id: &str, units: u64) -> Result<(), Error> {
        let take = StockChange::Take { id: call_id(id)?, units, partial: false, hold: None };
        done(self.change_with_rights(take, units).await?).map(drop)
    }

    /// Takes as many units as this region has a right to, up to a number; says how many. It asks other regions only when it
    /// has no right to any.
    ///
    /// # Errors
    /// As [`Stock::restock`].
    ///
    /// # Cancel safety
    /// As [`Stock::take`].
    pub async fn take_up_to(&self, id: &str, units: u64) -> Result<u64, Error> {
        let take = StockChange::Take { id: call_id(id)?, units, partial: true, hold: None };
        match self.change_with_rights(take, units).await? {
            StockOutcome::Short { .. } => Ok(0),
            outcome => done(outcome),
        }
    }

    /// Units that were taken come back: answers how many are left. No more than are known here to be taken.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when so many were not taken as far as this region knows, and as [`Stock::restock`].
    pub async fn give_back(&self, id: &str, units: u64) -> Result<u64, Error> {
        left(self.change(StockChange::GiveBack { id: call_id(id)?, units }).await?)
    }

    /// Takes units that come back after `duration` unless they are confirmed: seats, carts.
    ///
    /// They come back with the next change of the stock in this region, or by the sweeper within about five seconds.
    ///
    /// # Errors
    /// As [`Stock::take`]; [`ErrorKind::Refused`] for a duration below a millisecond.
    ///
    /// # Cancel safety
    /// As [`Stock::take`].
    pub async fn reserve(&self, id: &str, units: u64, duration: Duration) -> Result<Reservation, Error> {
        let hold = Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let take = StockChange::Take { id: call_id(id)?, units, partial: false, hold };
        match self.change_with_rights(take, units).await? {
            StockOutcome::Held(token) => Ok(Reservation { stock: self.clone(), token }),
            other => Err(refusal(&other)),
        }
    }

    /// The reservation with this token, as [`Reservation::token`] gave it: in another process, or in another region.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a text that is no token.
    pub fn reservation(&self, token: &str) -> Result<Reservation, Error> {
        let token = token.parse().map_err(|error: engine::ReservationError| refused(error.to_string()))?;
        Ok(Reservation { stock: self.clone(), token })
    }

    /// Moves rights of this region to another; says how many: fewer than asked for when this region has fewer.
    ///
    /// They can be spent there once the write has arrived. Which incarnation of the other region is the current one is asked
    /// there, so that no rights go to one that has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown region or this one, [`ErrorKind::Unavailable`] when it cannot be reached,
    /// [`ErrorKind::InsufficientRights`] when there is none to move.
    pub async fn transfer_to(&self, region: &str, units: u64) -> Result<u64, Error> {
        let stores = self.stores()?;
        let known = || stores.keys().map(RegionId::as_str).collect::<Vec<_>>().join(", ");
        let found = stores.iter().find(|(id, _)| id.as_str() == region);
        let (_, store) = found
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("unknown region {region:?}, known: {}", known())))?;
        let partition = partition_of(&self.handle.key.name, store.partitions());
        let standing = store.standing(partition).await.map_err(|error| Error::of_read(error, store.region()))?;
        match self.change(StockChange::Transfer { to: standing.origin, units, partial: true }).await? {
            StockOutcome::Given { units, .. } => Ok(units),
            other => Err(refusal(&other)),
        }
    }

    async fn change(&self, change: StockChange) -> Result<StockOutcome, Error> {
        match self.handle.write(Mutation::Stock(change)).await? {
            Outcome::Stock(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes, and where this region's rights do not suffice, fetches some and takes again.
    async fn change_with_rights(&self, take: StockChange, units: u64) -> Result<StockOutcome, Error> {
        let outcome = self.change(take.clone()).await?;
        let StockOutcome::Short { local, elsewhere } = outcome else { return Ok(outcome) };
        if !self.handle.keyspace()?.island.stock.on_demand || elsewhere == 0 {
            return Ok(outcome);
        }
        // Bounded as a whole: regions that cannot be reached must not hold up a sale.
        match timeout(defaults::RESPONSE_TIMEOUT, self.fetch_rights(units.saturating_sub(local))).await {
            Ok(Ok(true)) => self.change(take).await,
            Ok(Ok(false)) | Err(_) => Ok(outcome),
            Ok(Err(error)) => {
                tracing::debug!(%error, "rights could not be fetched");
                Ok(outcome)
            }
        }
    }

    /// Asks the regions with the most rights, as far as this one knows, for what is lacking; says whether any gave some.
    async fn fetch_rights(&self, lacking: u64) -> Result<bool, StoreError> {
        let key = &self.handle.key;
        let Ok(keyspace) = self.handle.keyspace() else { return Ok(false) };
        let local = &keyspace.store;
        let (state, standing) = local.cells_and_stand(&Excerpt::whole(key.clone())).await?;
        let books = Books::of(&state);
        let others = keyspace.island.stores.iter().filter(|(region, _)| *region != local.region());
        let mut givers: Vec<_> = others.map(|(region, store)| (books.rights_of_region(region), store)).collect();
        givers.retain(|(rights, _)| *rights > 0);
        givers.sort_by_key(|(rights, _)| std::cmp::Reverse(*rights));
        let mut fetched = 0;
        for (rights, store) in givers {
            if fetched >= lacking {
                break;
            }
            // Half of what it has: asking for single units would make each later sale a round trip.
            let units = lacking.saturating_sub(fetched).max(rights / 2);
            let transfer = StockChange::Transfer { to: standing.origin.clone(), units, partial: true };
            let write = Write { key: key.clone(), mutation: Mutation::Stock(transfer), exclusive: false };
            if let Ok(Outcome::Stock(StockOutcome::Given { units, by, total })) = store.write(&write).await
                && self.receive(local.as_ref(), store.as_ref(), &standing.origin, &by, total).await?
            {
                fetched += units;
            }
        }
        Ok(fetched > 0)
    }

    /// Pushes the giver's count here at once, for its log would bring it a moment later; says whether it was taken.
    async fn receive(
        &self,
        local: &dyn Store,
        giver: &dyn Store,
        to: &Origin,
        by: &Origin,
        total: Total,
    ) -> Result<bool, StoreError> {
        let mut delta = Delta::new(self.handle.key.clone());
        let cell = Cell { total: Some(total), ..Cell::default() };
        let cells: Cells = [(by.clone(), cell)].into_iter().collect();
        delta.fields.insert(Field::Member(format!("to:{to}").into()), cells);
        let partition = partition_of(&self.handle.key.name, local.partitions());
        let standing = giver.standing(partition).await?;
        if standing.origin != *by {
            return Ok(false);
        }
        Ok(matches!(local.push(partition, &standing.push(vec![delta])).await?, PushReply::Joined { left_out: 0 }))
    }

    fn stores(&self) -> Result<&BTreeMap<RegionId, Arc<dyn Store>>, Error> {
        Ok(&self.handle.keyspace()?.island.stores)
    }
}

/// Units set aside for a time. Dropping it changes nothing: they come back when their time is over.
///
/// Only the region that set them aside can confirm or release them: elsewhere the call goes there, and fails when that
/// region cannot be reached. A region that comes back from a restart without
/// [`lossless_restart`](crate::config::RegionConfig::lossless_restart) does not know the reservation any more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// # use std::time::Duration;
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let seats = client.stock("seats");
/// seats.restock("hall-1", 2).await?;
/// let cart = seats.reserve("cart-7", 2, Duration::from_secs(900)).await?;
/// assert_eq!(seats.left().await?, 0);
/// let token = cart.token().to_string(); // in a cookie, say
/// seats.reservation(&token)?.confirm().await?;
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Reservation {
    stock: Stock,
    token: engine::Reservation,
}

impl Reservation {
    /// Its token, for [`Stock::reservation`]. Displays as text.
    #[must_use]
    pub const fn token(&self) -> &engine::Reservation {
        &self.token
    }

    /// How many units are set aside.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.token.units
    }

    /// The region that set them aside.
    #[must_use]
    pub const fn region(&self) -> &RegionId {
        &self.token.origin.region
    }

    /// The units are sold. Repeated within ten minutes, it counts once.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the time has run out, the reservation was released, or its region lost data;
    /// [`ErrorKind::Unavailable`] when its region is another one and cannot be reached: confirm it there. Else see
    /// [`ErrorKind`].
    pub async fn confirm(&self) -> Result<(), Error> {
        self.end(StockChange::Confirm(self.token.clone())).await
    }

    /// The units come back. Repeated within ten minutes, it counts once.
    ///
    /// # Errors
    /// As [`Reservation::confirm`]; [`ErrorKind::Refused`] for one that was confirmed, too: use [`Stock::give_back`].
    pub async fn release(&self) -> Result<(), Error> {
        self.end(StockChange::Release(self.token.clone())).await
    }

    async fn end(&self, change: StockChange) -> Result<(), Error> {
        let keyspace = self.stock.handle.keyspace()?;
        if self.region() == keyspace.store.region() {
            return done(self.stock.change(change).await?).map(drop);
        }
        // Confirmed here while its timer returns the units there, one unit would be sold twice.
        let Some(store) = self.stock.stores()?.get(self.region()) else {
            let text = format!("the reservation is of region {}: {}", self.region(), keyspace.why_unknown());
            return Err(Error::new(ErrorKind::Config, text));
        };
        let write = Write { key: self.stock.handle.key.clone(), mutation: Mutation::Stock(change), exclusive: false };
        match store.write(&write).await.map_err(|error| Error::of_write(error, store.region()))? {
            Outcome::Stock(outcome) => done(outcome).map(drop),
            other => Err(unexpected(&other)),
        }
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.token.fmt(f)
    }
}

fn call_id(text: &str) -> Result<CallId, Error> {
    text.parse().map_err(|error: engine::CallIdError| refused(error.to_string()))
}

fn done(outcome: StockOutcome) -> Result<u64, Error> {
    match outcome {
        StockOutcome::Done { units, .. } => Ok(units),
        other => Err(refusal(&other)),
    }
}

fn left(outcome: StockOutcome) -> Result<u64, Error> {
    match outcome {
        StockOutcome::Done { left, .. } => Ok(left),
        other => Err(refusal(&other)),
    }
}

fn refusal(outcome: &StockOutcome) -> Error {
    match outcome {
        StockOutcome::Short { local, elsewhere } => {
            let kind = ErrorKind::InsufficientRights { local: *local, known_elsewhere: *elsewhere };
            let hint = if *elsewhere == 0 {
                "restock, or wait for what is reserved"
            } else {
                "take fewer, try again when rights have moved here, or take them there"
            };
            let text = format!(
                "this region has a right to {local} units, other regions to {elsewhere} as far as it knows: {hint}"
            );
            Error::new(kind, text)
        }
        StockOutcome::Gone => refused(
            "the reservation is not held any more: its time ran out, it was ended before, or its region lost data",
        ),
        StockOutcome::Reused => refused("the id stands for a call that asked for something else"),
        StockOutcome::NotTaken { taken } => refused(format!("only {taken} units are known here to be taken")),
        StockOutcome::Done { .. } | StockOutcome::Held(_) | StockOutcome::Given { .. } => unexpected(outcome),
    }
}

fn refused(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Refused, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use archipelago_engine::{Batch, SetAside};

    use super::*;
    use crate::{Client, Embedded};

    /// The log entry that gave rights may be set aside, for what else it says. The rights come past the log, and the entry
    /// stays: forgotten, what else it says would be missing for good.
    #[tokio::test]
    async fn rights_that_were_fetched_leave_an_entry_set_aside_where_it_is() {
        let regions = Embedded::builder().region("a").region("b").partitions(1).build().unwrap();
        let client_in = |region| Client::builder().embedded(&regions).local_region(region).without_sync().build();
        let (here, there) = (client_in("a").await.unwrap(), client_in("b").await.unwrap());
        there.stock("s").restock("once", 10).await.unwrap();
        here.sync_until_idle(Duration::from_secs(30)).await.unwrap();
        let stock = here.stock("s");
        let (local, giver) = (here.keyspace("default").unwrap().store(), there.keyspace("default").unwrap().store());
        let to = local.standing(0).await.unwrap().origin;
        let transfer = StockChange::Transfer { to: to.clone(), units: 4, partial: false };
        let write = Write { key: stock.handle.key.clone(), mutation: Mutation::Stock(transfer), exclusive: false };
        let Outcome::Stock(StockOutcome::Given { by, total, .. }) = giver.write(&write).await.unwrap() else {
            panic!("not given")
        };
        let cursor = local.sync_state(0).await.unwrap().cursors[giver.region()];
        let slice = giver.log_after(0, cursor.id, 10).await.unwrap();
        let entry = slice.entries.last().unwrap();
        assert_eq!(entry.id, total.version);
        let aside = vec![SetAside { id: entry.id, bytes: "of another format".into() }];
        let batch = Batch {
            origin: slice.origin.clone(),
            from: cursor.number,
            to: slice.end,
            id: entry.id,
            applied: entry.id,
            epoch: slice.epoch,
            deltas: Vec::new(),
            vector: None,
            aside: aside.clone(),
        };
        local.join(0, &batch).await.unwrap();
        assert!(stock.receive(&*local, &*giver, &to, &by, total).await.unwrap());
        assert_eq!(local.aside(0, &by).await.unwrap(), aside);
        stock.take("sale", 4).await.unwrap();
        here.shut_down().await;
        there.shut_down().await;
    }
}
