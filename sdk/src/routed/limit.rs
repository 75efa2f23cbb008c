//! How long an attempt is waited for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// A timer that fires later than this was held up, as everything in this process was.
const HELD_UP: Duration = Duration::from_millis(10);

/// The excuse of who waited in vain: it was not the other's fault, for this process itself stood still.
///
/// Taken once in a row. Who always is too busy has to say something, or a dead node would never be found.
#[derive(Debug, Default)]
pub(super) struct Excuse {
    is_used_up: bool,
}

impl Excuse {
    /// Whether a wait that ended so long after its limit may be excused.
    pub(super) fn covers(&mut self, late: Duration) -> bool {
        let was_held_up = late > HELD_UP;
        was_held_up && !std::mem::replace(&mut self.is_used_up, was_held_up)
    }

    /// An answer came: the next wait has an excuse again.
    pub(super) fn renew(&mut self) {
        self.is_used_up = false;
    }
}

/// The timer of an attempt.
///
/// Where the process itself was held up (a busy machine, a suspended one), answers may lie in the sockets, unread, while
/// every timer fires. So a late timer gives them a moment, once: a client whose machine was busy used to open the breakers
/// of healthy nodes.
pub(super) struct Limit<'t> {
    timer: Pin<&'t mut Sleep>,
    excuse: Excuse,
}

impl<'t> Limit<'t> {
    pub(super) fn new(timer: Pin<&'t mut Sleep>) -> Self {
        Self { timer, excuse: Excuse::default() }
    }

    /// Fires then instead.
    pub(super) fn reset(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
    }

    /// What came, or `None` when nothing did in time.
    pub(super) fn poll<T>(
        &mut self,
        sending: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        if let Poll::Ready(answer) = sending.poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if !self.excuse.covers(now.saturating_duration_since(self.timer.deadline())) {
            return Poll::Ready(None);
        }
        self.reset(now + HELD_UP);
        self.timer.as_mut().poll(cx).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::sync::oneshot;

    use super::*;

    /// What is waited for 20 ms by a process that stands still for 50; the answer, if any, is read after the timer.
    async fn waited(comes: bool) -> Option<u32> {
        let (sender, receiver) = oneshot::channel();
        let timer = pin!(tokio::time::sleep(Duration::from_millis(20)));
        let (mut limit, mut receiver) = (Limit::new(timer), pin!(receiver));
        assert!(poll_fn(|cx| Poll::Ready(limit.poll(receiver.as_mut(), cx).is_pending())).await);
        std::thread::sleep(Duration::from_millis(50));
        let reader = tokio::spawn(async move {
            // Behind whoever the timer wakes.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if comes {
                let _ = sender.send(7);
            } else {
                std::future::pending::<()>().await;
            }
        });
        let end = poll_fn(|cx| limit.poll(receiver.as_mut(), cx)).await;
        reader.abort();
        end.and_then(Result::ok)
    }

    #[test]
    fn who_is_always_held_up_has_no_excuse() {
        let (late, in_time) = (HELD_UP * 2, HELD_UP / 2);
        let mut excuse = Excuse::default();
        assert!(!excuse.covers(in_time) && excuse.covers(late) && !excuse.covers(late));
        assert!(!excuse.covers(in_time) && !excuse.covers(late), "nothing came meanwhile");
        excuse.renew();
        assert!(excuse.covers(late));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_process_that_was_held_up_reads_its_answers_first() {
        assert_eq!(waited(true).await, Some(7));
        assert_eq!(waited(false).await, None, "the moment ends");
    }
}
