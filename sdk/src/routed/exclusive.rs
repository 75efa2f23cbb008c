//! The exclusive connection: one node's, for one borrower, with the state that a connection has.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};

use super::{
    blocking::lost,
    connection::{RoutedKeyspace, access, one, refused},
    lease::{Lease, Turn},
    link::{Answer, Work},
};
use crate::{
    commands::{Blocking, Refusal, of_cmd},
    routing::Access,
};

/// A connection to one node that nobody else sends on, from [`Connection::exclusive`](super::Connection::exclusive).
///
/// For WATCH, MULTI and EXEC, for WAIT behind one's own writes, for SELECT, and for whatever else is a property of a
/// connection. Implements [`redis::aio::ConnectionLike`]; a clone is another handle on the same connection, as
/// [`redis::aio::transaction_async`] needs it. It is borrowed: once the last handle is dropped it goes back to the node's
/// pool, or is closed if anything was left behind on it (WATCH, MULTI, another database, a request without an answer).
///
/// It stays with its node. When that node dies, or is no primary any more, each call fails, and so does everything else
/// that was under way on it: borrow again and begin from the start. Nothing is repeated here.
///
/// In a cluster it leads to the server that owned the key when it was borrowed.
///
/// Each call ends by the deadline of the connection it was borrowed from; a command that waits at the server, by the time
/// it asks for besides.
///
/// # Cancel safety
/// Dropping a call's future gives up the answer, not the request; the connection is closed once the last handle is
/// dropped.
#[derive(Clone)]
pub struct Exclusive {
    lease: Arc<Lease>,
    // The plane lives as long as anybody has a connection.
    keyspace: Arc<RoutedKeyspace>,
    deadline: Duration,
}

impl Exclusive {
    pub(super) fn new(lease: Lease, keyspace: Arc<RoutedKeyspace>, deadline: Duration) -> Self {
        Self { lease: Arc::new(lease), keyspace, deadline }
    }

    /// The node it belongs to, as it is named in [`Event`](super::Event)s and errors: `us-east-1/primary`.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.lease.node.name
    }

    async fn send(&self, work: Work<'_>, needs: Needs) -> RedisResult<Answer> {
        let core = &self.keyspace.plane.core;
        let Needs { access, blocking } = needs;
        let turn = Turn { core, lease: &self.lease, work, access, blocking, limit: self.deadline };
        turn.take(lost(core, &self.lease, || true)).await
    }
}

/// What the commands of one request ask for, together.
#[derive(Clone, Copy)]
struct Needs {
    access: Access,
    blocking: Option<Blocking>,
}

impl Needs {
    fn of(cmd: &Cmd) -> RedisResult<Self> {
        let command = of_cmd(cmd);
        if let Some(refusal) = command.refusal().filter(|refusal| !may_run(*refusal)) {
            return Err(refused(command.name(), refusal).into());
        }
        let access = match command.name() {
            // They change no data, so that nothing can have been applied.
            Some("WATCH" | "UNWATCH" | "MULTI" | "DISCARD" | "WAIT" | "WAITAOF") => Access::Read,
            _ => access(command.access()),
        };
        Ok(Self { access, blocking: command.blocking() })
    }

    fn and(self, other: Self) -> Self {
        let access = if self.access == Access::Read { other.access } else { self.access };
        let blocking = match (self.blocking, other.blocking) {
            (Some(Blocking::Forever), _) | (_, Some(Blocking::Forever)) => Some(Blocking::Forever),
            (Some(Blocking::AtMost(one)), Some(Blocking::AtMost(two))) => {
                Some(Blocking::AtMost(one.saturating_add(two)))
            }
            (Some(Blocking::Malformed) | None, other) => other,
            (one, Some(Blocking::Malformed) | None) => one,
        };
        Self { access, blocking }
    }
}

/// What a connection of one's own is for. The rest would break it, or concerns a server rather than a connection.
const fn may_run(refusal: Refusal) -> bool {
    match refusal {
        Refusal::Transaction | Refusal::Connection | Refusal::Wait | Refusal::InPipeline => true,
        Refusal::Subscription
        | Refusal::Login
        | Refusal::Closing
        | Refusal::Routing
        | Refusal::Topology
        | Refusal::Server => false,
    }
}

impl ConnectionLike for Exclusive {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { one(self.send(Work::One(cmd), Needs::of(cmd)?).await?) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let nothing = Needs { access: Access::Read, blocking: None };
            let needs =
                pipeline.cmd_iter().try_fold(nothing, |needs, cmd| Needs::of(cmd).map(|more| needs.and(more)))?;
            match self.send(Work::Many { pipeline, offset, count }, needs).await? {
                Answer::Many(values) => Ok(values),
                Answer::One(value) => Ok(vec![value]),
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").field("node", &self.node()).finish_non_exhaustive()
    }
}
