//! Who wants to know which keys of a region change: what client tracking is to a server.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use archipelago_engine::Key;

/// Hears of changes while the region holds its lock: it must be quick, and must not call the region.
pub(crate) trait Listener: Send + Sync {
    /// A key may have changed. Plain keys have the keyspace `""`.
    fn changed(&self, keyspace: &str, key: &Key);

    /// Any key may have.
    fn all_changed(&self);
}

/// The listeners of one region. They end with their owners.
#[derive(Default)]
pub(super) struct Listeners {
    known: Mutex<Vec<Weak<dyn Listener>>>,
}

impl Listeners {
    pub(super) fn add(&self, listener: Weak<dyn Listener>) {
        let mut known = self.lock();
        known.retain(|other| other.strong_count() > 0);
        known.push(listener);
    }

    pub(super) fn changed<'k>(&self, keyspace: &str, keys: impl IntoIterator<Item = &'k Key>) {
        let known = self.lock();
        if known.is_empty() {
            return;
        }
        for key in keys {
            known.iter().filter_map(Weak::upgrade).for_each(|listener| listener.changed(keyspace, key));
        }
    }

    pub(super) fn all_changed(&self) {
        self.lock().iter().filter_map(Weak::upgrade).for_each(|listener| listener.all_changed());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Listener>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listeners").field(&self.lock().len()).finish()
    }
}
