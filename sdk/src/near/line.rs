//! A line: one connection on which values are read and changes are told, in one order.
//!
//! What the server says unasked is taken in where the connection is read, before any later answer is given to its caller:
//! nothing waits in a queue, so none can overflow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use archipelago_engine::Key;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, Value, aio::AsyncPushSender};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    cache::Cache,
    source::{Answer, Ask, Source, prefixes, reply},
};
use crate::{
    dial::{Address, DialError, Opened, Server},
    routed::{Endpoint, Link, role_of},
    routing::{NodeIndex, Role},
    store::embedded::Listener,
};

/// One connection.
pub(super) struct Line {
    way: Way,
    /// The kinds whose changes are told.
    kinds: AtomicU32,
    pub(super) patience: Duration,
    role: Role,
    /// Where it leads, if that can change.
    pub(super) at: Option<Address>,
    /// To which node of the routed plane.
    pub(super) node: Option<NodeIndex>,
    /// Its connection is gone.
    pub(super) broken: CancellationToken,
    /// It lives as long as this.
    _listener: Option<Arc<dyn Listener>>,
}

enum Way {
    Link(Link),
    /// An embedded region: its ordinary reads are tracked.
    Store,
}

/// Why there is no line.
pub(super) enum Failure {
    /// The server is there and does not allow it.
    Refused(String),
    /// It may come right by itself.
    Down(String),
}

impl Failure {
    /// Of a command that tracking needs.
    fn of(error: &RedisError) -> Self {
        let is_old = error.kind() == redis::ErrorKind::RESP3NotSupported;
        let is_refused = is_old || matches!(error.code(), Some("NOPERM" | "ERR" | "NOPROTO"));
        if is_refused { Self::Refused(error.to_string()) } else { Self::Down(error.to_string()) }
    }
}

impl Line {
    /// Into this process.
    pub(super) fn embedded() -> Self {
        Self {
            way: Way::Store,
            kinds: AtomicU32::new(u32::MAX),
            patience: Duration::ZERO,
            role: Role::Primary,
            at: None,
            node: None,
            broken: CancellationToken::new(),
            _listener: None,
        }
    }

    /// To the server of an active-active keyspace.
    pub(super) async fn to_region(
        server: &Server,
        patience: Duration,
        keyspace: &str,
        partitions: u16,
        kinds: u32,
        cache: &Arc<Cache>,
    ) -> Result<Self, Failure> {
        let line = Self::to_server(server, Role::Primary, patience, cache).await?;
        line.track(keyspace, partitions, kinds).await?;
        Ok(line)
    }

    /// To a node of the routed plane.
    pub(super) async fn to_node(
        endpoint: &Endpoint,
        node: NodeIndex,
        role: Role,
        patience: Duration,
        cache: &Arc<Cache>,
    ) -> Result<Self, Failure> {
        let mut line = match endpoint {
            Endpoint::Server(server) => {
                let line = Self::to_server(server, role, patience, cache).await?;
                // Keys of a routed keyspace have no prefix of their own: the server remembers those that are read here.
                line.command(redis::cmd("CLIENT").arg("TRACKING").arg("ON")).await?;
                line
            }
            Endpoint::Cluster { .. } => {
                return Err(Failure::Refused("a cluster's keys are spread over servers".to_owned()));
            }
            Endpoint::Embedded(server) => {
                let listener: Arc<dyn Listener> = Arc::new(Plain(cache.clone()));
                server.listen(Arc::downgrade(&listener));
                let down = |error: crate::routed::ConnectError| Failure::Down(error.to_string());
                let link = endpoint.connect(role).await.map_err(down)?.link;
                Self { way: Way::Link(link), role, patience, _listener: Some(listener), ..Self::embedded() }
            }
        };
        line.kinds = AtomicU32::new(u32::MAX);
        line.node = Some(node);
        Ok(line)
    }

    async fn to_server(server: &Server, role: Role, patience: Duration, cache: &Arc<Cache>) -> Result<Self, Failure> {
        let limit = server.dialer().connect_timeout();
        let broken = CancellationToken::new();
        let opened = timeout(limit, open(server, role, hear(cache.clone(), broken.clone()))).await;
        match opened.unwrap_or_else(|_| Err(Failure::Down(server.late(limit).to_string()))) {
            Ok((link, at)) => {
                server.verified(at.as_ref());
                let kinds = AtomicU32::new(0);
                Ok(Self { way: Way::Link(link), kinds, patience, role, at, node: None, broken, _listener: None })
            }
            Err(failure) => {
                if matches!(failure, Failure::Down(_)) {
                    server.doubt();
                }
                Err(failure)
            }
        }
    }

