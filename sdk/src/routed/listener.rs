//! The listener: hears from a region's Sentinels, and says so.

use std::sync::Arc;

use super::{
    events::{Event, Events},
    node::Node,
};
use crate::dial::{News, keep_listening};

/// Listens to one of the Sentinels that know the node. Those who follow the primary hear of it by themselves.
pub(crate) async fn keep_hearing(node: Arc<Node>, number: usize, events: Events) {
    let Some((sentinel, server)) = node.endpoint.server().and_then(|server| Some((server.sentinel()?, server))) else {
        return;
    };
    let name = node.name.clone();
    let tell = |sentinel: &str, news| {
        let (node, sentinel) = (name.clone(), sentinel.to_owned());
        events.publish(match news {
            News::Up => Event::SentinelUp { node, sentinel },
            News::Down(why) => Event::SentinelDown { node, sentinel, why },
            News::Moved(to) => Event::Moved { node, sentinel, to: to.to_string() },
        });
    };
    keep_listening(sentinel.clone(), server.dialer().clone(), number, tell).await;
}
