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
    /// Writes go to a region that holds data of its own: what was written before may not be there.
    MayLack {
        /// The region that took the writes before.
        #[serde(serialize_with = "as_text")]
        from: RegionId,
        /// The region that takes them now.
        #[serde(serialize_with = "as_text")]
        to: RegionId,
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
            Self::Switched { from, to, reason } => write!(f, "writes go to {to} instead of {from}: {reason:?}"),
            Self::MayLack { from, to } => write!(f, "{to} may lack what was written at {from}"),
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
            Event::NodeUp { .. } => tracing::info!(%event, "routed plane"),
            Event::NodeDown { .. }
            | Event::WrongRole { .. }
            | Event::Switched { .. }
            | Event::MayLack { .. }
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
