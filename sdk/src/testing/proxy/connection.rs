//! One connection through the proxy, from its acceptance to its end.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};

use super::{
    Shared,
    conditions::{Conditions, Ending},
    line::Line,
    shape::Direction,
};

/// One connection. It ends with either side, or when the proxy ends all of them.
pub(super) struct Connection {
    shared: Arc<Shared>,
    conditions: watch::Receiver<Conditions>,
    /// How often all connections had been ended before this one began.
    since: u64,
    /// In the order of acceptance, from 0.
    number: u64,
}

impl Connection {
    /// A connection as of now: an end that comes later is meant for it, too.
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        let conditions = shared.conditions.subscribe();
        let since = conditions.borrow().ended;
        Self { shared, conditions, since, number }
    }

    /// Passes bytes between a client and the target.
    pub(super) async fn serve(self, mut client: TcpStream) {
        let connected = tokio::select! {
            ending = self.ended() => Err(ending),
            connected = self.connect() => connected.map_err(|_| Ending::Reset),
        };
        let mut server = match connected {
            Ok(server) => server,
            Err(ending) => return self.finish(ending, &mut [client]).await,
        };
        let ending = tokio::select! {
            ending = self.ended() => Some(ending),
            // What one side broke off is broken off at the other.
            passed = self.pass(&mut client, &mut server) => passed.err().map(|_| Ending::Reset),
        };
        if let Some(ending) = ending {
            self.finish(ending, &mut [client, server]).await;
        }
    }

    /// A connection to the target, once nothing swallows it.
    async fn connect(&self) -> io::Result<TcpStream> {
        self.conditions.clone().wait_for(|now| !now.silences(self.number)).await.map_err(io::Error::other)?;
        TcpStream::connect(self.shared.target()).await
    }

    async fn pass(&self, client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut random = fastrand::Rng::with_seed(self.shared.seed ^ self.number);
        let mut line =
            |way| Line::new(way, self.number, self.conditions.clone(), self.shared.tally.clone(), random.fork());
        let (there, back) = (line(Direction::ToServer), line(Direction::ToClient));
        tokio::try_join!(there.carry(from_client, to_server), back.carry(from_server, to_client)).map(drop)
    }

    /// Waits until all connections are ended.
    async fn ended(&self) -> Ending {
        let mut conditions = self.conditions.clone();
        conditions.wait_for(|now| now.ended != self.since).await.map_or(Ending::Close, |now| now.ending)
    }

    async fn finish(&self, ending: Ending, streams: &mut [TcpStream]) {
        match ending {
            Ending::Reset => {
                self.shared.tally.resets.fetch_add(1, Relaxed);
                // With no time to linger the kernel sends RST instead of FIN when the stream is dropped.
                streams.iter().for_each(|stream| drop(stream.set_zero_linger()));
            }
            Ending::Close => {
                for stream in streams {
                    // FIN first: a socket that is only dropped sends RST when bytes are unread. The other side may be
                    // gone already.
                    let _ = stream.shutdown().await;
                }
            }
        }
    }
}
