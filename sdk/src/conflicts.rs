//! Conflicts: what regions wrote without knowing of each other, told to whoever listens.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use archipelago_engine::{self as engine, Batch, Field, JoinReply, Kind, Origin, Push, PushReply, RegionId, Version};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::sync::broadcast;

use crate::{
    store::{Store, StoreError},
    text::{quoted, shown, time},
};

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
/// The values are the application's data: `Debug` and `Display` leave them out, serialised they are there.
///
/// Serialised, a name, member or value that is not UTF-8 has U+FFFD in place of what is none, as replies of the
/// interpreter and inspections have, and beside it `name_escaped`, `member_escaped` or `value_escaped` says it exactly, as
/// redis-cli shows it. `time` says `version` in words.
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
    #[serde(flatten, serialize_with = "name_text")]
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
    #[serde(flatten, serialize_with = "micros")]
    pub version: Version,
    /// What: of a longer value the first 4 KiB, without a letter that this would split. Of an expiry the milliseconds since 1970, or `inf`.
    #[serde(flatten, serialize_with = "value_told")]
    pub value: Bytes,
    /// How many bytes the whole value has.
    pub length: usize,
    /// Whether a reader sees it. More than one does where all are kept, or where two wrote the same beside a third.
    pub wins: bool,
}

impl Contender {
    /// The most of a value that is told, in bytes.
    pub const VALUE: usize = 4096;

    /// What is told of the value, as people read it: text in double quotes; what is not UTF-8 is escaped as redis-cli does
    /// it.
    #[must_use]
    pub fn value_text(&self) -> String {
        shown(&self.value)
    }

    fn of(contender: engine::Contender) -> Self {
        let engine::Contender { origin, version, value, wins } = contender;
        // Copied: a part of a value would keep all of it.
        let told = Bytes::copy_from_slice(value.get(..Self::VALUE).map_or(&value, whole_letters));
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
        let (name, what) = (shown(name), in_words(&self.field));
        write!(f, "{region}: keyspace {keyspace}, {kind} {name}{what}: {rule}:")?;
        for contender in contenders {
            write!(f, " {contender}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version, length, wins, .. } = self;
        write!(f, "{origin} at {} ({length} bytes{})", time(*version), if *wins { ", wins" } else { "" })
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

/// Text without the first bytes of a letter that a cut has split; of what is no text all.
fn whole_letters(cut: &[u8]) -> &[u8] {
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => cut.get(..error.valid_up_to()).unwrap_or(cut),
        Ok(_) | Err(_) => cut,
    }
}

fn in_words(field: &Field) -> String {
    match field {
        Field::Member(member) if member.is_empty() => String::new(),
        Field::Member(member) => format!(" {}", shown(member)),
        Field::Expiry => " expiry".to_owned(),
    }
}

fn as_text<S: Serializer>(what: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}

/// `"version": .., "time": ".."`.
fn micros<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    let mut both = serializer.serialize_map(Some(2))?;
    both.serialize_entry("version", &version.as_micros())?;
    both.serialize_entry("time", &time(*version))?;
    both.end()
}

/// `"name": ".."`, and `"name_escaped": ".."` where the text lacks something.
fn text<S: Serializer>(bytes: &[u8], names: [&str; 2], serializer: S) -> Result<S::Ok, S::Error> {
    let text = String::from_utf8_lossy(bytes);
    let escaped = matches!(text, Cow::Owned(_)).then(|| Cow::Owned(quoted(bytes)));
    serializer.collect_map(names.into_iter().zip([Some(text), escaped].into_iter().flatten()))
}

fn value_told<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    text(value, ["value", "value_escaped"], serializer)
}

fn name_text<S: Serializer>(name: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    text(name, ["name", "name_escaped"], serializer)
}

/// `{"member": ..}`, or `"expiry"`.
fn field_text<S: Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    match field {
        Field::Member(member) => text(member, ["member", "member_escaped"], serializer),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use archipelago_engine::Incarnation;

    use super::*;

    fn contender(value: &[u8]) -> Contender {
        let origin = Origin::new("eu".parse().unwrap(), Incarnation::new(7));
        let version = Version::from_micros(1_790_000_000_123_456);
        Contender::of(engine::Contender { origin, version, value: Bytes::copy_from_slice(value), wins: true })
    }

    fn conflict(name: &[u8], field: Field, value: &[u8]) -> ConflictEvent {
        ConflictEvent::Resolved(Conflict {
            keyspace: "default".into(),
            region: "eu".parse().unwrap(),
            kind: Kind::Hash,
            name: Bytes::copy_from_slice(name),
            field,
            rule: "latest",
            contenders: vec![contender(value)],
        })
    }

    #[test]
    fn what_is_text_stays_text_and_versions_are_times_too() {
        let event = conflict("caf\u{e9}".as_bytes(), Field::Member("f".into()), b"1");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["event"], &json["name"]), (&"resolved".into(), &"caf\u{e9}".into()), "{json}");
        assert_eq!(json["field"], serde_json::json!({ "member": "f" }));
        let told = &json["contenders"][0];
        assert_eq!(told["version"], 1_790_000_000_123_456_u64);
        assert_eq!((&told["time"], &told["value"]), (&"2026-09-21T14:13:20.123456Z".into(), &"1".into()));
        assert!(!json.to_string().contains("escaped"), "{json}");
        let text = event.to_string();
        assert!(text.contains("hash \"caf\u{e9}\" \"f\"") && text.contains("at 2026-09-21T14:13:20.123456Z"), "{text}");
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        let event = conflict(b"k\xff", Field::Member(Bytes::from_static(b"f\x80")), b"v\xfe");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["name"], &json["name_escaped"]), (&"k\u{fffd}".into(), &r#""k\xff""#.into()), "{json}");
        assert_eq!(json["field"]["member_escaped"], r#""f\x80""#);
        let told = &json["contenders"][0];
        assert_eq!((&told["value"], &told["value_escaped"]), (&"v\u{fffd}".into(), &r#""v\xfe""#.into()));
        let text = event.to_string();
        assert!(text.contains(r#"hash "k\xff" "f\x80""#), "{text}");
        assert_eq!(contender(b"v\xfe").value_text(), r#""v\xfe""#);
    }

    #[test]
    fn a_cut_splits_no_letter() {
        let long = "\u{e9}".repeat(Contender::VALUE);
        let told = contender(&[b"x", long.as_bytes()].concat());
        assert_eq!((told.value.len(), told.length), (Contender::VALUE - 1, 2 * Contender::VALUE + 1));
        assert!(std::str::from_utf8(&told.value).is_ok());
        assert_eq!(contender(&[0xff; 5000]).value.len(), Contender::VALUE);
    }
}
