//! The connection that callers hold: whatever speaks `redis::aio::ConnectionLike` works on it unchanged.

use std::{fmt, sync::Arc};

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};

use super::{
    blocking,
    call::Call,
    exclusive::Exclusive,
    flights::Flights,
    link::{Answer, KeptHandle, Work},
    options::CallOptions,
    plane::Plane,
    scan,
    seen::Seen,
    values::Loaded,
};
use crate::{
    commands::{self, Placement, Refusal, of_cmd, of_pipeline},
    error::{Error, ErrorKind},
    routing::{Access, Explanation, NodeIndex, Policy, Profile, RegionIndex, Role, RoutingConfig},
    sessions::{Session, SessionKind},
};

/// A connection to a routed keyspace: every command goes to the node that the keyspace's policy picks at that moment.
///
/// Cheap to clone, never closed, and never to be replaced: it lives as long as the client. Implements
/// [`redis::aio::ConnectionLike`], so that `redis::AsyncCommands`, `redis::cmd` and `redis::pipe` work on it, and crates
/// that take such a connection.
///
/// A pipeline, or a transaction made with `.atomic()`, goes to one node as a whole. Reads, and writes that may be
/// repeated, survive the death of a node within their deadline; another write whose answer did not come fails as
/// [`ErrorKind::MaybeApplied`], which the crate's own retry logic takes for "do not retry". [`Error::of`] finds this
/// library's error inside the crate's.
///
/// A command that waits at the server (BLPOP, XREAD with BLOCK) borrows a connection for itself: it holds nobody up, and
/// may take its own time and the deadline. One that waits for ever ends when its node dies, is left by the policy, or the
/// client is shut down.
///
/// Not on this connection: WATCH, SELECT, SUBSCRIBE, MONITOR and everything else that changes the state of a connection
/// others share. Their error names the call to use: [`Connection::exclusive`] for most. Databases other than that of
/// the node's URL are out of reach.
///
/// # Cancel safety
/// Dropping a call's future gives up the answer, not the request: a write that was sent may be executed. What a blocking
/// command had popped when its future was dropped is lost, as with every client: the server forgets it when it sends it.
pub struct Connection {
    pub(super) keyspace: Arc<RoutedKeyspace>,
    pub(super) options: Arc<CallOptions>,
    home: Result<Option<RegionIndex>, Error>,
    session: Option<Session>,
    /// Of its last call.
    handle: KeptHandle,
}

/// A routed keyspace of a client.
#[derive(Debug)]
pub(crate) struct RoutedKeyspace {
    pub(crate) plane: Arc<Plane>,
    pub(crate) profile: Profile,
    pub(super) loads: Flights<Loaded>,
    /// How sessions read their own writes, unless they say so themselves.
    session: SessionKind,
    /// As it was configured; the profile may have another policy by now.
    pub(crate) routing: RoutingConfig,
}

impl RoutedKeyspace {
    pub(crate) fn new(plane: Arc<Plane>, profile: Profile, session: SessionKind, routing: RoutingConfig) -> Self {
        Self { plane, profile, loads: Flights::default(), session, routing }
    }
}

impl Connection {
    pub(crate) fn new(keyspace: Arc<RoutedKeyspace>) -> Self {
        Self { keyspace, options: Arc::default(), home: Ok(None), session: None, handle: KeptHandle::default() }
    }

