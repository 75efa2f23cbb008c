//! A Redis region: its shared connections, each behind a loop that reconnects it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use archipelago_engine::RegionId;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    durable::Durable,
    wire::{ConnectError, Keyspace, Load, Wire},
};
use crate::{
    config::{HistoryCheck, KeyspaceConfig, RegionConfig},
    dial::{Dialer, Moves, News, Pool, Server, keep_listening, pool},
    error::{Error, ErrorKind},
    store::StoreError,
};

/// Between two attempts to connect: from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Commands under way on a connection before the next one is used. What goes together costs both sides one system call
/// instead of as many as there are: with one command on each of 50 connections, a server did two thirds as much. With more,
/// more calls would wait on a connection that hangs, until the first of them has waited too long.
const ROOM: usize = 16;

/// How long a call waits for a connection that has just been lost. A region that is down longer fails at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// A Redis region: its shared connections.
pub(crate) struct RedisRegion {
    pub(super) id: RegionId,
    pub(super) config: RegionConfig,
    pub(super) keyspaces: Arc<BTreeMap<String, Keyspace>>,
    pub(super) blocking: Pool,
    dialer: Dialer,
    /// Made at the first durable write.
    durable: OnceLock<Result<Durable, String>>,
    server: Server,
    lines: Vec<Line>,
    turn: AtomicUsize,
    /// Beside `stop`, whose own question takes a lock: every call asks.
    is_shut_down: AtomicBool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// One shared connection over time.
struct Line {
    /// The wire, while there is one: what every call looks at, so that it must cost no lock and no shared counter.
    wire: Arc<ArcSwapOption<Wire>>,
    /// The same for those who wait for it, and why there is none.
    state: watch::Receiver<State>,
}

impl Line {
    /// What weighs on it; `None` while it is down.
    fn load(&self) -> Option<Load> {
        self.wire.load().as_ref().filter(|wire| !wire.is_retired()).map(|wire| wire.load())
    }
}

/// Which of several connections takes a call: the first that has room, else the one that has least to do, and one that is
/// late only where all are. `None` when none is up.
fn choose(loads: impl Iterator<Item = Option<Load>>) -> Option<usize> {
    let mut least: Option<(Load, usize)> = None;
    for (at, load) in loads.enumerate() {
        let Some(load) = load else { continue };
        if !load.is_late && load.under_way < ROOM {
            return Some(at);
        }
        if least.is_none_or(|(least, _)| load < least) {
            least = Some((load, at));
        }
    }
    least.map(|(_, at)| at)
}

/// The state of one shared connection.
#[derive(Clone)]
enum State {
    Up(Arc<Wire>),
    Down { since: Instant, why: Option<ConnectError> },
}

impl fmt::Debug for RedisRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegion").field("id", &self.id).field("config", &self.config).finish_non_exhaustive()
    }
}

impl RedisRegion {
    /// Starts connecting; does not wait for it.
    pub(crate) fn start(
        config: RegionConfig,
        dialer: &Dialer,
        keyspaces: &BTreeMap<String, KeyspaceConfig>,
    ) -> Result<Arc<Self>, Error> {
        let keyspaces: BTreeMap<_, _> =
            keyspaces.iter().map(|(name, config)| (name.clone(), Keyspace::new(name, config.clone()))).collect();
        Self::start_with(config, dialer, Arc::new(keyspaces))
    }

