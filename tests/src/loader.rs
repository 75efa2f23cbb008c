//! A loader under control.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use archipelago::testing::poll;
use tokio::sync::watch;

/// A loader that counts its calls and waits until it may go. A clone is the same loader.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    calls: Arc<AtomicU32>,
    go: watch::Sender<bool>,
}

impl Loader {
    /// Loads this, once it may.
    ///
    /// # Errors
    /// Those it is given.
    pub async fn load(&self, result: Result<Option<u32>, String>) -> Result<Option<u32>, String> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _ = self.go.subscribe().wait_for(|go| *go).await;
        result
    }

    /// Lets every call go on, those to come too.
    pub fn go(&self) {
        self.go.send_replace(true);
    }

    /// How often it was called.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until it was called so often.
    pub async fn until_called(&self, times: u32) {
        poll::until("the loader", || async { (self.calls() == times).then_some(()) }).await;
    }
}
