//! The watcher: feeds the selector, and carries out its switches.

use std::{sync::Arc, time::Duration};

use super::plane::Core;

/// Between two looks. Looking is a few atomic loads for each region.
const INTERVAL: Duration = Duration::from_millis(50);

pub(crate) async fn keep_watching(core: Arc<Core>) {
    loop {
        core.follow();
        core.look();
        let _ = tokio::time::timeout(INTERVAL, core.suspected()).await;
    }
}
