//! The keeper: keeps one connection of a node, verified, for as long as the client lives.

use std::{sync::Arc, time::Duration};

use super::{endpoint::ConnectError, events::Event, node::Node, plane::Core};
use crate::routing::NodeIndex;

/// Between attempts to connect: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The same while the server is up in another role: a promotion may be under way, and clients are to follow at once.
const PAUSE_IN_OTHER_ROLE: Duration = Duration::from_millis(200);

/// Connects, waits until the connection is lost, and begins again. Never gives up.
pub(crate) async fn keep_connected(core: Arc<Core>, index: NodeIndex, node: Arc<Node>, line: usize) {
    let mut pause = PAUSES.0;
    let mut last_role = None;
    loop {
        let asked = core.clock.now();
        let connecting = node.endpoint.connect(node.role()).await;
        node.tried();
        match connecting {
            Ok((link, round_trip)) => {
                // A distant node's first probe must not be late by what was assumed of it.
                node.record_answer(core.clock.now(), round_trip);
                node.see_role(node.role());
                node.connected(line, link, core.clock.now());
                pause = PAUSES.0;
                last_role = None;
                node.lost(line).await;
            }
            Err(error) => {
                node.note_down(&error.to_string());
                tracing::debug!(node = %node.name, %error, "cannot connect");
                if let ConnectError::WrongRole { what, found, copy } = error {
                    if let Some(found) = found {
                        node.see_role(found);
                        // It may be the one server left that knows of its own promotion.
                        core.heard(index, asked, copy.as_deref());
                    }
                    if last_role.as_ref() != Some(&what) {
                        // Said once, not at every attempt.
                        core.events.publish(Event::WrongRole { node: node.name.clone(), what: what.clone() });
                        last_role = Some(what);
                    }
                    pause = PAUSE_IN_OTHER_ROLE;
                }
                node.pause(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}