    fn start_with(
        config: RegionConfig,
        dialer: &Dialer,
        keyspaces: Arc<BTreeMap<String, Keyspace>>,
    ) -> Result<Arc<Self>, Error> {
        let id = dialer.region().clone();
        let refuse = |what: String| Error::new(ErrorKind::Config, format!("regions.{id}: {what}"));
        let server = Server::primary_of(&config, dialer)
            .ok_or_else(|| refuse("a cluster serves routed keyspaces only".to_owned()))?;
        let blocking = pool(server.clone(), &config, 64).map_err(|error| refuse(error.to_string()))?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let lines = (0..config.connections)
            .map(|number| {
                let (sender, state) = watch::channel(State::Down { since: Instant::now(), why: None });
                let wire = Arc::new(ArcSwapOption::empty());
                // Of several that lead to one server, one tells what is wrong with it.
                let warns = number == 0;
                let task =
                    keep_connected(server.clone(), config.clone(), keyspaces.clone(), wire.clone(), sender, warns);
                tasks.spawn(stop.clone().run_until_cancelled_owned(task));
                Line { wire, state }
            })
            .collect();
        if let Some(sentinel) = server.sentinel() {
            for number in 0..sentinel.count() {
                let region = id.clone();
                let tell = move |sentinel: &str, news| match news {
                    News::Up => tracing::info!(%region, sentinel, "the Sentinel is up"),
                    News::Down(why) => tracing::warn!(%region, sentinel, why, "the Sentinel is down"),
                    News::Moved(to) => tracing::warn!(%region, sentinel, %to, "the Sentinel names another primary"),
                };
                let task = keep_listening(sentinel.clone(), dialer.clone(), number, tell);
                tasks.spawn(stop.clone().run_until_cancelled_owned(task));
            }
        }
        tasks.close();
        Ok(Arc::new(Self {
            id,
            config,
            keyspaces,
            blocking,
            dialer: dialer.clone(),
            durable: OnceLock::new(),
            server,
            lines,
            turn: AtomicUsize::new(0),
            is_shut_down: AtomicBool::new(false),
            stop,
            tasks,
        }))
    }

    /// Which region it is.
    pub(crate) const fn id(&self) -> &RegionId {
        &self.id
    }

    /// Its primary.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// How long an answer may take.
    pub(crate) const fn patience(&self) -> Duration {
        self.config.response_timeout
    }

