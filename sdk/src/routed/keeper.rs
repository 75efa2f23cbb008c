//! The keeper: keeps one connection of a node, verified, for as long as the client lives.

use std::{sync::Arc, time::Duration};

use super::{
    endpoint::{ConnectError, Connected},
    events::Event,
    node::Node,
    plane::Core,
};
use crate::{
    dial::{DialError, Moves},
    routing::{NodeIndex, Role},
};

/// Between attempts to connect: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The same while the server is up in another role: a promotion may be under way, and clients are to follow at once.
const PAUSE_IN_OTHER_ROLE: Duration = Duration::from_millis(200);

/// Connects, waits until the connection is lost, and begins again. Never gives up.
pub(crate) async fn keep_connected(core: Arc<Core>, index: NodeIndex, node: Arc<Node>, line: usize) {
    let mut pause = PAUSES.0;
    let mut said = None;
    let mut moves = node.endpoint.moves();
    loop {
        moves.look();
        let asked = core.clock.now();
        let connecting = node.endpoint.connect(node.role()).await;
        match connecting {
            Ok(Connected { link, round_trip, at }) => {
                // A distant node's first probe must not be late by what was assumed of it.
                node.record_answer(core.clock.now(), round_trip);
                let since = core.clock.now();
                node.see_role(node.role(), since);
                if node.role() == Role::Primary {
                    node.set_takes_writes(true, since);
                }
                node.connected(line, link, since);
                node.tried();
                said = None;
                tokio::select! {
                    () = node.lost(line) => {}
                    () = moves.away_from(at.as_ref()) => node.disconnect("the Sentinels name another primary"),
                    () = node.doubted(line) => {}
                }
                // A server may let everybody in and serve nobody: while it loads its data, say.
                if core.clock.now().since(since) >= PAUSES.1 {
                    pause = PAUSES.0;
                } else {
                    wait(&node, &mut moves, &mut pause).await;
                }
            }
            Err(error) => {
                // While it was only doubted, the connection it has may be well again.
                if !node.is_connected() {
                    node.note_down(&error.to_string());
                }
                // Said once, not at every attempt.
                let event = event_of(&node, &error);
                if event.is_some() && event != said {
                    event.clone().into_iter().for_each(|event| core.events.publish(event));
                    said = event;
                }
                tracing::debug!(node = %node.name, %error, "cannot connect");
                if let ConnectError::WrongRole { found: Some(found), copy, .. } = &error {
                    node.see_role(*found, core.clock.now());
                    // It may be the one server left that knows of its own promotion.
                    core.heard(index, asked, copy.as_deref());
                    pause = PAUSE_IN_OTHER_ROLE;
                }
                // Only now: what the server is, and what it knows of who writes, is told.
                node.tried();
                wait(&node, &mut moves, &mut pause).await;
            }
        }
    }
}

/// Waits before the next attempt, each time longer. Word of a new primary ends the wait.
async fn wait(node: &Node, moves: &mut Moves, pause: &mut Duration) {
    let word = async {
        tokio::select! {
            () = moves.news() => {}
            () = node.hurried() => {}
        }
    };
    *pause = match tokio::time::timeout(*pause, word).await {
        Ok(()) => PAUSES.0,
        Err(_) => (*pause * 2).min(PAUSES.1),
    };
}

/// What somebody has to do something about: waiting does not help.
fn event_of(node: &Node, error: &ConnectError) -> Option<Event> {
    let node = node.name.clone();
    match error {
        ConnectError::WrongRole { what, .. } => Some(Event::WrongRole { node, what: what.clone() }),
        ConnectError::Dial(DialError::Denied(what) | DialError::Unprepared(what)) => {
            Some(Event::AccessDenied { node, what: what.clone() })
        }
        ConnectError::Dial(DialError::NotFound(what)) => Some(Event::NotFound { node, what: what.clone() }),
        ConnectError::Dial(
            DialError::Redis(_) | DialError::Malformed | DialError::Late(_) | DialError::LateOverTls(_),
        ) => None,
    }
}
