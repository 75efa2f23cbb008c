//! What is held: values by key, each as long as nobody changed it.
//!
//! A value that was read must not be kept when its key changed while the answer was on its way: nobody would drop it any
//! more. So whoever reads takes a [`Ticket`] first, and what changes a key makes every ticket of that key worthless, under
//! the lock under which values are kept. The redis crate's own cache lacks this.

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

use super::{counts::Counts, watchers::Watchers};
use crate::config::NearConfig;

/// Keys share generations: a change makes reads under way of a few other keys worthless, too, which costs one read each.
const SLOTS: usize = 1024;

/// Values of one key that are held at once: one for each type and part it was asked as.
const FACETS: usize = 8;

/// What an entry takes beside its key and the stored form of its values.
const OVERHEAD: usize = 160;

/// The values of one keyspace.
pub(super) struct Cache {
    entries: Moka<Bytes, Arc<Entry>>,
    /// How often a key of each slot has changed.
    generations: Box<[Mutex<u64>]>,
    /// What was kept in another epoch may have changed unnoticed.
    epoch: AtomicU64,
    ttl: Duration,
    pub(super) counts: Arc<Counts>,
    pub(super) watchers: Watchers,
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

/// The right to keep what is read from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
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
            generations: (0..SLOTS).map(|_| Mutex::new(0)).collect(),
            epoch: AtomicU64::new(0),
            ttl: config.ttl,
            counts,
            watchers: Watchers::default(),
        }
    }

    /// How long a value is believed at most.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What is held, if that holds now. No lock, no allocation.
    pub(super) fn look<R>(&self, key: &Bytes, id: FacetId, found: impl FnOnce(&Facet) -> R) -> Option<R> {
        let entry = self.entries.get(key)?;
        if entry.epoch != self.epoch.load(Ordering::Acquire) {
            return None;
        }
        entry.facets.iter().find(|facet| facet.id == id).map(found)
    }

    /// To be taken before the read is sent, and before its way is chosen.
    pub(super) fn ticket(&self, key: &Bytes) -> Ticket {
        let epoch = self.epoch.load(Ordering::Acquire);
        Ticket { epoch, generation: *self.generation(key) }
    }

    /// Keeps what was read by this ticket, unless the key may have changed since.
    pub(super) fn keep(&self, ticket: Ticket, key: &Bytes, facet: Facet) {
        let generation = self.generation(key);
        if *generation != ticket.generation || self.epoch.load(Ordering::Acquire) != ticket.epoch {
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
        drop(generation);
    }

    /// The key has changed.
    pub(super) fn invalidate(&self, key: &[u8]) {
        let mut generation = self.generation(key);
        *generation = generation.wrapping_add(1);
        self.entries.invalidate(key);
        drop(generation);
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

    fn generation(&self, key: &[u8]) -> MutexGuard<'_, u64> {
        let slot = usize::try_from(xxh3_64(key) % SLOTS as u64).unwrap_or_default();
        #[allow(clippy::indexing_slicing, reason = "there are SLOTS of them")]
        self.generations[slot].lock().unwrap_or_else(PoisonError::into_inner)
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
            let ticket = cache.ticket(&key);
            change(&cache);
            cache.keep(ticket, &key, facet(1_u8, HOUR));
            assert_eq!(held::<u8>(&cache, &key), None);
            cache.keep(cache.ticket(&key), &key, facet(2_u8, HOUR));
            assert_eq!(held::<u8>(&cache, &key), Some(2));
            change(&cache);
            assert_eq!(held::<u8>(&cache, &key), None);
        }
        assert_eq!(cache.counts.stale.get(), 2);
    }

    #[test]
    fn a_key_holds_a_value_for_each_type_and_dies_with_the_first() {
        let (cache, key) = cache();
        let keep = |facet| cache.keep(cache.ticket(&key), &key, facet);
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
