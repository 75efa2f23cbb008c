//! A TCP proxy in this process: one-way delays, cuts, and replies that get lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

/// What the link is like at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weather {
    /// From the client to the server.
    there: Duration,
    /// From the server to the client.
    back: Duration,
    cut: bool,
    /// How many cuts there were: one and its healing may come between two looks.
    cuts: u64,
    deaf: bool,
}

/// A proxy before one server. Dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    target: Arc<Mutex<u16>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server on this port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, watching) = watch::channel(Weather::default());
        let target = Arc::new(Mutex::new(target));
        let accepting = tokio::spawn(accept(listener, target.clone(), watching));
        Self { port, weather, target, accepting }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where clients connect.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on new connections go to another server; those that are open stay where they are.
    pub fn point_at(&self, target: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| (weather.cut, weather.cuts) = (true, weather.cuts + 1));
    }

    /// From now on commands arrive and their answers do not.
    pub fn lose_replies(&self) {
        self.weather.send_modify(|weather| weather.deaf = true);
    }

    /// Ends a cut and a loss of replies. A connection that lost answers is closed: its stream is out of step.
    pub fn heal(&self) {
        let was_deaf = self.weather.borrow().deaf;
        if was_deaf {
            self.cut();
        }
        self.weather.send_modify(|weather| (weather.cut, weather.deaf) = (false, false));
    }

    /// Sets the one-way delays: to the server, and back.
    pub fn delay(&self, there: Duration, back: Duration) {
        self.weather.send_modify(|weather| (weather.there, weather.back) = (there, back));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<u16>>, weather: watch::Receiver<Weather>) {
    while let Ok((client, _)) = listener.accept().await {
        let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
        let mut weather = weather.clone();
        let now = *weather.borrow_and_update();
        if now.cut {
            continue;
        }
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let (mut there, mut back) = (weather.clone(), weather.clone());
            let severed = weather.wait_for(|weather| weather.cuts != now.cuts);
            tokio::select! {
                _ = severed => {}
                () = pipe(from_client, to_server, &mut there, |weather| (weather.there, false)) => {}
                () = pipe(from_server, to_client, &mut back, |weather| (weather.back, weather.deaf)) => {}
            }
        });
    }
}

/// Passes bytes on after the delay. What is under way does not hold up what follows: the delay is a distance, not a
/// bandwidth.
async fn pipe(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: &mut watch::Receiver<Weather>,
    settings: impl Fn(&Weather) -> (Duration, bool),
) {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let due = under_way.front().map(|(due, _)| *due);
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                let (delay, lost) = settings(&weather.borrow());
                if !lost {
                    under_way.push_back((Instant::now() + delay, buffer.iter().take(count).copied().collect()));
                }
            }
            () = async { match due { Some(due) => tokio::time::sleep_until(due).await, None => std::future::pending().await } } => {
                if let Some((_, bytes)) = under_way.pop_front()
                    && to.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
        }
    }
}