    /// The same connection, whose calls ask for this.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        let home = options.home.as_deref().map(|name| self.keyspace.plane.core.region(name)).transpose();
        Self { options: Arc::new(options), home, ..self.clone() }
    }

    /// The same connection, whose reads see what this session's writes did, also through other connections and in other
    /// processes; see [`sessions`](crate::sessions).
    #[must_use]
    pub fn with_session(&self, session: &Session) -> Self {
        Self { session: Some(session.clone()), ..self.clone() }
    }

    /// Replaces the keyspace's policy for every holder of a connection, from the next call on.
    pub fn set_policy(&self, policy: impl Policy + 'static) {
        self.keyspace.profile.swap(policy);
    }

    /// Where a command would go at this moment, with the reason for every node, kept or skipped.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the options name an unknown home region, [`ErrorKind::Refused`] for a command that cannot
    /// run here at all.
    pub fn explain(&self, cmd: &Cmd) -> Result<Explanation, Error> {
        let command = of_cmd(cmd);
        if let Some(refusal) = command.refusal() {
            return Err(refused(command.name(), refusal));
        }
        let key = command.keys().next();
        let call = self.call(Work::One(cmd), access(command.access()), key, command.is_idempotent())?;
        let now = call.core.clock.now();
        let mut explanation =
            call.ask(now, |request, candidates| call.plan(request, candidates).explain(candidates))?;
        if command.name().is_none() {
            explanation.note = Some("unknown command: taken for a write that must not be repeated");
        }
        Ok(explanation)
    }

    /// Borrows a connection of its own at the node that takes the writes of this key: for WATCH, and for whatever else
    /// is the business of one connection; see [`Exclusive`].
    ///
    /// The node's role is verified before. A node lends up to `exclusive_connections` (16 by default); the next borrower
    /// waits for one to come back.
    ///
    /// ```no_run
    /// # async fn count(connection: archipelago::Connection) -> redis::RedisResult<()> {
    /// use redis::AsyncCommands;
    /// let own = connection.exclusive("stock").await?;
    /// let (left,): (i64,) = redis::aio::transaction_async(own, &["stock"], |mut own, mut pipe| async move {
    ///     let stock: i64 = own.get("stock").await?;
    ///     pipe.set("stock", stock - 1).ignore().get("stock").query_async(&mut own).await
    /// })
    /// .await?;
    /// assert!(left >= 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when none could be had by the deadline; it lists what was tried.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future.
    pub async fn exclusive(&self, key: impl AsRef<[u8]>) -> RedisResult<Exclusive> {
        // Only asked about: where would it go?
        let mut write = redis::cmd("SET");
        write.arg(key.as_ref());
        let call = self.call(Work::One(&write), Access::Write, Some(key.as_ref()), false)?;
        // Boxed, so that a caller's own future does not grow beyond what the compiler lays out by default.
        let lease = Box::pin(async { call.borrow(&mut call.begin()).await }).await?;
        let deadline = self.options.deadline.unwrap_or(call.core.config.deadline);
        Ok(Exclusive::new(lease, self.keyspace.clone(), deadline))
    }

    pub(super) fn call<'c>(
        &'c self,
        work: Work<'c>,
        access: Access,
        key: Option<&'c [u8]>,
        is_idempotent: bool,
    ) -> Result<Call<'c>, Error> {
        Ok(Call {
            core: &self.keyspace.plane.core,
            profile: &self.keyspace.profile,
            options: &self.options,
            home: self.home.clone()?,
            work,
            access,
            key,
            is_idempotent: is_idempotent || access == Access::Read || self.options.is_idempotent,
            only: None,
            seen: self.session.as_ref().map(|session| Seen::new(session, self.keyspace.session)),
        })
    }

    /// What is rare is on the heap: the future of every call has room for the largest of its parts.
    async fn send_one(&self, cmd: &Cmd, handle: &mut KeptHandle) -> RedisResult<Value> {
        let command = of_cmd(cmd);
        if let Some(refusal) = command.refusal() {
            return Err(refused(command.name(), refusal).into());
        }
        let call =
            self.call(Work::One(cmd), access(command.access()), command.keys().next(), command.is_idempotent())?;
        if let Some(blocking) = command.blocking() {
            let call = Call { seen: call.seen.map(Seen::unchecked), ..call };
            return Box::pin(blocking::run(&call, blocking)).await;
        }
        match (command.placement(), scan::cursor_at(command.name())) {
            (_, Some(cursor_at)) => Box::pin(scan::run(cmd, cursor_at, &call)).await,
            (Placement::Keyed | Placement::Anywhere | Placement::Writer, None) => one(call.run_with(handle).await?.0),
            (Placement::Cursor, None) => {
                let name = command.name().unwrap_or_default();
                let text =
                    format!("{name} cannot be routed: its cursors belong to one node; use `connection.exclusive(key)`");
                Err(Error::new(ErrorKind::Refused, text).into())
            }
            (Placement::EveryNode, None) => Box::pin(self.everywhere(command.name(), &call, |_| true)).await,
            (Placement::EveryPrimary, None) => {
                Box::pin(self.everywhere(command.name(), &call, |role| role == Role::Primary)).await
            }
        }
    }

    async fn send_many(
        &self,
        pipeline: &Pipeline,
        (offset, count): (usize, usize),
        handle: &mut KeptHandle,
    ) -> RedisResult<Vec<Value>> {
        let batch = of_pipeline(pipeline);
        if let Some((position, refusal)) = batch.refusal() {
            let error = refused(None, refusal).within(format!("command {position} of the pipeline"));
            return Err(error.into());
        }
        let key = batch.keys().next();
        let work = Work::Many { pipeline, offset, count };
        let call = self.call(work, access(batch.access()), key, batch.is_idempotent())?;
        match call.run_with(handle).await?.0 {
            Answer::Many(values) => Ok(values),
            Answer::One(value) => Ok(vec![value]),
        }
    }

    /// SCRIPT LOAD and its like: at every node that is up and may run it. The first failure is the answer.
    async fn everywhere(
        &self,
        name: Option<&str>,
        call: &Call<'_>,
        is_meant: impl Fn(Role) -> bool,
    ) -> RedisResult<Value> {
        let core = &self.keyspace.plane.core;
        let nodes = (0..=u8::MAX).map(NodeIndex).zip(&core.nodes);
        // A node that is away knows nothing of it when it returns: callers answer NOSCRIPT by loading again.
        let meant = nodes.filter(|(_, node)| is_meant(node.role()) && node.is_connected());
        let answers = join_all(meant.map(|(index, _)| async move {
            let at = Call { only: Some(index), ..*call };
            one(at.run().await?.0)
        }));
        let answers = answers.await.into_iter().collect::<RedisResult<Vec<_>>>()?;
        let merge = if name == Some("SCRIPT EXISTS") { exists_everywhere } else { |first, _| first };
        let nobody = || Error::new(ErrorKind::Unavailable, "no node is connected").into();
        answers.into_iter().reduce(merge).ok_or_else(nobody)
    }
}

