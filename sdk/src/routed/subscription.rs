//! Subscriptions: messages from wherever they are published, while regions come and go.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use redis::{
    Msg, Value,
    aio::{PubSubSink, PubSubStream},
};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    connection::{Connection, RoutedKeyspace},
    failure::History,
    link::Work,
    plane::Core,
};
use crate::{
    dial::{DialError, Server},
    error::{Error, ErrorKind},
    routing::{Access, NodeIndex},
};

/// Items kept for a subscriber that does not keep up, unless it says otherwise.
const BUFFER: usize = 1024;

/// Between two looks at where messages are published now. A look is a few atomic loads.
const LOOK: Duration = Duration::from_millis(50);

/// Between two signs of life: a subscription may be silent for days, and so is a dead connection.
const PING: Duration = Duration::from_secs(1);

/// Between attempts to subscribe: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A subscription in the making, from [`Client::subscribe`](crate::Client::subscribe).
#[derive(Clone, Debug)]
#[must_use = "nothing is subscribed to until start is awaited"]
pub struct Subscribe {
    keyspace: Result<Arc<RoutedKeyspace>, Error>,
    channels: Vec<Bytes>,
    patterns: Vec<Bytes>,
    buffer: usize,
}

/// What a [`Subscription`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A message.
    Message(Message),
    /// The connection was replaced: what was published meanwhile is lost, and pub/sub keeps nothing to ask for. All that
    /// is published from here on comes again. Reload whatever the messages keep up to date.
    Interrupted,
    /// This subscriber did not keep up: so many items were dropped here, the oldest. Means as much as
    /// [`Received::Interrupted`], which may be among them.
    Missed {
        /// How many items.
        count: u64,
    },
}

/// A published message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Where it was published.
    pub channel: Bytes,
    /// The pattern by which it was found, if by one. A message that a channel and patterns match comes once for each.
    pub pattern: Option<Bytes>,
    /// What was published.
    pub payload: Bytes,
}

impl fmt::Debug for Message {
    /// Without the payload: it is the application's, and may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel)
            .field("pattern", &self.pattern)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

impl Subscribe {
    pub(crate) fn new(keyspace: Result<Arc<RoutedKeyspace>, Error>) -> Self {
        Self { keyspace, channels: Vec::new(), patterns: Vec::new(), buffer: BUFFER }
    }

    /// Also to these channels.
    pub fn channels<T: Into<Bytes>>(mut self, channels: impl IntoIterator<Item = T>) -> Self {
        self.channels.extend(channels.into_iter().map(Into::into));
        self
    }

    /// Also to the channels whose names match these patterns: `user:*`, `h?llo`, `h[ae]llo`.
    pub fn patterns<T: Into<Bytes>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.patterns.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// How many items wait for a subscriber that does not keep up, at least 1; default 1024. Of more, the oldest are
    /// dropped, and [`Received::Missed`] says how many. The number is rounded up to a power of two, at most 2^20.
    pub const fn buffer(mut self, items: usize) -> Self {
        self.buffer = items;
        self
    }

    /// Subscribes. What is published after this has returned is received.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown keyspace and for nothing to subscribe to, [`ErrorKind::Refused`] when the
    /// server does not allow it, [`ErrorKind::Unavailable`] when no server could be subscribed at within the plane's
    /// deadline and the region's connect timeout.
    ///
    /// # Cancel safety
    /// Dropping the future drops the subscription.
    pub async fn start(self) -> Result<Subscription, Error> {
        if self.channels.is_empty() && self.patterns.is_empty() {
            return Err(Error::new(ErrorKind::Config, "subscribe to what? Name channels or patterns"));
        }
        let (sender, receiver) = broadcast::channel(self.buffer.clamp(1, 1 << 20));
        let connection = Connection::new(self.keyspace?);
        let core = connection.core().clone();
        let mut follower = Follower { connection, channels: self.channels, patterns: self.patterns, sender, turn: 0 };
        let line = Box::pin(follower.begin()).await?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        core.spawn(async move {
            stop.run_until_cancelled_owned(follower.follow(line)).await;
        });
        Ok(Subscription { items: items(receiver), _guard: guard })
    }
}

/// Messages of some channels, as a stream, from [`Subscribe::start`].
///
/// Messages are published at the node that takes the writes without a key, and that is where this is subscribed: after a
/// failover or a switch, at the next. When the connection had to be replaced, [`Received::Interrupted`] stands between the
/// last message of the one before and the first of the next: at that place and nowhere else messages may be missing,
/// unless [`Received::Missed`] says so.
///
/// Ends when the client is shut down. Not promised: that a message comes at all. Redis forgets it at once; for what must
/// not be lost use a stream (XADD, XREAD). Sharded channels (SSUBSCRIBE) are not supported.
///
/// ```no_run
/// # async fn listen(client: archipelago::Client) -> Result<(), archipelago::Error> {
/// use archipelago::Received;
/// use futures_util::StreamExt;
///
/// let mut news = client.subscribe("profiles").channels(["news"]).patterns(["user:*"]).start().await?;
/// while let Some(received) = news.next().await {
///     match received {
///         Received::Message(message) => assert!(!message.channel.is_empty()),
///         _ => {} // something may be missing: reload
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "dropped, it ends"]
pub struct Subscription {
    items: Pin<Box<dyn Stream<Item = Received> + Send + Sync>>,
    _guard: DropGuard,
}

