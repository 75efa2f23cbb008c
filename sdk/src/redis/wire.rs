//! A wire: one connection to a primary, published for use only after it has learned whose history it talks to.
//!
//! The crate's own `ConnectionManager` offers no hook between connecting and the first command, so a write could reach
//! a server whose history nobody has looked at. Here every new connection first reads the server's identity, loads the
//! scripts and opens the partitions that need a new incarnation.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use archipelago_engine::{Incarnation, Origin, Record, RegionId, codec};
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisResult, RedisWrite, ToRedisArgs, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::Notify;

use super::{
    call::{CallError, checked, parse},
    scripts::{SCRIPTS, Script},
    texts::parse_record,
};
use crate::{
    config::{HistoryCheck, KeyspaceConfig, RegionConfig},
    dial::{Address, DialError, Driver, Opened, Server},
    keyspace::PhysicalKeys,
    store::StoreError,
};

/// The oldest server that has every command the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// A keyspace as the wires know it.
#[derive(Debug)]
pub(super) struct Keyspace {
    pub(super) config: KeyspaceConfig,
    pub(super) partitions: Vec<PhysicalKeys>,
}

impl Keyspace {
    pub(super) fn new(name: &str, config: KeyspaceConfig) -> Self {
        let partitions = (0..config.partitions).map(|partition| PhysicalKeys::new(name, partition)).collect();
        Self { config, partitions }
    }
}

/// The incarnation of one partition that writes on a wire name, with what is derived from it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) record: Record,
    pub(super) incarnation: String,
    pub(super) origin: Vec<u8>,
    pub(super) log: Vec<u8>,
    pub(super) number: Vec<u8>,
    /// What begins a write's arguments: how long the log may be, and what [`Wire::history_argument`] says.
    pub(super) guard: String,
}

/// One connection to a primary.
pub(super) struct Wire {
    region: RegionId,
    connection: MultiplexedConnection,
    /// Whoever waits for an answer holds the wire, and with it this.
    _driver: Option<Driver>,
    /// Where it leads.
    at: Option<Address>,
    replid: String,
    history: String,
    /// The policy by which the server evicts keys, where it does.
    evicts_by: Option<String>,
    /// Whether the region keeps all it acknowledged over a restart, as it declares and the server's settings confirm.
    is_lossless: bool,
    keyspaces: Arc<BTreeMap<String, Keyspace>>,
    slots: BTreeMap<String, Vec<ArcSwapOption<Slot>>>,
    is_broken: AtomicBool,
    broke: Notify,
    /// Commands that were sent and not answered yet.
    under_way: AtomicUsize,
    /// The last call on it got no answer, in time or before it was given up: one that hangs would take every call until the
    /// heartbeat finds it, which also clears this where nothing hangs.
    is_late: AtomicBool,
}

/// What weighs on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    /// It left a call without an answer, and has answered none since.
    pub(super) is_late: bool,
    /// Commands sent and not answered yet.
    pub(super) under_way: usize,
}

/// Commands under way on a wire, for as long as this lives.
struct UnderWay<'w> {
    wire: &'w Wire,
    commands: usize,
    /// Whether no answer came; also where nobody waited for it to the end, for a caller's deadline is often the shorter one.
    is_late: bool,
}

impl<'w> UnderWay<'w> {
    fn begin(wire: &'w Wire, commands: usize) -> Self {
        wire.under_way.fetch_add(commands, Ordering::Relaxed);
        Self { wire, commands, is_late: true }
    }

    fn end<T>(mut self, answer: &RedisResult<T>) {
        self.is_late = answer.as_ref().is_err_and(RedisError::is_timeout);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.wire.under_way.fetch_sub(self.commands, Ordering::Relaxed);
        // Written only when it changes: every call reads it.
        if self.is_late != self.wire.is_late.load(Ordering::Relaxed) {
            self.wire.is_late.store(self.is_late, Ordering::Relaxed);
        }
    }
}

