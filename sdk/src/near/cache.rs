//! What is held: values by key, each as long as nobody changed it.
//!
//! A value that was read must not be kept when its key changed while the answer was on its way: nobody would drop it any
//! more. So whoever reads takes a [`Ticket`] first, and what changes a key makes every ticket of that key worthless, under
//! the lock under which values are kept. The redis crate's own cache lacks this.
//!
//! The other way round, what was held while a ticket was taken holds for as long as a new one would be the same: so a handle
//! may remember it ([`Recent`](super::recent::Recent)).

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{Expiry, notification::RemovalCause, sync::Cache as Moka};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    counts::{Count, Counts},
    watchers::Watchers,
};
use crate::config::NearConfig;

/// Keys share generations: a change makes reads under way of a few other keys worthless, too, which costs one read each.
const SLOTS: usize = 1024;

/// Values of one key that are held at once: one for each type and part it was asked as.
const FACETS: usize = 8;

/// What an entry takes beside its key and the stored form of its values.
const OVERHEAD: usize = 160;

/// See [`Cache::moment`]. Short beside the time in which a cache that is full is read through.
const MOMENT: Duration = Duration::from_millis(100);

/// The values of one keyspace.
pub(super) struct Cache {
    entries: Moka<Bytes, Arc<Entry>>,
    slots: Box<[SlotState]>,
    /// What was kept in another epoch may have changed unnoticed.
    epoch: AtomicU64,
    ttl: Duration,
    moment: Duration,
    pub(super) counts: Arc<Counts>,
    pub(super) watchers: Watchers,
}

/// Which of the slots a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// What the keys of a slot share.
#[derive(Debug, Default)]
struct SlotState {
    /// How often one of them has changed. Changed under the lock, after the key's values are gone: whoever sees the new one
    /// finds nothing of what was there before.
    generation: AtomicU64,
    lock: Mutex<()>,
    /// One count for all keys would be what every processor waits for.
    hits: Count,
}

/// What is held of one key.
struct Entry {
    epoch: u64,
    /// The first of its values'.
    deadline: Instant,
    weight: u32,
    facets: SmallVec<[Facet; 1]>,
}

/// As what a key was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FacetId {
    /// Of the value and its codec.
    pub(super) type_id: TypeId,
    pub(super) part: Part,
    /// Whether a loader gave it, where the region has nothing.
    pub(super) is_loaded: bool,
}

/// Which part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Whole,
    /// The first so many of a ranking.
    Top(u32),
}

/// One value.
#[derive(Clone)]
pub(super) struct Facet {
    pub(super) id: FacetId,
    /// `None`: there is none.
    pub(super) value: Option<Arc<dyn Any + Send + Sync>>,
    /// Equal for equal stored forms.
    pub(super) mark: u128,
    /// Until when it is believed.
    pub(super) deadline: Instant,
    /// Of its stored form.
    pub(super) bytes: usize,
}

/// The right to keep what is read from now on. Tickets of one slot are equal for as long as none of its keys changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    slot: Slot,
    epoch: u64,
    generation: u64,
}

impl Cache {
    pub(super) fn new(config: &NearConfig) -> Self {
        let counts = Arc::new(Counts::default());
        let evicted = {
            let counts = counts.clone();
            move |_: Arc<Bytes>, _: Arc<Entry>, cause: RemovalCause| {
                if cause == RemovalCause::Size {
                    counts.evictions.add();
                }
            }
        };
        let builder = Moka::builder()
            .max_capacity(config.max_bytes)
            .weigher(|_: &Bytes, entry: &Arc<Entry>| entry.weight)
            .expire_after(Deadlines)
            .eviction_listener(evicted);
        let builder = config.tti.into_iter().fold(builder, |builder, tti| builder.time_to_idle(tti));
        Self {
            entries: builder.build(),
            slots: (0..SLOTS).map(|_| SlotState::default()).collect(),
            epoch: AtomicU64::new(0),
            ttl: config.ttl,
            moment: config.tti.map_or(MOMENT, |tti| MOMENT.min(tti / 10)),
            counts,
            watchers: Watchers::default(),
        }
    }