impl Stream for Subscription {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.items.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

fn items(receiver: broadcast::Receiver<Received>) -> Pin<Box<dyn Stream<Item = Received> + Send + Sync>> {
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(item) => Some((item, receiver)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some((Received::Missed { count }, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }))
}

/// Keeps one subscription where messages are published.
struct Follower {
    connection: Connection,
    channels: Vec<Bytes>,
    patterns: Vec<Bytes>,
    sender: broadcast::Sender<Received>,
    /// Counts attempts: in a cluster each asks another server.
    turn: usize,
}

/// A connection that is subscribed.
struct Line {
    at: NodeIndex,
    sink: PubSubSink,
    messages: PubSubStream,
    patience: Duration,
}

impl Follower {
    /// The first connection, or why there is none.
    async fn begin(&mut self) -> Result<Line, Error> {
        let core = self.connection.core().clone();
        let began = core.clock.now();
        let mut history = History::default();
        loop {
            let error = match self.subscribe().await {
                Ok(line) => return Ok(line),
                Err(error) => error,
            };
            if let DialError::Redis(error) = &error
                && error.code() == Some("NOPERM")
            {
                return Err(Error::new(ErrorKind::Refused, error.to_string()));
            }
            let took = core.clock.now().since(began);
            history.note(&self.target_name(), took, error.to_string());
            if took >= core.config.deadline || core.is_stopped() {
                return Err(history.into_error(ErrorKind::Unavailable, "no node could be subscribed at", None));
            }
            tokio::time::sleep(PAUSES.0).await;
        }
    }

    /// Passes messages on for ever, from one connection after the other.
    async fn follow(mut self, mut line: Line) {
        loop {
            self.pass_on(&mut line).await;
            drop(line);
            line = self.again().await;
            // Behind the subscription, not ahead of it: who reloads now misses nothing that is published later.
            let _ = self.sender.send(Received::Interrupted);
        }
    }

    async fn again(&mut self) -> Line {
        let mut pause = PAUSES.0;
        loop {
            match self.subscribe().await {
                Ok(line) => return line,
                Err(error) => tracing::debug!(node = self.target_name(), %error, "cannot subscribe"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Subscribes at the node that would take a PUBLISH now.
    async fn subscribe(&mut self) -> Result<Line, DialError> {
        let nowhere = || DialError::Redis((redis::ErrorKind::Io, "no node takes a PUBLISH").into());
        let at = self.target().ok_or_else(nowhere)?;
        let servers = self.connection.core().node(at).map(|node| node.endpoint.servers()).unwrap_or_default();
        self.turn = self.turn.wrapping_add(1);
        let server = servers.get(self.turn % servers.len().max(1)).ok_or_else(nowhere)?;
        let patience = server.dialer().connect_timeout();
        let subscribing = tokio::time::timeout(patience, self.subscribe_at(server)).await;
        let (sink, messages) = subscribing.map_err(|_| DialError::Late(patience))??;
        Ok(Line { at, sink, messages, patience })
    }

    async fn subscribe_at(&self, server: &Server) -> Result<(PubSubSink, PubSubStream), DialError> {
        let pubsub = redis::Client::open(server.info().await?)?.get_async_pubsub().await?;
        let (mut sink, messages) = pubsub.split();
        if !self.channels.is_empty() {
            sink.subscribe(words(&self.channels)).await?;
        }
        if !self.patterns.is_empty() {
            sink.psubscribe(words(&self.patterns)).await?;
        }
        Ok((sink, messages))
    }

    /// Passes messages on until the connection is lost, or they are published elsewhere.
    async fn pass_on(&self, line: &mut Line) {
        let Line { at, sink, messages, patience } = line;
        let reading = async {
            while let Some(message) = messages.next().await {
                if let Some(message) = message_of(&message) {
                    let _ = self.sender.send(Received::Message(message));
                }
            }
        };
        let living = async {
            loop {
                tokio::time::sleep(PING).await;
                if !matches!(tokio::time::timeout(*patience, sink.ping::<Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        // While there is nowhere else to go, this connection is the best there is.
        let elsewhere = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if self.target().is_some_and(|target| target != *at) {
                    return;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = living => {}
            () = elsewhere => {}
        }
    }

    /// The node that would take a PUBLISH now.
    fn target(&self) -> Option<NodeIndex> {
        let publish = redis::cmd("PUBLISH");
        let call = self.connection.call(Work::One(&publish), Access::Write, None, false).ok()?;
        let route = call.route().ok()?;
        let mut open = route.left().filter(|step| call.core.node(step.node).is_some_and(|node| node.is_open()));
        open.next().map(|step| step.node)
    }

    fn target_name(&self) -> String {
        let node = self.target().and_then(|at| self.connection.core().node(at));
        node.map_or_else(|| "nowhere".to_owned(), |node| node.name.to_string())
    }
}

impl Connection {
    fn core(&self) -> &Arc<Core> {
        &self.keyspace.plane.core
    }
}

fn words(names: &[Bytes]) -> Vec<&[u8]> {
    names.iter().map(AsRef::as_ref).collect()
}

fn message_of(message: &Msg) -> Option<Message> {
    let channel: Vec<u8> = message.get_channel().ok()?;
    let pattern: Option<Vec<u8>> = if message.from_pattern() { message.get_pattern().ok()? } else { None };
    let payload: Vec<u8> = message.get_payload().ok()?;
    Some(Message { channel: channel.into(), pattern: pattern.map(Into::into), payload: payload.into() })
}
