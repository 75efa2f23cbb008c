//! A value as a stream of its changes.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};

use super::{keyspace::NearKeyspace, value::NearValue, watchers::Place};
use crate::error::{Error, ErrorKind};

/// Between attempts to read while the region cannot be reached: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A value as a stream, from [`NearValue::watch`]: what it is now, and then every change that the local region sees, its own
/// writes and those that arrive from other regions.
///
/// Changes in quick succession come as one, the latest: a slow reader finds what is there when it looks. While the region
/// cannot be reached the stream waits; after a reconnect or a failover it reads again, and yields what differs. Watchers of
/// one key share one read. Equal values in a row come once, by their stored form.
///
/// An error means that what is stored is no such value, or that the region refuses the read; the stream goes on. It ends when
/// the client is shut down, and at once when the keyspace is on the other plane, behind an [`ErrorKind::Config`].
///
/// Not promised: every value in between, or that a change comes at once where the server does not allow tracking
/// ([`Tracking::Refused`](super::Tracking::Refused)): then it comes after the cache's time to live.
#[must_use = "it does nothing until it is polled"]
pub struct Watch<T> {
    changes: Pin<Box<dyn Stream<Item = Change<T>> + Send>>,
}

/// A value, or that there is none, or why it cannot be read.
type Change<T> = Result<Option<Arc<T>>, Error>;

impl<T: Send + Sync + 'static> Watch<T> {
    pub(super) fn new(value: NearValue<T>) -> Self {
        let watcher = match value.space() {
            Ok(space) => {
                let place = Place::new(space.cache.clone(), value.key());
                Ok(Watcher { space: space.clone(), place, value, last: None, until: None, pause: PAUSES.0 })
            }
            Err(error) => Err(Some(error)),
        };
        let changes = stream::unfold(watcher, |watcher| async move {
            match watcher {
                Ok(mut watcher) => watcher.next().await.map(|change| (change, Ok(watcher))),
                Err(refused) => refused.map(|error| (Err(error), Err(None))),
            }
        });
        Self { changes: Box::pin(changes) }
    }
}

impl<T> Stream for Watch<T> {
    type Item = Change<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What a watcher has seen so far.
struct Watcher<T> {
    space: Arc<NearKeyspace>,
    place: Place,
    value: NearValue<T>,
    last: Option<Seen>,
    /// When what was read last is not believed any more; `None` before the first read.
    until: Option<Instant>,
    pause: Duration,
}

/// What was yielded last.
#[derive(PartialEq, Eq)]
enum Seen {
    /// A value with this mark.
    Value(u128),
    Error(ErrorKind),
}

impl<T: Send + Sync + 'static> Watcher<T> {
    /// The next change; `None` after shutdown.
    async fn next(&mut self) -> Option<Change<T>> {
        let stop = self.space.stop.clone();
        stop.run_until_cancelled(self.change()).await
    }

    async fn change(&mut self) -> Change<T> {
        loop {
            if let Some(until) = self.until {
                let _ = tokio::time::timeout_at(until.into(), self.place.change()).await;
            }
            // Before the read: what changes behind it is seen at the next turn.
            self.place.look();
            let (seen, change) = match self.value.facet().await {
                Ok(facet) => {
                    self.pause = PAUSES.0;
                    self.until = Some(facet.deadline);
                    (Seen::Value(facet.mark), Ok(self.value.value_of(&facet)))
                }
                Err(error) if error.kind().may_pass() => {
                    self.until = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(PAUSES.1);
                    continue;
                }
                Err(error) => {
                    self.until = Some(Instant::now() + self.space.cache.ttl());
                    (Seen::Error(error.kind()), Err(error))
                }
            };
            if self.last.as_ref() != Some(&seen) {
                self.last = Some(seen);
                return change;
            }
        }
    }
}
