//! Conflicts: what regions wrote without knowing of each other, told to whoever listens.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use archipelago_engine::{self as engine, Batch, Field, JoinReply, Kind, Origin, Push, PushReply, RegionId, Version};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

use crate::store::{Store, StoreError};

/// Events kept for a listener that does not keep up.
const BACKLOG: usize = 1024;

/// What [`Client::conflicts`](crate::Client::conflicts) tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictEvent {
    /// A rule decided between concurrent writes.
    Resolved(Conflict),
    /// This listener did not keep up.
    Missed {
        /// How many events it lost, the oldest.
        count: u64,
    },
}

/// Concurrent writes of one field, and what became of them.
///
/// The values are the application's data: `Debug` and `Display` leave them out, serialised they are there (bytes that
/// are not UTF-8 are replaced).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Conflict {
    /// The keyspace.
    #[serde(serialize_with = "as_text")]
    pub keyspace: Arc<str>,
    /// The region where they met.
    #[serde(serialize_with = "as_text")]
    pub region: RegionId,
    /// The type of the key.
    #[serde(serialize_with = "as_text")]
    pub kind: Kind,
    /// The name of the key.
    #[serde(serialize_with = "lossy")]
    pub name: Bytes,
    /// The member or field, an empty one for the value of a string; or the key's expiry.
    #[serde(serialize_with = "field_text")]
    pub field: Field,
    /// The rule that decided, in a word: `latest`, `first`, `highest`, `lowest`, `on`, `off`, `all`, `union`,
    /// `longest`.
    pub rule: &'static str,
    /// Every value that stood there behind the join, two at least, in the order of their origins.
    pub contenders: Vec<Contender>,
}

/// One of the values.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Contender {
    /// Who wrote it.
    #[serde(serialize_with = "as_text")]
    pub origin: Origin,
    /// When, in microseconds since 1970 by the clock of the region that wrote it.
    #[serde(serialize_with = "micros")]
    pub version: Version,
    /// What: of a longer value the first 4 KiB. Of an expiry the milliseconds since 1970, or `inf`.
    #[serde(serialize_with = "lossy")]
    pub value: Bytes,
    /// How many bytes the whole value has.
    pub length: usize,
    /// Whether a reader sees it. More than one does where all are kept, or where two wrote the same beside a third.
    pub wins: bool,
}

impl Contender {
    /// The most of a value that is told, in bytes.
    pub const VALUE: usize = 4096;

    fn of(contender: engine::Contender) -> Self {
        let engine::Contender { origin, version, value, wins } = contender;
        // Copied: a part of a value would keep all of it.
        let told = Bytes::copy_from_slice(value.get(..Self::VALUE).unwrap_or(&value));
        Self { origin, version, value: told, length: value.len(), wins }
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version, length, wins, .. } = self;
        let mut shown = f.debug_struct("Contender");
        shown.field("origin", origin).field("version", version).field("length", length).field("wins", wins);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyspace, region, kind, name, rule, contenders, .. } = self;
        let (name, what) = (String::from_utf8_lossy(name), shown(&self.field));
        write!(f, "{region}: keyspace {keyspace}, {kind} {name:?}{what}: {rule}:")?;
        for contender in contenders {
            write!(f, " {contender}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version, length, wins, .. } = self;
        write!(f, "{origin} at {version} ({length} bytes{})", if *wins { ", wins" } else { "" })
    }
}

impl fmt::Display for ConflictEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved(conflict) => conflict.fmt(f),
            Self::Missed { count } => write!(f, "{count} conflicts were missed: this listener did not keep up"),
        }
    }
}

fn shown(field: &Field) -> String {
    match field {
        Field::Member(member) if member.is_empty() => String::new(),
        Field::Member(member) => format!(" {:?}", String::from_utf8_lossy(member)),
        Field::Expiry => " expiry".to_owned(),
    }
}

fn as_text<S: Serializer>(what: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}

fn micros<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(version.as_micros())
}

fn lossy<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// `{"member": ..}`, or `"expiry"`.
fn field_text<S: Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    match field {
        Field::Member(member) => serializer.collect_map([("member", String::from_utf8_lossy(member))]),
        Field::Expiry => serializer.serialize_str("expiry"),
    }
}

/// Whoever wants to be told of a client's conflicts. The channel is made with the first of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners {
    sender: Arc<OnceLock<broadcast::Sender<ConflictEvent>>>,
}

impl Listeners {
    /// From now on. Ends when the client and all its handles are gone.
    pub(crate) fn listen(&self) -> impl Stream<Item = ConflictEvent> + Send + Unpin + use<> {
        let receiver = self.sender.get_or_init(|| broadcast::channel(BACKLOG).0).subscribe();
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(count)) => Some((ConflictEvent::Missed { count }, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        }))
    }
}

/// The joins of one keyspace, with what they tell. Without a listener nothing more is asked of a region.
#[derive(Clone, Debug)]
pub(crate) struct Conflicts {
    keyspace: Arc<str>,
    listeners: Listeners,
}

impl Conflicts {
    pub(crate) fn new(keyspace: &str, listeners: &Listeners) -> Self {
        Self { keyspace: keyspace.into(), listeners: listeners.clone() }
    }

    fn are_heard(&self) -> bool {
        self.listeners.sender.get().is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Joins a batch of a peer's log.
    pub(crate) async fn join(&self, store: &dyn Store, partition: u16, batch: &Batch) -> Result<JoinReply, StoreError> {
        if !self.are_heard() {
            return store.join(partition, batch).await;
        }
        let (reply, met) = store.join_and_tell(partition, batch).await?;
        self.tell(store.region(), met);
        Ok(reply)
    }

    /// Joins cells that were read in another region.
    pub(crate) async fn push(&self, store: &dyn Store, partition: u16, push: &Push) -> Result<PushReply, StoreError> {
        if !self.are_heard() {
            return store.push(partition, push).await;
        }
        let (reply, met) = store.push_and_tell(partition, push).await?;
        self.tell(store.region(), met);
        Ok(reply)
    }

    fn tell(&self, region: &RegionId, met: Vec<engine::Conflict>) {
        let Some(sender) = self.listeners.sender.get() else { return };
        // A union chooses nothing, and its parts are registers, not what an application wrote.
        for conflict in met.into_iter().filter(|conflict| !conflict.is_union()) {
            let event = ConflictEvent::Resolved(Conflict {
                keyspace: self.keyspace.clone(),
                region: region.clone(),
                kind: conflict.key.kind,
                rule: conflict.resolved().rule(),
                contenders: conflict.contenders().into_iter().map(Contender::of).collect(),
                name: conflict.key.name,
                field: conflict.field,
            });
            // The last listener may be gone by now.
            let _ = sender.send(event);
        }
    }
}
