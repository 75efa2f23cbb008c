//! What a handle found in the cache last. A look at it costs a third of a look into the cache, and is worth as much.
//!
//! It holds while a ticket of now is the ticket of then: nothing that the cache was told since is about this key. It keeps
//! no value alive: that is the cache's part, whose bound on memory holds. And it lasts for a moment only, so that the cache
//! hears which values are in use.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use arc_swap::ArcSwapOption;

use super::cache::Ticket;

/// What was found last, if anything.
pub(super) struct Recent<T>(ArcSwapOption<Found<T>>);

struct Found<T> {
    /// Taken before the look.
    ticket: Ticket,
    until: Instant,
    /// `None`: there is none.
    value: Option<Weak<T>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(ArcSwapOption::empty())
    }
}

impl<T> Recent<T> {
    /// What was found by an equal ticket, if that is believed and still held. No lock, no allocation.
    pub(super) fn look(&self, ticket: Ticket, now: Instant) -> Option<Option<Arc<T>>> {
        let found = self.0.load();
        let found = found.as_ref().filter(|found| found.ticket == ticket && now < found.until)?;
        match &found.value {
            Some(value) => value.upgrade().map(Some),
            None => Some(None),
        }
    }

    /// Remembers what the cache held after this ticket was taken.
    pub(super) fn remember(&self, ticket: Ticket, until: Instant, value: Option<&Arc<T>>) {
        self.0.store(Some(Arc::new(Found { ticket, until, value: value.map(Arc::downgrade) })));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::NearConfig, near::cache::Cache};

    #[test]
    fn it_is_worth_what_its_ticket_is_worth() {
        let (cache, slot, now) = (Cache::new(&NearConfig::default()), Cache::slot(b"k"), Instant::now());
        let (recent, value) = (Recent::default(), Arc::new(7_u8));
        for change in [|cache: &Cache| cache.invalidate(b"k"), |cache: &Cache| cache.invalidate_all()] {
            let ticket = cache.ticket(slot);
            recent.remember(ticket, now + Duration::from_secs(1), Some(&value));
            assert_eq!(recent.look(cache.ticket(slot), now), Some(Some(value.clone())));
            change(&cache);
            assert_eq!(recent.look(cache.ticket(slot), now), None);
        }
    }

    #[test]
    fn it_ends_with_its_time_and_keeps_nothing_alive() {
        let (cache, now) = (Cache::new(&NearConfig::default()), Instant::now());
        let (ticket, until) = (cache.ticket(Cache::slot(b"k")), now + Duration::from_millis(1));
        let (recent, value) = (Recent::default(), Arc::new(7_u8));
        assert_eq!(recent.look(ticket, now), None);
        recent.remember(ticket, until, None);
        assert_eq!((recent.look(ticket, now), recent.look(ticket, until)), (Some(None), None));
        recent.remember(ticket, until, Some(&value));
        assert_eq!(recent.look(ticket, now), Some(Some(value.clone())));
        drop(value);
        assert_eq!(recent.look(ticket, now), None);
    }
}
