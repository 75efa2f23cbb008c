//! Flights of one key: whoever asks for what somebody is already fetching waits for that.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

/// What is being fetched now, by key. As many entries as there are keys with a caller waiting, and no more.
#[derive(Debug)]
pub(super) struct Flights<V> {
    cells: Mutex<HashMap<Vec<u8>, Arc<OnceCell<V>>>>,
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { cells: Mutex::default() }
    }
}

impl<V: Clone> Flights<V> {
    /// What `fetch` gives, or what somebody else's gives who began before. One runs at a time for each key.
    ///
    /// # Cancel safety
    /// When the caller whose `fetch` runs is dropped, the next in line runs its own.
    pub(super) async fn join<F: Future<Output = V>>(&self, key: &[u8], fetch: impl FnOnce() -> F) -> V {
        let seat = Seat { flights: self, key, cell: self.cell(key) };
        seat.cell.get_or_init(fetch).await.clone()
    }

    fn cell(&self, key: &[u8]) -> Arc<OnceCell<V>> {
        let mut cells = self.lock();
        match cells.get(key) {
            // One that has landed is history: what it fetched may have been overwritten by this very caller.
            Some(cell) if !cell.initialized() => cell.clone(),
            Some(_) | None => {
                let cell = Arc::new(OnceCell::new());
                cells.insert(key.to_vec(), cell.clone());
                cell
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<OnceCell<V>>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's place in a flight. The last one out removes the entry, however it leaves.
struct Seat<'f, V> {
    flights: &'f Flights<V>,
    key: &'f [u8],
    cell: Arc<OnceCell<V>>,
}

impl<V> Drop for Seat<'_, V> {
    fn drop(&mut self) {
        let mut cells = self.flights.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let is_entry = cells.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // Seats are only taken and left under this lock: the map's own and this one are the last two.
        if is_entry && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2) {
            cells.remove(self.key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicU32, Ordering},
    };

    use futures_util::{FutureExt, future::join_all};
    use tokio::sync::oneshot;

    use super::*;

    fn count<V: Clone>(flights: &Flights<V>) -> usize {
        flights.lock().len()
    }

    #[tokio::test]
    async fn many_callers_of_a_key_share_one_fetch_and_other_keys_have_their_own() {
        let (flights, fetched) = (Flights::default(), AtomicU32::new(0));
        let fetch = || async {
            tokio::task::yield_now().await;
            fetched.fetch_add(1, Ordering::Relaxed)
        };
        let same = join_all((0..50).map(|_| flights.join(b"a", fetch))).await;
        assert_eq!(same, [0; 50]);
        assert_eq!(join_all([flights.join(b"b", fetch), flights.join(b"c", fetch)]).await, [1, 2]);
        assert_eq!(flights.join(b"a", fetch).await, 3, "what has landed is not given to who comes later");
        assert_eq!(count(&flights), 0);
    }

    #[tokio::test]
    async fn who_waits_takes_over_from_who_leaves() {
        let flights = Flights::default();
        let (_never, silent) = oneshot::channel::<u32>();
        let mut second = pin!(flights.join(b"a", || async { 2 }));
        {
            let mut first = pin!(flights.join(b"a", || async { silent.await.unwrap_or(1) }));
            assert_eq!(first.as_mut().now_or_never(), None);
            assert_eq!(second.as_mut().now_or_never(), None);
            assert_eq!(count(&flights), 1);
        }
        assert_eq!(second.await, 2);
        assert_eq!(count(&flights), 0);
    }

    #[tokio::test]
    async fn nothing_stays_behind_when_all_leave() {
        let flights = Flights::<u32>::default();
        {
            let mut first = pin!(flights.join(b"a", std::future::pending));
            let mut second = pin!(flights.join(b"a", std::future::pending));
            assert_eq!(first.as_mut().now_or_never(), None);
            assert_eq!(second.as_mut().now_or_never(), None);
        }
        assert_eq!(count(&flights), 0);
    }
}
