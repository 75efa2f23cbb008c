//! One fetch of a key at a time.
//!
//! Whoever waits takes the outcome of a fetch only if that began after it asked: it may have written the key before. The
//! routed plane's flights share what began earlier, too; there, each fetch first looks at the stored value.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is being fetched now, by key. As many entries as there are keys with a caller waiting, and no more.
#[derive(Debug)]
pub(super) struct Turns<K, V> {
    clock: AtomicU64,
    turns: Mutex<HashMap<K, Arc<Turn<V>>>>,
}

/// Who holds it fetches. It is a turn, not a lock: it is held across awaits, and given on when its holder is dropped.
type Turn<V> = tokio::sync::Mutex<Option<Fetched<V>>>;

/// The last fetch, by the clock of [`Turns`].
#[derive(Debug)]
struct Fetched<V> {
    began: u64,
    value: V,
}

impl<K, V> Default for Turns<K, V> {
    fn default() -> Self {
        Self { clock: AtomicU64::new(0), turns: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Turns<K, V> {
    /// What is `held` when it is this caller's turn, what somebody else fetched since it asked, or what `fetch` gives.
    ///
    /// # Cancel safety
    /// When the caller whose `fetch` runs is dropped, the next in line goes on.
    pub(super) async fn take<F: Future<Output = V>>(
        &self,
        key: &K,
        held: impl FnOnce() -> Option<V>,
        fetch: impl FnOnce() -> F,
    ) -> V {
        let asked = self.clock.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { turns: self, key, turn: self.turn(key) };
        let mut last = seat.turn.lock().await;
        if let Some(fetched) = last.as_ref().filter(|fetched| fetched.began > asked) {
            return fetched.value.clone();
        }
        if let Some(held) = held() {
            return held;
        }
        let began = self.clock.fetch_add(1, Ordering::Relaxed);
        let value = fetch().await;
        *last = Some(Fetched { began, value: value.clone() });
        value
    }

    fn turn(&self, key: &K) -> Arc<Turn<V>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(key.clone()).or_default().clone()
    }
}

/// A caller's place in line. The last one out removes the entry, however it leaves.
struct Seat<'t, K: Hash + Eq, V> {
    turns: &'t Turns<K, V>,
    key: &'t K,
    turn: Arc<Turn<V>>,
}

impl<K: Hash + Eq, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        let mut turns = self.turns.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Seats are only taken and left under this lock: the map's own and this one are the last two.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicU32, Ordering},
    };

    use futures_util::{FutureExt, future::join_all};

    use super::*;

    fn count(turns: &Turns<u8, u32>) -> usize {
        turns.turns.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    #[tokio::test]
    async fn who_waits_takes_what_began_after_it_asked() {
        let (turns, fetched) = (Turns::<u8, u32>::default(), AtomicU32::new(0));
        let fetch = || async {
            tokio::task::yield_now().await;
            fetched.fetch_add(1, Ordering::Relaxed)
        };
        let all = join_all((0..50).map(|_| turns.take(&1, || None, fetch))).await;
        // The first began before the others asked: one of them fetched again, for all of them.
        assert_eq!(all.iter().filter(|n| **n == 0).count(), 1, "{all:?}");
        assert!(all.iter().skip(1).all(|n| *n == 1), "{all:?}");
        assert_eq!(turns.take(&1, || Some(7), fetch).await, 7, "what is held needs no fetch");
        assert_eq!(count(&turns), 0);
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_hands_over() {
        let turns = Turns::<u8, u32>::default();
        let mut second = pin!(turns.take(&1, || None, || async { 2 }));
        {
            let mut first = pin!(turns.take(&1, || None, std::future::pending));
            assert_eq!(first.as_mut().now_or_never(), None);
            assert_eq!(second.as_mut().now_or_never(), None);
            assert_eq!(count(&turns), 1);
        }
        assert_eq!(second.await, 2);
        assert_eq!(count(&turns), 0);
    }
}