    /// Waits for the first connection, or for the first failure.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        let Some(line) = self.lines.first() else { return Ok(()) };
        let mut state = line.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Down { why: None, .. }));
        let limit = self.config.connect_timeout + self.config.response_timeout;
        let why = match timeout(limit, known).await {
            Ok(Ok(state)) => match &*state {
                State::Up(_) => return Ok(()),
                State::Down { why, .. } => why.clone(),
            },
            Ok(Err(_)) | Err(_) => None,
        };
        let why = why.unwrap_or_else(|| ConnectError { text: "no connection in time".into(), is_final: false });
        let kind = if why.is_final { ErrorKind::Config } else { ErrorKind::Unavailable };
        let region = format!("region {}", self.id);
        let is_named = why.text.starts_with(&region);
        let error = Error::new(kind, why.text);
        Err(if is_named { error } else { error.within(region) })
    }

    /// A connection for one call, if one is up: nearly always.
    pub(super) fn wire_now(&self) -> Option<Guard<Option<Arc<Wire>>>> {
        let chosen = choose(self.lines.iter().map(Line::load))?;
        let wire = self.lines.get(chosen)?.wire.load();
        let is_up = wire.as_ref().is_some_and(|wire| !wire.is_retired()) && !self.is_shut_down.load(Ordering::Relaxed);
        is_up.then_some(wire)
    }

    /// The next connection to wait for.
    fn next_line(&self) -> Option<&Line> {
        self.lines.get(self.turn.fetch_add(1, Ordering::Relaxed) % self.lines.len().max(1))
    }

    /// A connection for one call; waits a moment for one that was just lost.
    pub(super) async fn wire(&self) -> Result<Arc<Wire>, StoreError> {
        if self.is_shut_down.load(Ordering::Relaxed) {
            // The last wire may still be open, with nobody left to watch over it.
            return Err(StoreError::Unavailable(format!("region {}: the client was shut down", self.id)));
        }
        if let Some(up) = self.wire_now().as_ref().and_then(|wire| wire.as_ref()) {
            return Ok(up.clone());
        }
        let Some(line) = self.next_line() else {
            return Err(StoreError::Unavailable("no connections are configured".to_owned()));
        };
        let since = match &*line.state.borrow() {
            State::Up(wire) if !wire.is_retired() => return Ok(wire.clone()),
            State::Up(_) => Instant::now(),
            State::Down { since, .. } => *since,
        };
        let mut state = line.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(wire) if !wire.is_retired()));
        let patience = (since + PATIENCE).saturating_duration_since(Instant::now());
        if let Ok(Ok(state)) = timeout(patience, up).await
            && let State::Up(wire) = &*state
        {
            return Ok(wire.clone());
        }
        let why = match &*line.state.borrow() {
            State::Down { why: Some(why), .. } => why.text.clone(),
            State::Down { why: None, .. } | State::Up(_) => "not connected".to_owned(),
        };
        Err(StoreError::Unavailable(format!("region {} is not connected: {why}", self.id)))
    }

    /// Where durable writes go.
    pub(super) fn durable(&self) -> Result<&Durable, String> {
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Err(format!("region {}: the client was shut down", self.id));
        }
        let made = self.durable.get_or_init(|| {
            let config = RegionConfig { connections: 1, ..self.config.clone() };
            let region = Self::start_with(config, &self.dialer, self.keyspaces.clone());
            let (durable, task) = Durable::new(region.map_err(|error| error.to_string())?);
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
            Ok(durable)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Stops reconnecting and waits for the tasks.
    pub(crate) async fn shut_down(&self) {
        self.is_shut_down.store(true, Ordering::Relaxed);
        self.stop.cancel();
        if let Some(Ok(durable)) = self.durable.get() {
            // Boxed: a region within a region.
            Box::pin(durable.region.shut_down()).await;
        }
        self.tasks.wait().await;
        self.blocking.close();
    }
}

impl Drop for RedisRegion {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Connects, publishes the wire, watches over it, and begins again when it breaks.
async fn keep_connected(
    server: Server,
    config: RegionConfig,
    keyspaces: Arc<BTreeMap<String, Keyspace>>,
    published: Arc<ArcSwapOption<Wire>>,
    state: watch::Sender<State>,
    warns: bool,
) {
    let heartbeat_only = keyspaces.values().any(|k| k.config.history_check == HistoryCheck::Heartbeat);
    let beat = if heartbeat_only { Duration::from_millis(250) } else { Duration::from_secs(1) };
    let mut since = Instant::now();
    let mut pause = PAUSES.0;
    let id = server.dialer().region();
    let mut moves = server.moves();
    loop {
        moves.look();
        // Bounded as a whole: a server that accepts and says nothing must not hold the loop.
        let limit = config.connect_timeout + config.response_timeout * 4;
        let attempt = timeout(limit, Wire::connect(&server, &config, &keyspaces)).await;
        match attempt.unwrap_or_else(|_| Err(ConnectError { text: "no answer in time".into(), is_final: false })) {
            Ok(wire) => {
                tracing::debug!(region = %id, "connected");
                if warns {
                    wire.warn_of_eviction();
                }
                published.store(Some(wire.clone()));
                state.send_replace(State::Up(wire.clone()));
                pause = PAUSES.0;
                watch_over(&wire, beat, &mut moves).await;
                since = Instant::now();
                published.store(None);
                state.send_replace(State::Down { since, why: None });
            }
            Err(why) => {
                tracing::warn!(region = %id, why = %why.text, "cannot connect");
                server.doubt();
                state.send_replace(State::Down { since, why: Some(why) });
                // Word of a new primary ends the wait.
                let _ = timeout(pause, moves.news()).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// Returns when the wire has to be replaced. The heartbeat also finds a dead connection that TCP still believes in.
async fn watch_over(wire: &Wire, beat: Duration, moves: &mut Moves) {
    let beating = async {
        let mut misses = 0;
        loop {
            tokio::time::sleep(beat).await;
            match wire.check_history().await {
                Ok(()) => misses = 0,
                Err(_) => misses += 1,
            }
            if misses == 2 {
                wire.retire();
            }
        }
    };
    tokio::select! {
        () = wire.retired() => {}
        () = beating => {}
        () = moves.away_from(wire.at()) => wire.retire(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_to_the_first_connection_with_room_then_to_the_one_with_least_to_do() {
        let busy = |under_way| Some(Load { is_late: false, under_way });
        let late = |under_way| Some(Load { is_late: true, under_way });
        let chosen = |loads: &[Option<Load>]| choose(loads.iter().copied());
        assert_eq!(chosen(&[busy(0), busy(0)]), Some(0));
        assert_eq!(chosen(&[busy(ROOM - 1), busy(0)]), Some(0), "what goes together costs less");
        assert_eq!(chosen(&[busy(ROOM), busy(3), busy(0)]), Some(1));
        assert_eq!(chosen(&[busy(ROOM + 9), busy(ROOM), busy(ROOM + 1)]), Some(1));
        assert_eq!(chosen(&[None, busy(1000), None]), Some(1), "one that is down takes nothing");
        assert_eq!(chosen(&[late(0), busy(1000), late(1)]), Some(1), "one that hangs would keep what it takes");
        assert_eq!(chosen(&[late(ROOM), late(0)]), Some(1), "late is not down");
        assert_eq!(chosen(&[None, None]), None);
        assert_eq!(chosen(&[]), None);
    }
}
