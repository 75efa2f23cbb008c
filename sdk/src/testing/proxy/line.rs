//! One direction of one connection: reads, keeps what is under way, delivers.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{conditions::Conditions, counters::Tally, shape::Direction};

/// The longest segment.
const SEGMENT: usize = 16 * 1024;
/// How many bytes may be under way. Behind that the sender waits, as behind a full TCP window.
const BYTES_UNDER_WAY: usize = 4 * 1024 * 1024;
/// How many segments may be under way: a thousand small ones weigh more than their bytes.
const SEGMENTS_UNDER_WAY: usize = 16 * 1024;

/// One direction of one connection.
pub(super) struct Line {
    direction: Direction,
    /// Of which connection.
    connection: u64,
    conditions: watch::Receiver<Conditions>,
    tally: Arc<Tally>,
    random: fastrand::Rng,
    /// In the order of sending, each with its earliest arrival: none overtakes the one before. An empty one is the
    /// stream's end.
    under_way: VecDeque<(Instant, Bytes)>,
    bytes_under_way: usize,
    /// From when on the pace lets the next portion pass.
    free_at: Instant,
    /// The sender has nothing more to say.
    ended: bool,
    /// Bytes vanished: the stream is out of step for good.
    lost: bool,
}

impl Line {
    pub(super) fn new(
        direction: Direction,
        connection: u64,
        conditions: watch::Receiver<Conditions>,
        tally: Arc<Tally>,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            direction,
            connection,
            conditions,
            tally,
            random,
            under_way: VecDeque::new(),
            bytes_under_way: 0,
            free_at: Instant::now(),
            ended: false,
            lost: false,
        }
    }

    /// Passes bytes on until the sender has ended its stream and everything has arrived.
    ///
    /// # Errors
    /// When the connection is of no more use, at either side or because bytes were lost.
    pub(super) async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            let now = *self.conditions.borrow_and_update();
            if self.lost && !now.way(self.direction).cut {
                return Err(io::Error::other("bytes were lost"));
            }
            let (reads, due) =
                if now.silences(self.connection) { (false, None) } else { (self.has_room(), self.next_due()) };
            buffer.reserve(SEGMENT);
            tokio::select! {
                changed = self.conditions.changed() => changed.map_err(io::Error::other)?,
                read = from.read_buf(&mut buffer), if reads => {
                    read?;
                    self.take(buffer.split().freeze());
                }
                () = at(due) => {
                    if self.deliver(&mut to).await?.is_end() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.ended && self.bytes_under_way < BYTES_UNDER_WAY && self.under_way.len() < SEGMENTS_UNDER_WAY
    }

    fn next_due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| self.free_at.max(*due))
    }

    /// Puts a segment under way, or loses it. The end of the stream goes the same way as its bytes.
    fn take(&mut self, segment: Bytes) {
        self.ended = segment.is_empty();
        let way = *self.conditions.borrow().way(self.direction);
        if way.cut {
            self.tally.bytes_lost.fetch_add(segment.len() as u64, Relaxed);
            self.lost = true;
            return;
        }
        let due = Instant::now() + way.shape.delay(&mut self.random);
        self.bytes_under_way += segment.len();
        self.under_way.push_back((due, segment));
    }

    /// Hands over the first segment, or as much of it as the pace allows.
    async fn deliver(&mut self, to: &mut WriteHalf<'_>) -> io::Result<Delivered> {
        let pace = self.conditions.borrow().way(self.direction).shape.pace;
        let Some((_, segment)) = self.under_way.front_mut() else { return Ok(Delivered::Bytes) };
        if segment.is_empty() {
            to.shutdown().await?;
            return Ok(Delivered::End);
        }
        let portion = segment.split_to(segment.len().min(pace.portion()));
        if segment.is_empty() {
            self.under_way.pop_front();
        }
        self.bytes_under_way -= portion.len();
        to.write_all(&portion).await?;
        self.tally.bytes(self.direction).fetch_add(portion.len() as u64, Relaxed);
        self.free_at = Instant::now() + pace.pause(portion.len());
        Ok(Delivered::Bytes)
    }
}

/// What went over.
enum Delivered {
    Bytes,
    End,
}

impl Delivered {
    const fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

/// Ready at once for what is due already: the runtime's timers round up to the next millisecond, which held the small
/// segments of a busy connection to a thousand a second and let them queue.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) if due <= Instant::now() => {}
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_due_waits_for_no_timer() {
        assert_eq!(at(Some(Instant::now())).now_or_never(), Some(()));
        assert_eq!(at(None).now_or_never(), None);
    }
}
