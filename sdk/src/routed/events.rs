//! Events: every change on the routed plane, as a stream and as `tracing`.

use std::{fmt, sync::Arc};

use archipelago_engine::RegionId;
use futures_util::{Stream, stream};
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

use crate::resilience::Reason;

/// Events kept for a listener that does not keep up.
const BACKLOG: usize = 256;

/// A change on the routed plane.
///
/// Serialised it is an object whose `event` is the variant's name, such as `node-down`.
///
/// ```
/// use archipelago::Event;
/// let event = Event::Missed { count: 3 };
/// assert_eq!(event.to_string(), "3 events were missed: this listener did not keep up");
/// assert_eq!(serde_json::to_string(&event)?, r#"{"event":"missed","count":3}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A node takes calls.
    NodeUp {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
    },
    /// A node takes no calls.
    NodeDown {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// What was seen.
        why: String,
    },
    /// A server has not the role that the topology says. It is not used until it has.
    WrongRole {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// What it is, and what it should be.
        what: String,
    },
    /// A server does not let the user in or lets it do too little, or the credentials or certificates cannot be read. The
    /// node is not used; attempts go on.
    AccessDenied {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// Who is refused where, or what is missing.
        what: String,
    },
    /// No Sentinel says where a server is. Attempts go on.
    NotFound {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// What each Sentinel said.
        what: String,
    },
    /// A Sentinel says that the primary is another server now. The node's connections are made anew.
    Moved {
        /// The node.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// The Sentinel.
        sentinel: String,
        /// The primary's address.
        to: String,
    },
    /// A Sentinel can be heard.
    SentinelUp {
        /// The node it watches.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// The Sentinel.
        sentinel: String,
    },
    /// A Sentinel cannot be heard. A connection that is up stays.
    SentinelDown {
        /// The node it watches.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// The Sentinel.
        sentinel: String,
        /// What was seen.
        why: String,
    },
    /// Another region takes the writes.
    Switched {
        /// The region before.
        #[serde(serialize_with = "as_text")]
        from: RegionId,
        /// The region from now on.
        #[serde(serialize_with = "as_text")]
        to: RegionId,
        /// Why.
        reason: Reason,
    },
    /// Another server of a region writes, by the topology record.
    Promoted {
        /// The region whose data it holds.
        #[serde(serialize_with = "as_text")]
        region: RegionId,
        /// The node that wrote before.
        #[serde(serialize_with = "as_text")]
        from: Arc<str>,
        /// The node that writes now.
        #[serde(serialize_with = "as_text")]
        to: Arc<str>,
        /// The topology's epoch from now on.
        epoch: u64,
    },
    /// A copy of the topology record cannot be read; it is not followed.
    UnreadableTopology {
        /// The node that has it.
        #[serde(serialize_with = "as_text")]
        node: Arc<str>,
        /// What is wrong with it.
        why: String,
    },
    /// Writes go to a region that holds data of its own: what was written before may not be there.
    MayLack {
        /// The region that took the writes before.
        #[serde(serialize_with = "as_text")]
        from: RegionId,
        /// The region that takes them now.
        #[serde(serialize_with = "as_text")]
        to: RegionId,
    },
    /// What a session has seen of a region's data cannot be found in the history of the server that writes them now: a
    /// promotion may have lost it. Told once for each history, however many sessions notice.
    HistoryLost {
        /// The region.
        #[serde(serialize_with = "as_text")]
        region: RegionId,
    },
    /// This listener did not keep up.
    Missed {
        /// How many events it lost.
        count: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUp { node } => write!(f, "{node} is up"),
            Self::NodeDown { node, why } => write!(f, "{node} is down: {why}"),
            Self::WrongRole { node, what } => write!(f, "{node} is not used: {what}"),
            Self::AccessDenied { node, what } => write!(f, "{node} is not used: {what}"),
            Self::NotFound { node, what } => write!(f, "{node} is not found: {what}"),
            Self::Moved { node, sentinel, to } => write!(f, "{node} is {to} now, says Sentinel {sentinel}"),
            Self::SentinelUp { node, sentinel } => write!(f, "{node}: Sentinel {sentinel} is up"),
            Self::SentinelDown { node, sentinel, why } => write!(f, "{node}: Sentinel {sentinel} is down: {why}"),
            Self::Switched { from, to, reason } => write!(f, "writes go to {to} instead of {from}: {reason:?}"),
            Self::Promoted { region, from, to, epoch } => {
                write!(f, "{to} writes {region}'s data instead of {from}, by epoch {epoch}")
            }
            Self::UnreadableTopology { node, why } => write!(f, "the topology record of {node} is not followed: {why}"),
            Self::MayLack { from, to } => write!(f, "{to} may lack what was written at {from}"),
            Self::HistoryLost { region } => {
                write!(f, "{region}: what a session has seen cannot be found in the history of the primary")
            }
            Self::Missed { count } => write!(f, "{count} events were missed: this listener did not keep up"),
        }
    }
}

/// Names, whose types do not serialise here.
fn as_text<S: Serializer>(name: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// Where events are published.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0 }
    }

    /// Publishes to the log and to every listener. Never waits.
    pub(crate) fn publish(&self, event: Event) {
        match &event {
            Event::NodeUp { .. } | Event::SentinelUp { .. } => tracing::info!(%event, "routed plane"),
            Event::NodeDown { .. }
            | Event::WrongRole { .. }
            | Event::AccessDenied { .. }
            | Event::NotFound { .. }
            | Event::Moved { .. }
            | Event::SentinelDown { .. }
            | Event::Switched { .. }
            | Event::Promoted { .. }
            | Event::UnreadableTopology { .. }
            | Event::MayLack { .. }
            | Event::HistoryLost { .. }
            | Event::Missed { .. } => tracing::warn!(%event, "routed plane"),
        }
        // Nobody listening is no failure.
        let _ = self.sender.send(event);
    }

    /// From now on. Ends when the client is gone.
    pub(crate) fn listen(&self) -> impl Stream<Item = Event> + Send + Unpin + use<> {
        let receiver = self.sender.subscribe();
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(count)) => Some((Event::Missed { count }, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        }))
    }
}