    /// How long a value is believed at most.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// For how long a handle remembers what it found: the cache does not hear of its reads meanwhile.
    pub(super) const fn moment(&self) -> Duration {
        self.moment
    }

    /// What is held, if that holds now. No lock, no allocation.
    pub(super) fn look<R>(&self, key: &Bytes, id: FacetId, found: impl FnOnce(&Facet) -> R) -> Option<R> {
        let entry = self.entries.get(key)?;
        if entry.epoch != self.epoch.load(Ordering::Acquire) {
            return None;
        }
        entry.facets.iter().find(|facet| facet.id == id).map(found)
    }

    /// The slot of a key.
    pub(super) fn slot(key: &[u8]) -> Slot {
        Slot(usize::try_from(xxh3_64(key) % SLOTS as u64).unwrap_or_default())
    }

    /// To be taken before the read is sent, and before its way is chosen. No lock.
    pub(super) fn ticket(&self, slot: Slot) -> Ticket {
        let epoch = self.epoch.load(Ordering::Acquire);
        Ticket { slot, epoch, generation: self.state(slot).generation.load(Ordering::Acquire) }
    }

    /// Keeps what was read by this ticket, unless the key may have changed since.
    pub(super) fn keep(&self, ticket: Ticket, key: &Bytes, facet: Facet) {
        let guard = self.lock(ticket.slot);
        if self.ticket(ticket.slot) != ticket {
            self.counts.stale.add();
            return;
        }
        let now = Instant::now();
        if facet.deadline <= now {
            return;
        }
        let mut facets = SmallVec::from_elem(facet, 1);
        if let Some(entry) = self.entries.get(key).filter(|entry| entry.epoch == ticket.epoch) {
            let id = facets.first().map(|facet: &Facet| facet.id);
            let others = entry.facets.iter().filter(|other| Some(other.id) != id && other.deadline > now);
            facets.extend(others.take(FACETS - 1).cloned());
        }
        let bytes = OVERHEAD + key.len() + facets.iter().map(|facet| facet.bytes).sum::<usize>();
        let entry = Entry {
            epoch: ticket.epoch,
            deadline: facets.iter().map(|facet| facet.deadline).min().unwrap_or(now),
            weight: u32::try_from(bytes).unwrap_or(u32::MAX),
            facets,
        };
        self.entries.insert(key.clone(), Arc::new(entry));
        drop(guard);
    }

    /// The key has changed.
    pub(super) fn invalidate(&self, key: &[u8]) {
        let slot = Self::slot(key);
        let guard = self.lock(slot);
        self.entries.invalidate(key);
        // Not before: who has the new ticket could still find the old value, and would remember it.
        self.state(slot).generation.fetch_add(1, Ordering::Release);
        drop(guard);
        // Counted when it has taken effect: who sees the count finds nothing of what was there before.
        self.counts.invalidations.add();
        self.watchers.wake(key);
    }

    /// Any key may have changed.
    pub(super) fn invalidate_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        // The epoch has made them worthless; this gives their memory back.
        self.entries.invalidate_all();
        self.watchers.wake_all();
    }

    /// How many keys it holds, and how many bytes by [`NearConfig::max_bytes`]' count.
    pub(super) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// A look that found its value here.
    pub(super) fn hit(&self, slot: Slot) {
        self.state(slot).hits.add();
    }

    /// How many looks found their value here.
    pub(super) fn hits(&self) -> u64 {
        self.slots.iter().map(|state| state.hits.get()).sum()
    }

    fn lock(&self, slot: Slot) -> MutexGuard<'_, ()> {
        self.state(slot).lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::indexing_slicing, reason = "a slot is made by `Self::slot` alone, and there are SLOTS of them")]
    fn state(&self, slot: Slot) -> &SlotState {
        &self.slots[slot.0]
    }
}

