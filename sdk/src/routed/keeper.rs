//! The keeper: keeps one connection of a node, verified, for as long as the client lives.

use std::{sync::Arc, time::Duration};

use super::{
    clock::Clock,
    endpoint::ConnectError,
    events::{Event, Events},
    node::Node,
};

/// Between attempts to connect: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Connects, waits until the connection is lost, and begins again. Never gives up.
pub(crate) async fn keep_connected(node: Arc<Node>, line: usize, clock: Clock, events: Events) {
    let mut pause = PAUSES.0;
    let mut last_role = None;
    loop {
        let connecting = node.endpoint.connect(node.role()).await;
        node.tried();
        match connecting {
            Ok((link, round_trip)) => {
                // A distant node's first probe must not be late by what was assumed of it.
                node.record_answer(clock.now(), round_trip);
                node.connected(line, link, clock.now());
                pause = PAUSES.0;
                last_role = None;
                node.lost(line).await;
            }
            Err(error) => {
                node.note_down(&error.to_string());
                if let ConnectError::WrongRole(what) = &error
                    && last_role.as_ref() != Some(what)
                {
                    // Said once, not at every attempt.
                    events.publish(Event::WrongRole { node: node.name.clone(), what: what.clone() });
                    last_role = Some(what.clone());
                }
                tracing::debug!(node = %node.name, %error, "cannot connect");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}
