//! Who waits for which key to change.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use super::cache::Cache;

/// Watched keys. As many entries as there are keys with a watcher, and no more.
#[derive(Default)]
pub(super) struct Watchers {
    keys: Mutex<HashMap<Bytes, watch::Sender<()>>>,
    /// How many entries: a change of what nobody watches costs no lock.
    count: AtomicUsize,
}

impl Watchers {
    pub(super) fn wake(&self, key: &[u8]) {
        if self.count.load(Ordering::Acquire) > 0
            && let Some(watched) = self.lock().get(key)
        {
            watched.send_replace(());
        }
    }

    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(|watched| watched.send_replace(()));
    }

    fn add(&self, key: &Bytes) -> watch::Receiver<()> {
        let mut keys = self.lock();
        let receiver = keys.entry(key.clone()).or_insert_with(|| watch::channel(()).0).subscribe();
        self.count.store(keys.len(), Ordering::Release);
        receiver
    }

    fn remove(&self, key: &Bytes) {
        let mut keys = self.lock();
        if keys.get(key).is_some_and(|watched| watched.receiver_count() == 0) {
            keys.remove(key);
        }
        self.count.store(keys.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, watch::Sender<()>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watchers").field(&self.lock().len()).finish()
    }
}

/// One watcher's place, given back when it is dropped.
pub(super) struct Place {
    cache: Arc<Cache>,
    key: Bytes,
    changed: Option<watch::Receiver<()>>,
}

impl Place {
    pub(super) fn new(cache: Arc<Cache>, key: &Bytes) -> Self {
        let changed = Some(cache.watchers.add(key));
        Self { cache, key: key.clone(), changed }
    }

    /// Takes every change until now for seen.
    pub(super) fn look(&mut self) {
        if let Some(changed) = &mut self.changed {
            changed.mark_unchanged();
        }
    }

    /// Waits for a change since the last look.
    pub(super) async fn change(&mut self) {
        if let Some(changed) = &mut self.changed
            && changed.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.changed = None;
        self.cache.watchers.remove(&self.key);
    }
}