/// Lets each entry die at its deadline.
struct Deadlines;

impl Expiry<Bytes, Arc<Entry>> for Deadlines {
    fn expire_after_create(&self, _: &Bytes, entry: &Arc<Entry>, created: Instant) -> Option<Duration> {
        Some(entry.deadline.saturating_duration_since(created))
    }

    /// Without this the entry before would say when the next one dies.
    fn expire_after_update(
        &self,
        _: &Bytes,
        entry: &Arc<Entry>,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.deadline.saturating_duration_since(updated))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("keys", &self.entries.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn cache() -> (Cache, Bytes) {
        (Cache::new(&NearConfig { ttl: HOUR, ..NearConfig::default() }), Bytes::from_static(b"k"))
    }

    fn id<T: 'static>() -> FacetId {
        FacetId { type_id: TypeId::of::<T>(), part: Part::Whole, is_loaded: false }
    }

    fn facet<T: Any + Send + Sync>(value: T, lifetime: Duration) -> Facet {
        let deadline = Instant::now() + lifetime;
        Facet { id: id::<T>(), value: Some(Arc::new(value)), mark: 0, deadline, bytes: 8 }
    }

    fn held<T: Any + Send + Sync + Copy>(cache: &Cache, key: &Bytes) -> Option<T> {
        cache.look(key, id::<T>(), |facet| facet.value.clone()).map(|value| *value.unwrap().downcast().unwrap())
    }

    #[test]
    fn an_answer_that_a_change_has_overtaken_is_not_kept() {
        let (cache, key) = cache();
        for change in [|cache: &Cache| cache.invalidate(b"k"), |cache: &Cache| cache.invalidate_all()] {
            let ticket = cache.ticket(Cache::slot(&key));
            change(&cache);
            cache.keep(ticket, &key, facet(1_u8, HOUR));
            assert_eq!(held::<u8>(&cache, &key), None);
            cache.keep(cache.ticket(Cache::slot(&key)), &key, facet(2_u8, HOUR));
            assert_eq!(held::<u8>(&cache, &key), Some(2));
            change(&cache);
            assert_eq!(held::<u8>(&cache, &key), None);
        }
        assert_eq!(cache.counts.stale.get(), 2);
    }

    #[test]
    fn a_key_holds_a_value_for_each_type_and_dies_with_the_first() {
        let (cache, key) = cache();
        let keep = |facet| cache.keep(cache.ticket(Cache::slot(&key)), &key, facet);
        keep(facet(1_u8, HOUR));
        keep(facet(2_u16, HOUR));
        assert_eq!((held::<u8>(&cache, &key), held::<u16>(&cache, &key)), (Some(1), Some(2)));
        keep(facet(3_u8, HOUR));
        assert_eq!((held::<u8>(&cache, &key), held::<u16>(&cache, &key)), (Some(3), Some(2)));
        keep(facet(4_u32, Duration::ZERO));
        assert_eq!((held::<u8>(&cache, &key), held::<u32>(&cache, &key)), (Some(3), None));
        assert_eq!(cache.size().0, 1);
    }

    #[test]
    fn who_listens_hears_of_its_key_alone_and_leaves_nothing_behind() {
        let cache = Arc::new(cache().0);
        let mut place = super::super::watchers::Place::new(cache.clone(), &Bytes::from_static(b"k"));
        let mut heard = || futures_util::FutureExt::now_or_never(place.change()).is_some();
        cache.invalidate(b"other");
        assert!(!heard());
        cache.invalidate(b"k");
        assert!(heard() && !heard());
        cache.invalidate_all();
        assert!(heard());
        drop(place);
        assert_eq!(format!("{:?}", cache.watchers), "Watchers(0)");
    }
}
