//! A connection that sends together what is ready together.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, aio::MultiplexedConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

/// The task that reads and writes for a shared connection. It ends, and the connection with it, when this is dropped.
///
/// By itself it would end when no caller is left, but not before all that was written is taken off its hands: at a paused
/// server, never.
pub(crate) type Driver = Arc<AbortOnDropHandle<()>>;

/// Waits in a row that gather nothing before it is believed. One alone says little: whoever is about to send may be
/// running on another thread.
const VAIN: u32 = 8;

/// Writes that then pass without waiting, before the next attempt: a lone caller hardly waits.
const PASSES: u32 = 32;

/// A stream that lets other tasks run before it writes: what they send meanwhile goes along.
///
/// Of many calls that begin together, the first wakes the task that writes, which runs next and would write that one
/// call: a system call and a packet for each, which cost more than all else that a call needs. Nagle's algorithm
/// gathers calls, too, but by holding back the second until the first is answered: on a far connection that doubles the
/// latency. This takes one turn of the scheduler, and only while it is worth it.
#[derive(Debug)]
struct Gather<S> {
    stream: S,
    /// While it waits: how much there was to write before.
    waiting: Option<usize>,
    /// Writes to let pass before waiting again.
    passes: u32,
    /// Waits in a row that gathered nothing.
    vain: u32,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    fn new(stream: S) -> Self {
        Self { stream, waiting: None, passes: 0, vain: 0 }
    }

    /// Whether to write this much now; otherwise the task is woken again after all others that are ready.
    fn is_due(&mut self, length: usize, cx: &Context<'_>) -> bool {
        if let Some(before) = self.waiting.take() {
            self.vain = if length > before { 0 } else { self.vain.saturating_add(1) };
            self.passes = if self.vain < VAIN { 0 } else { PASSES };
            return true;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return true;
        }
        self.waiting = Some(length);
        cx.waker().wake_by_ref();
        false
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_due(bytes.len(), cx) { Pin::new(&mut self.stream).poll_write(cx, bytes) } else { Poll::Pending }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.is_due(length, cx) { Pin::new(&mut self.stream).poll_write_vectored(cx, slices) } else { Poll::Pending }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Connects, without a bound in time.
pub(super) async fn open(
    info: &ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Option<Driver>), RedisError> {
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        // Encrypted, or on the same machine: the crate's own, with a driver of its own.
        return Ok((Client::open(info.clone())?.get_multiplexed_async_connection_with_config(config).await?, None));
    };
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) =
        MultiplexedConnection::new_with_config(info.redis_settings(), Gather::new(stream), config.clone()).await?;
    Ok((connection, Some(Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Waits of so many writes, each of which gathers `more` while it waits.
    fn waits(writes: usize, more: usize) -> usize {
        let mut gather = Gather::new(duplex(1).0);
        let cx = Context::from_waker(std::task::Waker::noop());
        let waited = (0..writes).filter(|_| {
            let waits = !gather.is_due(10, &cx);
            assert!(!waits || gather.is_due(10 + more, &cx), "no write waits twice");
            waits
        });
        waited.count()
    }

    #[test]
    fn every_write_waits_while_that_gathers_and_few_while_it_does_not() {
        assert_eq!(waits(1_000, 1), 1_000);
        assert!((31..=40).contains(&waits(1_000, 0)), "{}", waits(1_000, 0));
    }

    #[tokio::test]
    async fn nothing_is_lost_or_reordered() {
        let (here, mut there) = duplex(64);
        let mut gather = Gather::new(here);
        let sent: Vec<u8> = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
        let received = tokio::spawn(async move {
            let mut received = Vec::new();
            there.read_to_end(&mut received).await.unwrap();
            received
        });
        for part in sent.chunks(77) {
            gather.write_all(part).await.unwrap();
            gather.flush().await.unwrap();
        }
        gather.shutdown().await.unwrap();
        assert_eq!(received.await.unwrap(), sent);
    }
}