/// Why a connection could not be made.
#[derive(Clone, Debug)]
pub(super) struct ConnectError {
    pub(super) text: String,
    /// Trying again will not help: the configuration does not fit the server.
    pub(super) is_final: bool,
}

impl ConnectError {
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_final: false }
    }

    fn last(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_final: true }
    }
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Malformed => Self::last(error.to_string()),
            // A password, a file or a Sentinel can come right while the client lives.
            DialError::Redis(_)
            | DialError::Denied(_)
            | DialError::NotFound(_)
            | DialError::Unprepared(_)
            | DialError::Late(_)
            | DialError::LateOverTls(_) => Self::passing(error.to_string()),
        }
    }
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::passing(error.to_string())
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("region", &self.region).field("history", &self.history).finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects, learns the server's identity, loads the scripts and opens every partition.
    pub(super) async fn connect(
        server: &Server,
        config: &RegionConfig,
        keyspaces: &Arc<BTreeMap<String, Keyspace>>,
    ) -> Result<Arc<Self>, ConnectError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.response_timeout))
            .set_pipeline_buffer_size(1024);
        let opened = server.open_shared(&settings).await;
        let (Opened { connection, at, .. }, driver) =
            opened.map_err(|error| server.or_late(error, config.connect_timeout))?;
        let mut wire = Self {
            region: server.dialer().region().clone(),
            connection,
            _driver: driver,
            at,
            replid: String::new(),
            history: String::new(),
            evicts_by: None,
            is_lossless: false,
            keyspaces: keyspaces.clone(),
            slots: keyspaces
                .iter()
                .map(|(name, k)| (name.clone(), k.partitions.iter().map(|_| ArcSwapOption::empty()).collect()))
                .collect(),
            is_broken: AtomicBool::new(false),
            broke: Notify::new(),
            under_way: AtomicUsize::new(0),
            is_late: AtomicBool::new(false),
        };
        wire.learn_identity().await.map_err(|error| {
            // Without a password nobody logs in, and the first command is what is refused.
            let is_missing = error.text.starts_with("NOAUTH");
            if is_missing { server.dialer().lacks_password("default").into() } else { error }
        })?;
        if config.lossless_restart {
            wire.check_lossless().await?;
        }
        server.verified(wire.at.as_ref());
        wire.load_scripts().await.map_err(|error| ConnectError::passing(error.into_store().to_string()))?;
        for name in keyspaces.keys() {
            wire.open_keyspace(name).await?;
        }
        Ok(Arc::new(wire))
    }

    async fn learn_identity(&mut self) -> Result<(), ConnectError> {
        let mut pipeline = redis::pipe();
        for section in ["server", "replication", "memory"] {
            pipeline.cmd("INFO").arg(section);
        }
        let mut info = String::new();
        for value in self.pipeline(&pipeline).await.map_err(|e| ConnectError::from(e.into_store()))? {
            let section = checked(value).map_err(|e| ConnectError::from(e.into_store()))?;
            info.push_str(&parse::text(section)?.unwrap_or_default());
        }
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
        };
        let version = field("redis_version");
        let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0u32));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
            let (major, minor) = OLDEST;
            return Err(ConnectError::last(format!("the server is {version}, at least {major}.{minor} is needed")));
        }
        if field("arch_bits") == "32" {
            // Its scripts pack numbers in 32 bits, whatever the format says: versions would lose their upper half in silence.
            return Err(ConnectError::last("the server is a 32-bit build, a 64-bit one is needed"));
        }
        if field("role") != "master" {
            return Err(ConnectError::passing("the server is a replica, a primary is needed"));
        }
        let policy = field("maxmemory_policy");
        self.evicts_by = (policy != "noeviction").then(|| policy.to_owned());
        self.replid = field("master_replid").to_owned();
        if self.replid.len() != 40 {
            // The scripts know the check's argument by its length: another one would switch it off.
            return Err(ConnectError::last("the server names no replication id of 40 digits"));
        }
        self.history = format!("{}:{}", field("run_id"), self.replid);
        Ok(())
    }

    /// A region that declares to lose nothing has to be set up so.
    async fn check_lossless(&mut self) -> Result<(), ConnectError> {
        let mut pipeline = redis::pipe();
        for setting in ["appendonly", "appendfsync"] {
            pipeline.cmd("CONFIG").arg("GET").arg(setting);
        }
        let mut found = Vec::new();
        for value in self.pipeline(&pipeline).await.map_err(|e| ConnectError::from(e.into_store()))? {
            let answer = checked(value).map_err(|e| {
                let why = e.into_store();
                ConnectError::last(format!("lossless_restart: the settings cannot be read with CONFIG GET: {why}"))
            })?;
            let [_, setting] = parse::tuple(answer)?;
            found.push(parse::text(setting)?.unwrap_or_default());
        }
        if found != ["yes", "always"] {
            return Err(ConnectError::last(format!(
                "lossless_restart needs `appendonly yes` and `appendfsync always`; the server has {}",
                found.join(" and ")
            )));
        }
        self.is_lossless = true;
        Ok(())
    }

    pub(super) async fn load_scripts(&self) -> Result<(), CallError> {
        let mut pipeline = redis::pipe();
        for script in SCRIPTS.all() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
        }
        for value in self.pipeline(&pipeline).await? {
            checked(value)?;
        }
        Ok(())
    }

    /// Checks that the keyspace is what the configuration says, and opens its partitions.
    async fn open_keyspace(&self, name: &str) -> Result<(), ConnectError> {
        let Some(keyspace) = self.keyspaces.get(name) else { return Ok(()) };
        let mut pipeline = redis::pipe();
        for keys in &keyspace.partitions {
            pipeline.cmd("HMGET").arg(keys.meta()).arg("record").arg("format").arg("partitions").arg("region");
        }
        let metas = self.pipeline(&pipeline).await.map_err(|e| ConnectError::from(e.into_store()))?;
        for (partition, meta) in metas.into_iter().enumerate() {
            let meta = checked(meta).map_err(|e| ConnectError::from(e.into_store()))?;
            let [record, format, partitions, region] = parse::tuple(meta)?;
            if let Some(other) = parse::text(region)?.filter(|region| region != self.region.as_str()) {
                return Err(ConnectError::last(format!(
                    "keyspace {name} on this server belongs to region {other}, this client takes it for {}",
                    self.region
                )));
            }
            let known = parse::text(format)?.zip(parse::text(partitions)?);
            if let Some((format, partitions)) = known {
                let ours = (codec::FORMAT.to_string(), keyspace.config.partitions.to_string());
                if (format.as_str(), partitions.as_str()) != (ours.0.as_str(), ours.1.as_str()) {
                    return Err(ConnectError::last(format!(
                        "keyspace {name} was created with {partitions} partitions in format {format}, this client is \
                         configured for {} partitions in format {}",
                        ours.1, ours.0
                    )));
                }
            }
            let text = parse::text(record)?.unwrap_or_default();
            let partition = u16::try_from(partition).unwrap_or(u16::MAX);
            match parse_record(&text) {
                Some(record) if record.history == self.history => self.publish(name, partition, record),
                Some(_) | None => {
                    let record = self.open(name, partition, &text, 0).await?;
                    if record.history != self.history {
                        return Err(ConnectError::passing("the server's history changed while connecting"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens a new incarnation by compare-and-set against the record as it was last seen.
    pub(super) async fn open(&self, name: &str, partition: u16, seen: &str, floor: u64) -> Result<Record, StoreError> {
        let keyspace = self.keyspace(name)?;
        let keys = partition_keys(keyspace, partition)?;
        let fresh = fresh_incarnation()?;
        let old = parse_record(seen).map_or(Incarnation::new(0), |record| record.incarnation);
        let mut cmd = script(&SCRIPTS.open, 5);
        cmd.arg(keys.meta()).arg(keys.log(fresh)).arg(keys.number(fresh)).arg(keys.log(old)).arg(keys.number(old));
        cmd.arg(seen).arg(self.region.as_str()).arg(fresh.to_string()).arg(floor);
        cmd.arg(codec::FORMAT).arg(keyspace.config.partitions).arg(u8::from(self.is_lossless));
        let [record, opened] = parse::tuple(self.call_script(&cmd).await.map_err(CallError::into_store)?)?;
        let text = parse::text(record)?.unwrap_or_default();
        let record = parse_record(&text).ok_or_else(|| StoreError::Protocol(format!("record {text:?}")))?;
        if parse::integer(&opened)? == 1 {
            tracing::info!(region = %self.region, keyspace = name, partition, incarnation = %record.incarnation, "opened a new incarnation");
        }
        if record.history == self.history {
            self.publish(name, partition, record.clone());
        }
        Ok(record)
    }

    /// After STALE: looks at the record and opens a new incarnation if it has to. Says whether this wire may go on.
    pub(super) async fn reopen(&self, name: &str, partition: u16, floor: u64) -> Result<Record, StoreError> {
        let meta = partition_keys(self.keyspace(name)?, partition)?.meta();
        let mut cmd = redis::cmd("HGET");
        cmd.arg(meta).arg("record");
        let seen = parse::text(self.call(&cmd).await.map_err(CallError::into_store)?)?.unwrap_or_default();
        let record = self.open(name, partition, &seen, floor).await?;
        if record.history != self.history {
            // The history behind this socket is another one now: a new connection has to learn it.
            self.retire();
        }
        Ok(record)
    }

    fn publish(&self, name: &str, partition: u16, record: Record) {
        let Some(keyspace) = self.keyspaces.get(name) else { return };
        let Ok(keys) = partition_keys(keyspace, partition) else { return };
        let slot = Slot {
            incarnation: record.incarnation.to_string(),
            origin: Origin::new(self.region.clone(), record.incarnation).to_bytes(),
            log: keys.log(record.incarnation),
            number: keys.number(record.incarnation),
            guard: match keyspace.config.history_check {
                HistoryCheck::Exact => self.exact_guard(&keyspace.config),
                HistoryCheck::Heartbeat => keyspace.config.log_cap.to_string(),
            },
            record,
        };
        if let Some(place) = self.slots.get(name).and_then(|slots| slots.get(usize::from(partition))) {
            place.store(Some(Arc::new(slot)));
        }
    }

    /// The incarnation that writes to a partition name.
    pub(super) fn slot(&self, name: &str, partition: u16) -> Result<Arc<Slot>, StoreError> {
        let place = self.slots.get(name).and_then(|slots| slots.get(usize::from(partition)));
        let slot = place.and_then(ArcSwapOption::load_full);
        slot.ok_or_else(|| StoreError::Unavailable(format!("partition {partition} of keyspace {name} is not open")))
    }

    fn keyspace(&self, name: &str) -> Result<&Keyspace, StoreError> {
        self.keyspaces.get(name).ok_or_else(|| StoreError::Protocol(format!("unknown keyspace {name}")))
    }

    /// What the scripts compare with the server's own replication id; empty when the keyspace opted out.
    pub(super) fn history_argument(&self, config: &KeyspaceConfig) -> &str {
        match config.history_check {
            HistoryCheck::Exact => &self.replid,
            HistoryCheck::Heartbeat => "",
        }
    }

    /// A slot's guard with the exact check whatever the keyspace says.
    pub(super) fn exact_guard(&self, config: &KeyspaceConfig) -> String {
        format!("{}:{}", config.log_cap, self.replid)
    }

    /// The replication id that this wire learned.
    pub(super) fn replid(&self) -> &str {
        &self.replid
    }

    /// Sends one command.
    pub(super) async fn call(&self, cmd: &Cmd) -> Result<Value, CallError> {
        let under_way = UnderWay::begin(self, 1);
        let answer = self.connection.clone().send_packed_command(cmd).await;
        under_way.end(&answer);
        match answer {
            // What nearly every answer is holds no error inside.
            Ok(value @ (Value::Nil | Value::Int(_) | Value::BulkString(_) | Value::Okay)) => Ok(value),
            answer => self.noticed(answer.map_err(|error| CallError::of(&error)).and_then(checked)),
        }
    }

    /// Sends a script; where the server has forgotten it, loads all of them and sends it again: nothing was done.
    pub(super) async fn call_script(&self, cmd: &Cmd) -> Result<Value, CallError> {
        match self.call(cmd).await {
            Err(CallError::NoScript) => {
                self.load_scripts().await?;
                self.call(cmd).await
            }
            answer => answer,
        }
    }

    /// Sends commands in order; an error of one is among the answers.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, CallError> {
        let under_way = UnderWay::begin(self, pipeline.len());
        let answers = self.connection.clone().send_packed_commands(pipeline, 0, pipeline.len()).await;
        under_way.end(&answers);
        self.noticed(answers.map_err(|error| CallError::of(&error)))
    }

    /// What weighs on it.
    pub(super) fn load(&self) -> Load {
        Load { is_late: self.is_late.load(Ordering::Relaxed), under_way: self.under_way.load(Ordering::Relaxed) }
    }

    /// Retires the wire when the answer shows that it is of no more use.
    pub(super) fn noticed<T>(&self, answer: Result<T, CallError>) -> Result<T, CallError> {
        if let Err(CallError::NoAnswer { broken: true, .. } | CallError::Server { fatal: true, .. }) = &answer {
            self.retire();
        }
        answer
    }

    /// Asks for a new connection; calls under way on this one may still be answered.
    pub(super) fn retire(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.broke.notify_one();
    }

    /// Whether a new connection was asked for.
    pub(super) fn is_retired(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Says so where the server evicts keys, and cells with them.
    pub(super) fn warn_of_eviction(&self) {
        if let Some(policy) = &self.evicts_by {
            let region = &self.region;
            tracing::warn!(%region, policy, "maxmemory-policy evicts keys: that destroys cells; set noeviction");
        }
    }

    /// Where it leads.
    pub(super) fn at(&self) -> Option<&Address> {
        self.at.as_ref()
    }

    /// Waits until a new connection is asked for.
    pub(super) async fn retired(&self) {
        while !self.is_retired() {
            self.broke.notified().await;
        }
    }

    /// The exact check, outside of any script: whether the server's history is still the one this wire learned.
    pub(super) async fn check_history(&self) -> Result<(), CallError> {
        let mut cmd = redis::cmd("INFO");
        cmd.arg("replication");
        let info = parse::text(self.call(&cmd).await?).ok().flatten().unwrap_or_default();
        let same = info.contains(&format!("master_replid:{}", self.replid)) && info.contains("role:master");
        if !same {
            self.retire();
        }
        Ok(())
    }
}

/// An EVALSHA of a script with so many keys.
pub(super) fn script(script: &Script, keys: usize) -> Cmd {
    // Room for an everyday write: growing step by step cost a tenth of the client's work.
    let mut cmd = Cmd::with_capacity(keys + 16, 512);
    cmd.arg("EVALSHA").arg(script.sha()).arg(keys);
    cmd
}

/// One argument made of pieces.
pub(super) struct Joined<'a, const N: usize>(pub(super) [&'a [u8]; N]);

impl<const N: usize> ToRedisArgs for Joined<'_, N> {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        for piece in self.0 {
            // Memory does not refuse.
            let _ = argument.write_all(piece);
        }
    }
}

pub(super) fn partition_keys(keyspace: &Keyspace, partition: u16) -> Result<&PhysicalKeys, StoreError> {
    let keys = keyspace.partitions.get(usize::from(partition));
    keys.ok_or_else(|| StoreError::Protocol(format!("there is no partition {partition}")))
}

fn fresh_incarnation() -> Result<Incarnation, StoreError> {
    let bits = getrandom::u64().map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))?;
    Ok(Incarnation::new(bits))
}
