//! Commands that wait at the server: each on a connection of its own, for as long as it waits.

use std::time::Duration;

use redis::{RedisResult, Value};

use super::{
    call::Call,
    connection::one,
    lease::{Lease, Turn},
    plane::Core,
};
use crate::{commands::Blocking, resilience::Moment, routing::Access};

/// Between two looks at the node that is waited for. A look is a few atomic loads.
const LOOK: Duration = Duration::from_millis(50);

/// Borrows a connection for one command, at the node that the plan gives.
///
/// # Cancel safety
/// Dropping the future closes the connection, and the server forgets the command. What it had popped before it noticed
/// is lost.
pub(super) async fn run(call: &Call<'_>, blocking: Blocking) -> RedisResult<Value> {
    let mut progress = call.begin();
    call.share_tag(&progress).await;
    let lease = call.borrow(&mut progress).await?;
    // Where the history then stands is not asked: dropped, the watch leaves a doubt.
    let _watch = call.watch(lease.index);
    let limit = progress.deadline.since(call.core.clock.now());
    let turn =
        Turn { core: call.core, lease: &lease, work: call.work, access: call.access, blocking: Some(blocking), limit };
    one(turn.take(lost(call.core, &lease, || is_still_meant(call, &lease))).await?)
}

/// Whether the plan still gives this node. Asked for writes only: reads may wait at any node, and the nearest changes.
fn is_still_meant(call: &Call<'_>, lease: &Lease) -> bool {
    let is_first = || {
        let route = call.route().ok()?;
        let first = route.left().next()?;
        Some(first.node == lease.index)
    };
    call.access == Access::Read || is_first() == Some(true)
}

/// Returns why, once waiting at a node is pointless.
///
/// A timer cannot tell: a command that waits for ever may be answered tomorrow. So the node is watched, whose prober
/// notices a paused server within its timeout and three failures. A node that is back within the plane's patience is not
/// given up: one broken connection of it need not be this one.
pub(super) async fn lost(core: &Core, lease: &Lease, is_still_meant: impl Fn() -> bool) -> &'static str {
    let node = &lease.node;
    let watch = async {
        let mut away_since: Option<Moment> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            if !node.breaker.is_closed() {
                return "the node was given up";
            }
            let why = match (node.is_connected(), is_still_meant()) {
                (true, true) => None,
                (false, _) => Some("the node was given up"),
                (true, false) => Some("the policy now sends this command to another node"),
            };
            let now = core.clock.now();
            let Some(why) = why else {
                away_since = None;
                continue;
            };
            if now.since(*away_since.get_or_insert(now)) >= core.config.patience {
                return why;
            }
        }
    };
    tokio::select! {
        biased;
        () = core.stopped() => "the client was shut down",
        why = watch => why,
        () = lease.moved() => "another server of the cluster owns the key",
    }
}
