//! A feed as a stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Arrived, Codec, Feed, FeedCursor};
use crate::error::Error;

/// Between two looks where nothing arrives: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Entries of one answer: what is held at a time.
const BATCH: u64 = 100;

/// Entries of a feed as they arrive in the local region, from [`Feed::follow`]: each item is what [`Feed::arrived`]
/// answers, with the cursor behind it, and either has entries or says that reading started over, or that entries are in no
/// order of arrival ([`Arrived::unordered`]; said again when their number changes). At most 100 entries each.
///
/// It looks again at once while entries come, then after pauses that grow from 10 ms to half a second: so long an entry may
/// take to be seen, and so often an idle feed is asked for. Nothing runs in between: a stream that is not polled does
/// nothing and holds nothing.
///
/// While the region cannot be reached it waits and goes on from where it was. Any other error comes once and ends it; so
/// does shutting down the client, without an error.
///
/// # Cancel safety
/// Dropping a wait for the next item loses nothing: the stream goes on from its last item. Dropping the stream loses what the
/// caller has not written down: keep the cursor of the last item that was dealt with.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// # let regions = archipelago::Embedded::builder().region("eu").build()?;
/// # let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// use futures_util::StreamExt;
///
/// let room = client.feed::<String>("room:7");
/// let mut news = room.follow(room.cursor_now().await?);
/// room.append("hello").await?;
/// let batch = news.next().await.expect("not shut down")?;
/// assert_eq!(batch.entries[0].value, "hello");
/// # client.shut_down().await; Ok(()) }
/// ```
#[must_use = "it does nothing until it is polled"]
pub struct Follow<T> {
    batches: Pin<Box<dyn Stream<Item = Batch<T>> + Send>>,
}

type Batch<T> = Result<Arrived<T>, Error>;

impl<T: DeserializeOwned + Send + 'static> Follow<T> {
    pub(super) fn new<C: Codec>(feed: Feed<T, C>, cursor: FeedCursor) -> Self {
        let stop = feed.handle.keyspace().map(|keyspace| keyspace.repairs.stop().clone()).unwrap_or_default();
        let follower = Follower { feed, cursor, stop, is_over: false, unordered: 0 };
        let batches = stream::unfold(follower, |mut follower| async move {
            let batch = follower.next().await?;
            Some((batch, follower))
        });
        Self { batches: Box::pin(batches) }
    }
}

impl<T> Stream for Follow<T> {
    type Item = Batch<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Follow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

struct Follower<T, C> {
    feed: Feed<T, C>,
    cursor: FeedCursor,
    stop: CancellationToken,
    is_over: bool,
    /// How many entries were last told to be in no order.
    unordered: u64,
}

impl<T: DeserializeOwned, C: Codec> Follower<T, C> {
    /// The next batch; `None` behind an error, and after shutdown.
    async fn next(&mut self) -> Option<Batch<T>> {
        if self.is_over {
            return None;
        }
        let stop = self.stop.clone();
        let batch = stop.run_until_cancelled(self.look()).await?;
        match &batch {
            Ok(arrived) => (self.cursor, self.unordered) = (arrived.cursor, arrived.unordered),
            Err(_) => self.is_over = true,
        }
        Some(batch)
    }

    async fn look(&self) -> Batch<T> {
        let mut pause = PAUSES.0;
        loop {
            match self.feed.arrived(&self.cursor, BATCH).await {
                Ok(arrived) if arrived.restarted || !arrived.is_empty() => return Ok(arrived),
                Ok(arrived) if arrived.unordered > 0 && arrived.unordered != self.unordered => return Ok(arrived),
                Ok(_) => {}
                Err(error) if error.kind().may_pass() => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}