    /// Lets the server tell what changes in the views of these kinds, too.
    pub(super) async fn track(&self, keyspace: &str, partitions: u16, kinds: u32) -> Result<(), Failure> {
        let tracked = self.kinds.load(Ordering::Acquire);
        if kinds & !tracked == 0 {
            return Ok(()); // without any prefix, the server would tell of every key it has
        }
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("TRACKING").arg("ON").arg("BCAST");
        // The server refuses a prefix that it has.
        for prefix in prefixes(keyspace, partitions, kinds & !tracked) {
            cmd.arg("PREFIX").arg(prefix);
        }
        self.command(&cmd).await?;
        self.kinds.store(tracked | kinds, Ordering::Release);
        Ok(())
    }

    /// Whether changes of these kinds are told.
    pub(super) fn tracks(&self, kinds: u32) -> bool {
        kinds & !self.kinds.load(Ordering::Acquire) == 0
    }

    /// How often to ask whether it is still there. A replica in this process catches up when it is asked.
    pub(super) const fn beat(&self) -> Duration {
        match &self.way {
            Way::Link(Link::Embedded(_)) => Duration::from_millis(20),
            Way::Link(Link::Shared { .. } | Link::Cluster(_)) | Way::Store => Duration::from_secs(1),
        }
    }

    /// Reads; `None` when that failed in whatever way: the ordinary way then says how.
    pub(super) async fn read(&self, source: &Source, ask: &Ask) -> Option<Answer> {
        let link = match &self.way {
            Way::Store => return source.read(ask).await.ok(),
            Way::Link(link) => link,
        };
        let (value, left) = source.commands(ask)?;
        let mut pipeline = redis::Pipeline::with_capacity(2);
        pipeline.add_command(value).add_command(left);
        let answers = timeout(self.patience, link.clone().send_many(&pipeline, 0, 2)).await.ok()?.ok()?;
        let mut answers = answers.into_iter();
        match (answers.next().and_then(reply), answers.next()) {
            (Some(value), Some(Value::Int(left))) => Some(Answer::new(value, left)),
            (Some(_) | None, Some(_) | None) => None,
        }
    }

    /// Whether the server is there and what it was; why not, otherwise.
    pub(super) async fn check(&self) -> Result<(), String> {
        let Way::Link(link) = &self.way else { return Ok(()) };
        match timeout(self.patience, role_of(&mut link.clone())).await {
            Ok(Ok(role)) if role == Some(self.role) => Ok(()),
            Ok(Ok(_)) => Err("its role has changed".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.patience)),
        }
    }

    async fn command(&self, cmd: &redis::Cmd) -> Result<(), Failure> {
        let Way::Link(link) = &self.way else { return Ok(()) };
        let late = || Failure::Down(format!("no answer within {:?}", self.patience));
        let answer = timeout(self.patience, link.clone().send_one(cmd)).await.map_err(|_| late())?;
        answer.map(drop).map_err(|error| Failure::of(&error))
    }
}

async fn open(server: &Server, role: Role, hear: impl AsyncPushSender) -> Result<(Link, Option<Address>), Failure> {
    let config = AsyncConnectionConfig::new()
        // Connecting is bounded as a whole, and each call by itself.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(hear);
    let (Opened { connection, at, .. }, driver) = server.open_tracked(&config).await.map_err(|error| match &error {
        DialError::Redis(inner) => Failure::of(inner),
        DialError::Denied(_)
        | DialError::NotFound(_)
        | DialError::Unprepared(_)
        | DialError::Malformed
        | DialError::Late(_)
        | DialError::LateOverTls(_) => Failure::Down(error.to_string()),
    })?;
    let mut link = Link::shared(connection, driver);
    match role_of(&mut link).await {
        Ok(found) if found == Some(role) => Ok((link, at)),
        Ok(_) => Err(Failure::Down(format!("it is no {role:?}"))),
        Err(error) => Err(Failure::Down(error.to_string())),
    }
}

/// Takes in what the server says unasked.
fn hear(cache: Arc<Cache>, broken: CancellationToken) -> impl AsyncPushSender {
    move |push: PushInfo| {
        match push.kind {
            PushKind::Invalidate => match push.data.as_slice() {
                [Value::Array(keys)] => keys.iter().for_each(|key| match key {
                    Value::BulkString(key) => cache.invalidate(key),
                    _ => cache.invalidate_all(),
                }),
                // FLUSHALL, and whatever else it may mean.
                _ => cache.invalidate_all(),
            },
            PushKind::Disconnection => {
                cache.invalidate_all();
                broken.cancel();
            }
            _ => {}
        }
        Ok::<(), ()>(())
    }
}

/// Hears of the plain keys of an embedded node.
struct Plain(Arc<Cache>);

impl Listener for Plain {
    fn changed(&self, keyspace: &str, key: &Key) {
        if keyspace.is_empty() {
            self.0.invalidate(&key.name);
        }
    }

    fn all_changed(&self) {
        self.0.invalidate_all();
    }
}
