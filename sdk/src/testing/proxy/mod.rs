//! A TCP proxy in this process that makes a link far, narrow, silent or broken.

mod conditions;
mod connection;
mod counters;
mod line;
mod shape;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    conditions::{Conditions, Ending},
    connection::Connection,
    counters::Tally,
};
pub use self::{
    counters::Counters,
    shape::{Direction, Pace, Shape, Slow},
};

/// Connections at one time. Those beyond wait, accepted by the kernel and silent.
const MAX_CONNECTIONS: usize = 4096;
/// Connections that the kernel may hold ready.
const BACKLOG: u32 = 1024;
/// How long to leave a listener alone that cannot accept (no file descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A TCP proxy before one address, with faults that change while it runs.
///
/// It knows nothing of what passes: any protocol will do. Every fault applies to open and to new connections at once.
/// Each direction has its [`Shape`] (latency, jitter, slow segments, bandwidth) and can be cut alone. The proxy listens
/// on a free port of 127.0.0.1 and keeps it while it refuses connections. Dropping it ends its connections and frees
/// its port, very soon but not at once.
///
/// | fault | open connections | new connections | after [`heal`](Self::heal) |
/// |---|---|---|---|
/// | [`cut`](Self::cut) | what enters in one direction vanishes | the same | a connection that lost bytes is reset |
/// | [`black_hole`](Self::black_hole) | stay open, nothing passes | accepted, silent | everything arrives, late |
/// | [`hang`](Self::hang) | one stays open, nothing passes | go on | everything arrives, late |
/// | [`refuse`](Self::refuse) | go on | "connection refused" | accepted again |
/// | [`reset`](Self::reset) | RST to both sides | accepted | |
/// | [`close`](Self::close) | FIN to both sides | accepted | |
/// | [`disconnect`](Self::disconnect) | RST to both sides | "connection refused" | accepted again |
///
/// What is not simulated: a slow TCP handshake (a connection is accepted at once, whatever the latency), packet loss and
/// reordering (TCP hides them; to an application they are jitter and slow segments), and a receiver's window (up to
/// 4 MiB are under way in each direction of a connection, then the sender waits).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use std::time::{Duration, Instant};
/// use archipelago::testing::proxy::{ChaosProxy, Direction, Shape};
/// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
///
/// // Any server will do: this one sends back what it gets.
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = ChaosProxy::before(listener.local_addr()?).await?;
/// let mut client = TcpStream::connect(proxy.address()).await?;
/// let (mut server, _) = listener.accept().await?;
/// tokio::spawn(async move { let (mut r, mut w) = server.split(); tokio::io::copy(&mut r, &mut w).await });
///
/// proxy.shape(Direction::ToClient, Shape::latency(Duration::from_millis(30)));
/// let start = Instant::now();
/// client.write_all(b"ping").await?;
/// let mut answer = [0; 4];
/// client.read_exact(&mut answer).await?;
/// assert_eq!(&answer, b"ping");
/// assert!(start.elapsed() >= Duration::from_millis(30));
///
/// proxy.reset();
/// assert!(client.read(&mut answer).await.is_err());
/// assert_eq!(proxy.counters().bytes_to_client, 4);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Accepts connections; `None` while they are refused.
    gate: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listening: keeps the port ours while connections are refused.
    _port: TcpSocket,
    _ends_tasks: DropGuard,
}

/// What the proxy and its connections share.
#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    seed: u64,
    conditions: watch::Sender<Conditions>,
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    dropped: CancellationToken,
}

impl Shared {
    fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChaosProxy {
    /// A proxy before an address. Whether anybody listens there shows at each connection.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(target: impl Into<SocketAddr>) -> io::Result<Self> {
        Self::seeded(target, 0).await
    }