/// A script that a node lacks would fail there, so it exists where it exists everywhere.
fn exists_everywhere(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Array(first), Value::Array(second)) => {
            let pairs = first.into_iter().zip(second);
            Value::Array(pairs.map(|(a, b)| if a == Value::Int(0) { a } else { b }).collect())
        }
        (first, _) => first,
    }
}

pub(super) const fn access(access: commands::Access) -> Access {
    match access {
        commands::Access::Read => Access::Read,
        commands::Access::Write => Access::Write,
    }
}

pub(super) fn one(answer: Answer) -> RedisResult<Value> {
    match answer {
        Answer::One(value) => Ok(value),
        Answer::Many(_) => Err(Error::new(ErrorKind::Protocol, "several answers to one command").into()),
    }
}

pub(super) fn refused(name: Option<&str>, refusal: Refusal) -> Error {
    let name = name.unwrap_or("this command");
    Error::new(ErrorKind::Refused, format!("{name} cannot run on a routed connection: {}", refusal.instruction()))
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut handle = std::mem::take(&mut self.handle);
            let answer = self.send_one(cmd, &mut handle).await;
            self.handle = handle;
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut handle = std::mem::take(&mut self.handle);
            let answers = self.send_many(pipeline, (offset, count), &mut handle).await;
            self.handle = handle;
            answers
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// Shares everything but the handle, which is one caller's.
impl Clone for Connection {
    fn clone(&self) -> Self {
        Self {
            keyspace: self.keyspace.clone(),
            options: self.options.clone(),
            home: self.home.clone(),
            session: self.session.clone(),
            handle: KeptHandle::default(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::{Client, Embedded};

    #[tokio::test]
    async fn a_calls_future_stays_small() {
        let regions = Embedded::builder().region("us").build().unwrap();
        let text = "[regions.us]\nurl = \"redis://us.invalid\"\n[keyspaces.profiles]\nmode = \"routed\"";
        let client = Client::builder().embedded(&regions).config(text.parse().unwrap()).build().await.unwrap();
        let connection = client.connection("profiles").unwrap();
        let (one, many, handle) = (redis::cmd("GET"), redis::pipe(), &mut KeptHandle::default());
        // The crate's own has 1,128 bytes. With 13,000, each call cost page faults, and half of the throughput.
        let size = size_of_val(&connection.send_one(&one, handle));
        assert!(size <= 3_584, "{size}");
        assert!(size_of_val(&connection.send_many(&many, (0, 1), handle)) <= 3_584);
        client.shut_down().await;
    }
}