    /// As [`ChaosProxy::before`], with a seed for jitter and slow segments: the delays of the n-th connection are the
    /// same in every run.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn seeded(target: impl Into<SocketAddr>, seed: u64) -> io::Result<Self> {
        let port = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let dropped = CancellationToken::new();
        let shared = Arc::new(Shared {
            target: Mutex::new(target.into()),
            seed,
            conditions: watch::Sender::new(Conditions::default()),
            tally: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            dropped: dropped.clone(),
        });
        let address = port.local_addr()?;
        let proxy = Self {
            address,
            shared,
            gate: tokio::sync::Mutex::default(),
            _port: port,
            _ends_tasks: dropped.drop_guard(),
        };
        proxy.accept_connections().await?;
        Ok(proxy)
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where clients connect.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where Redis clients connect, if the target speaks RESP without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on new connections go to another address; those that are open stay where they are.
    pub fn point_at(&self, target: impl Into<SocketAddr>) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target.into();
    }

    /// Sets what one direction is like. What is under way arrives when it was due; the pace changes for it, too.
    pub fn shape(&self, direction: Direction, shape: Shape) {
        self.shared.conditions.send_modify(|now| now.way_mut(direction).shape = shape);
    }

    /// Sets the latency of both directions, to the server and back, and leaves the rest of their shapes.
    pub fn delay(&self, to_server: Duration, to_client: Duration) {
        self.shared.conditions.send_modify(|now| {
            now.way_mut(Direction::ToServer).shape.latency = to_server;
            now.way_mut(Direction::ToClient).shape.latency = to_client;
        });
    }

    /// From now on what enters in this direction vanishes, the end of a stream too. What is under way still arrives.
    ///
    /// `cut(Direction::ToClient)`: the server executes commands and no client hears of it.
    pub fn cut(&self, direction: Direction) {
        self.shared.conditions.send_modify(|now| now.way_mut(direction).cut = true);
    }

    /// From now on nothing passes in either direction, nor does any connection end; new ones are accepted and silent.
    ///
    /// As when a network drops every packet: nothing is lost to TCP, so after [`heal`](Self::heal) everything arrives.
    pub fn black_hole(&self) {
        self.shared.conditions.send_modify(|now| now.black_hole = true);
    }

    /// From now on nothing passes on one connection, nor does it end; the others go on. Connections are numbered as they
    /// are accepted, from 0. One hangs at a time: that of an earlier call goes on again.
    ///
    /// As when the path of one flow fails, and its neighbour's does not.
    pub fn hang(&self, connection: u64) {
        self.shared.conditions.send_modify(|now| now.hanging = Some(connection));
    }

    /// From now on new connections are refused, as where no process listens; open ones go on. In effect when it returns.
    ///
    /// # Cancel safety
    /// When cancelled, it may be in effect or not.
    pub async fn refuse(&self) {
        if let Some(accepting) = self.gate.lock().await.take() {
            accepting.abort();
            // It ends as cancelled; only that it has ended, and its listener with it, matters.
            let _ = accepting.await;
        }
    }

    /// Ends all open connections by RST, as a crash does. What is under way is lost. New connections are accepted.
    pub fn reset(&self) {
        self.shared.conditions.send_modify(|now| now.end(Ending::Reset));
    }

    /// Ends all open connections by FIN, as a shutdown in good order does. What is under way is lost. New connections are
    /// accepted.
    pub fn close(&self) {
        self.shared.conditions.send_modify(|now| now.end(Ending::Close));
    }

    /// Ends all open connections by RST and refuses new ones: [`refuse`](Self::refuse) and [`reset`](Self::reset).
    pub async fn disconnect(&self) {
        self.refuse().await;
        self.reset();
    }

    /// Ends cuts, a black hole, hanging and refusal. A connection that lost bytes in a cut is reset: its stream is out of step.
    /// Shapes stay as they are: a distance is no fault.
    ///
    /// # Errors
    /// When it cannot listen again.
    pub async fn heal(&self) -> io::Result<()> {
        self.shared.conditions.send_modify(Conditions::heal);
        self.accept_connections().await
    }

    /// What passed so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let open = MAX_CONNECTIONS.saturating_sub(self.shared.places.available_permits());
        self.shared.tally.counters(open as u64)
    }

    async fn accept_connections(&self) -> io::Result<()> {
        let mut gate = self.gate.lock().await;
        if gate.is_none() {
            let listener = socket(self.address)?.listen(BACKLOG)?;
            let shared = self.shared.clone();
            *gate = Some(tokio::spawn(async move {
                let _: Option<()> = shared.dropped.run_until_cancelled(accept(&listener, &shared)).await;
            }));
        }
        Ok(())
    }
}

/// A socket bound to an address that several sockets of ours may share: one listens, one only keeps the port.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let number = shared.tally.connections.fetch_add(1, Relaxed);
        // The semaphore is never closed.
        let Ok(place) = shared.places.clone().acquire_owned().await else { return };
        let connection = Connection::new(shared.clone(), number);
        let dropped = shared.dropped.clone();
        tokio::spawn(async move {
            dropped.run_until_cancelled(connection.serve(client)).await;
            drop(place);
        });
    }
}
