//! A node: one server of a region as calls see it. Its connections, its health, and what is in flight there.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::{
    endpoint::Endpoint,
    events::{Event, Events},
    link::{KeptHandle, Link},
    pool::Pools,
};
use crate::{
    resilience::{Breaker, BreakerState, Diagnosis, Latency, Moment, Outcome, ResilienceOptions, Ticket, Transition},
    routing::{Availability, NodeState, Role},
};

/// One server, or one cluster, of a region.
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) endpoint: Endpoint,
    pub(crate) breaker: Breaker,
    pub(crate) latency: Latency,
    lines: Vec<Line>,
    /// How many of the lines have a connection. Signed: one may be counted as lost a moment before it is counted as made.
    links: AtomicIsize,
    turn: AtomicUsize,
    /// Connections for one borrower at a time.
    pub(super) pools: Pools,
    in_flight: AtomicU32,
    /// As of when a replica holds everything, in microseconds; [`UNKNOWN`] before it was seen.
    fresh_as_of: AtomicU64,
    is_syncing: AtomicBool,
    takes_writes: AtomicBool,
    role: Expected,
    /// What the server last said it was: 0 for unknown, 1 for a primary, 2 for a replica.
    seen_role: AtomicU8,
    /// Ends the keeper's pause.
    hurry: Notify,
    /// A connection came up.
    came_up: Notify,
    /// What listeners were told last: [`NOTHING`], [`UP`] or [`DOWN`].
    said: AtomicU8,
    /// Why it is down; of use only while it is.
    why_down: ArcSwapOption<String>,
    /// When it last took a write, or could have, in microseconds; 0 for never.
    writable_at: AtomicU64,
    /// Since when it says that it is a replica where a primary is expected, in microseconds; 0 if it does not.
    demoted_at: AtomicU64,
    /// Whether a first attempt to connect has ended, well or badly.
    was_tried: AtomicBool,
    events: Events,
}

/// A shared connection over time.
pub(crate) struct Line {
    link: ArcSwapOption<Link>,
    lost: Notify,
    doubted: Notify,
}

const UNKNOWN: u64 = u64::MAX;

/// How long a primary that was made a replica is waited for to have a successor.
const SUCCESSION: Duration = Duration::from_secs(5);

const NOTHING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;
/// The role that the topology gives a node, shared with whatever connects to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    is_replica: Arc<AtomicBool>,
}

impl Expected {
    pub(crate) fn get(&self) -> Role {
        role_of(self.is_replica.load(Ordering::Acquire))
    }

    /// Answers the role before.
    fn replace(&self, role: Role) -> Role {
        role_of(self.is_replica.swap(role == Role::Replica, Ordering::AcqRel))
    }
}

const fn role_of(is_replica: bool) -> Role {
    if is_replica { Role::Replica } else { Role::Primary }
}

impl Node {
    pub(crate) fn new(
        name: Arc<str>,
        endpoint: Endpoint,
        role: Role,
        (lines, exclusive): (usize, usize),
        options: &ResilienceOptions,
        events: Events,
    ) -> Self {
        let expected = Expected::default();
        let line = || Line { link: ArcSwapOption::empty(), lost: Notify::new(), doubted: Notify::new() };
        let node = Self {
            name,
            pools: Pools::new(expected.clone(), exclusive),
            endpoint,
            breaker: Breaker::new(&options.breaker),
            latency: Latency::new(&options.latency),
            lines: (0..lines.max(1)).map(|_| line()).collect(),
            links: AtomicIsize::new(0),
            turn: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            fresh_as_of: AtomicU64::new(UNKNOWN),
            is_syncing: AtomicBool::new(false),
            takes_writes: AtomicBool::new(true),
            role: expected,
            seen_role: AtomicU8::new(0),
            hurry: Notify::new(),
            came_up: Notify::new(),
            said: AtomicU8::new(NOTHING),
            why_down: ArcSwapOption::empty(),
            writable_at: AtomicU64::new(0),
            demoted_at: AtomicU64::new(0),
            was_tried: AtomicBool::new(false),
            events,
        };
        node.role.replace(role);
        node
    }

    /// The role the topology gives it.
    pub(crate) fn role(&self) -> Role {
        self.role.get()
    }

    /// Gives it another role. Its connections are made anew, since each verifies the role.
    pub(crate) fn expect(&self, role: Role, now: Moment) {
        if self.role.replace(role) != role {
            // Who has just been put in charge gets the time it takes to connect anew.
            self.writable_at.store(now.as_micros(), Ordering::Release);
            self.demoted_at.store(0, Ordering::Release);
            self.fresh_as_of.store(UNKNOWN, Ordering::Release);
            self.takes_writes.store(true, Ordering::Release);
            self.disconnect("its role changed");
            self.hurry.notify_one();
        }
    }

    /// What the server says it is.
    pub(crate) fn see_role(&self, role: Role, now: Moment) {
        self.seen_role.store(1 + u8::from(role == Role::Replica), Ordering::Release);
        let is_demoted = role == Role::Replica && self.role() == Role::Primary;
        if !is_demoted {
            self.demoted_at.store(0, Ordering::Release);
        } else if self.demoted_at.load(Ordering::Acquire) == 0 {
            self.demoted_at.store(now.as_micros().max(1), Ordering::Release);
        }
    }

    /// What the server last said it was.
    pub(crate) fn seen_role(&self) -> Option<Role> {
        self.seen_role.load(Ordering::Acquire).checked_sub(1).map(|code| role_of(code == 1))
    }

    /// Waits until there is reason to try again at once.
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Waits so long, or until a connection came up.
    pub(crate) async fn until_up(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.came_up.notified()).await;
    }

    /// The connection that a caller used before, if it is still one of this node's, or else another.
    ///
    /// A caller who changed connections with every call could keep no handle on any.
    pub(crate) fn link_for(&self, kept: &KeptHandle) -> Option<Arc<Link>> {
        let links = || self.lines.iter().map(|line| line.link.load());
        let same = links().find_map(|link| link.as_ref().filter(|link| kept.is_of(link)).cloned());
        same.or_else(|| self.link())
    }

    /// A connection for one call, if one is up.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        let turn = match self.lines.len() {
            1 => 0,
            count => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        // With several lines, one that is down must not fail a call that another could carry.
        let mut order = self.lines.iter().skip(turn).chain(self.lines.iter().take(turn));
        order.find_map(|line| line.link.load_full())
    }

    /// Whether there is a connection at all.
    pub(crate) fn is_connected(&self) -> bool {
        self.links.load(Ordering::Acquire) > 0
    }

    /// Whether it takes calls: connected, and trusted.
    pub(crate) fn is_open(&self) -> bool {
        self.is_connected() && self.breaker.is_closed()
    }

    /// An attempt to connect has ended.
    pub(crate) fn tried(&self) {
        self.was_tried.store(true, Ordering::Release);
    }

    /// Whether anything is known of it.
    pub(crate) fn was_tried(&self) -> bool {
        self.was_tried.load(Ordering::Acquire)
    }

    /// How many connections it keeps.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// A connection is up on this line: it answered, and has the right role.
    pub(crate) fn connected(&self, line: usize, link: Link, now: Moment) {
        if let Some(line) = self.lines.get(line) {
            // Whatever was doubted so far is replaced.
            let _ = line.doubted.notified().now_or_never();
            if line.link.swap(Some(Arc::new(link))).is_none() {
                self.links.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.breaker.close(now);
        self.note_up();
        self.came_up.notify_one();
    }

    /// Waits until the connection of this line has to be replaced.
    pub(crate) async fn lost(&self, line: usize) {
        if let Some(line) = self.lines.get(line) {
            while line.link.load().is_some() {
                line.lost.notified().await;
            }
        }
    }

    /// A probe had no answer in time: has another connection made beside each, to put in its place if it comes about.
    ///
    /// On one connection an answer that is late holds up all that follow. A node that is gone makes no new connection,
    /// while one that is well does so before it would be given up.
    pub(crate) fn doubt(&self) {
        self.lines.iter().for_each(|line| line.doubted.notify_one());
    }

    /// Waits until the connection of this line is doubted.
    pub(crate) async fn doubted(&self, line: usize) {
        match self.lines.get(line) {
            Some(line) => line.doubted.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Drops every connection: each is made anew, and verified.
    pub(crate) fn disconnect(&self, why: &str) {
        for line in &self.lines {
            if line.link.swap(None).is_some() {
                self.links.fetch_sub(1, Ordering::AcqRel);
                line.lost.notify_one();
            }
        }
        self.pools.purge();
        self.note_down(why);
    }

    /// Makes a connection anew that broke, or every one if it led to the wrong server.
    ///
    /// One that was replaced meanwhile says nothing: its calls may fail one by one for a while, and each would drop the
    /// next connection, which is well.
    pub(crate) fn replace(&self, broken: &Arc<Link>, is_wrong_server: bool) {
        let why = "its connection broke";
        let leads_there = |line: &&Line| is_same(line.link.load().as_ref(), broken);
        let Some(line) = self.lines.iter().find(leads_there) else { return };
        if is_wrong_server {
            return self.disconnect(why);
        }
        if !is_same(line.link.compare_and_swap(broken, None).as_ref(), broken) {
            return;
        }
        self.links.fetch_sub(1, Ordering::AcqRel);
        line.lost.notify_one();
        if !self.is_connected() {
            self.pools.purge();
            self.note_down(why);
        }
    }

    /// Drops every connection for good; lent ones when they come back.
    pub(crate) fn close(&self, why: &str) {
        // Nobody needs to be told.
        self.said.store(DOWN, Ordering::Release);
        self.disconnect(why);
        self.pools.close();
    }

    /// Says once that it is down.
    pub(crate) fn note_down(&self, why: &str) {
        self.why_down.store(Some(Arc::new(why.to_owned())));
        if self.said.swap(DOWN, Ordering::AcqRel) != DOWN {
            self.events.publish(Event::NodeDown { node: self.name.clone(), why: why.to_owned() });
        }
    }

    /// Why it is not connected.
    pub(crate) fn why_down(&self) -> String {
        self.why_down.load().as_ref().map_or_else(|| "not tried yet".to_owned(), |why| why.to_string())
    }

    fn note_up(&self) {
        if self.breaker.is_closed() && self.is_connected() && self.said.swap(UP, Ordering::AcqRel) != UP {
            self.events.publish(Event::NodeUp { node: self.name.clone() });
        }
    }

    /// What the breaker's change means for listeners, and for the connections: behind a black hole, a new one comes
    /// back sooner.
    pub(crate) fn note(&self, transition: Option<Transition>) {
        match transition {
            Some(Transition::Opened { .. }) => self.disconnect("its calls fail"),
            Some(Transition::Closed) => self.note_up(),
            None => {}
        }
    }

    /// A replica holds everything that was written before this moment.
    pub(crate) fn set_fresh_as_of(&self, moment: Moment) {
        self.fresh_as_of.store(moment.as_micros(), Ordering::Release);
    }

    /// A replica says how far it is behind. Further than this client's own clock reaches back, nobody knows.
    pub(crate) fn set_behind(&self, now: Moment, behind: Duration) {
        let behind = u64::try_from(behind.as_micros()).unwrap_or(u64::MAX);
        self.fresh_as_of.store(now.as_micros().checked_sub(behind).unwrap_or(UNKNOWN), Ordering::Release);
    }

    /// Whether a replica is loading a full copy.
    pub(crate) fn set_syncing(&self, is_syncing: bool) {
        self.is_syncing.store(is_syncing, Ordering::Release);
    }

    /// Whether a primary took the last probe's write.
    pub(crate) fn set_takes_writes(&self, takes_writes: bool, now: Moment) {
        self.takes_writes.store(takes_writes, Ordering::Release);
        if takes_writes {
            self.writable_at.store(now.as_micros().max(1), Ordering::Release);
        }
    }

    /// Whether its region should go on writing here: another region's data are other data, so that leaving has to wait.
    ///
    /// A node that has just taken writes may be back in a moment: a connection broke, a server restarts. One that says it
    /// is a replica now was made one, and whoever did so names its successor soon: at a planned promotion clients used to
    /// leave for another region in the milliseconds before they read who that was.
    pub(crate) fn is_writable(&self, now: Moment, patience: Duration) -> bool {
        let is_up = self.is_connected() && self.breaker.is_closed() && self.takes_writes.load(Ordering::Acquire);
        let is_recent = |at: &AtomicU64, limit: Duration| {
            let at = at.load(Ordering::Acquire);
            at != 0 && now.since(Moment::from_micros(at)) < limit
        };
        is_up || is_recent(&self.writable_at, patience) || is_recent(&self.demoted_at, SUCCESSION.max(patience))
    }

    /// It answered, by a call or a probe.
    pub(crate) fn record_answer(&self, now: Moment, took: Duration) {
        self.latency.record(now, took);
    }

    /// As policies see it.
    pub(crate) fn state(&self, now: Moment) -> NodeState {
        let mut state = NodeState::up()
            .with_availability(self.availability(now))
            .with_in_flight(self.in_flight.load(Ordering::Relaxed));
        if let Some(latency) = self.latency.measured() {
            state = state.with_latency(latency);
        }
        match self.role() {
            Role::Primary => state = state.with_staleness(Duration::ZERO),
            Role::Replica => {
                let fresh_as_of = self.fresh_as_of.load(Ordering::Acquire);
                if fresh_as_of != UNKNOWN {
                    state = state.with_staleness(now.since(Moment::from_micros(fresh_as_of)));
                }
                if self.is_syncing.load(Ordering::Acquire) {
                    state = state.syncing();
                }
            }
        }
        state
    }

    fn availability(&self, now: Moment) -> Availability {
        if !self.is_connected() {
            return Availability::Down;
        }
        if self.breaker.is_closed() {
            return Availability::Up;
        }
        match self.breaker.state() {
            BreakerState::Closed => Availability::Up,
            BreakerState::HalfOpen => Availability::Probing,
            BreakerState::Open { until } if now >= until => Availability::Probing,
            BreakerState::Open { .. } => Availability::Down,
        }
    }

    /// Takes up a call that was overtaken, to record how it ended.
    pub(crate) fn resume(&self, ticket: Ticket, departed: Moment) -> Flight<'_> {
        self.depart(ticket, departed)
    }

    /// Begins a call that the breaker admitted.
    pub(crate) fn depart(&self, ticket: Ticket, now: Moment) -> Flight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Flight { node: self, ticket: Some(ticket), departed: now }
    }
}

fn is_same(link: Option<&Arc<Link>>, other: &Arc<Link>) -> bool {
    link.is_some_and(|link| Arc::ptr_eq(link, other))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("role", &self.role()).finish_non_exhaustive()
    }
}

/// A call under way at a node. Dropped before it landed, it teaches nothing: the caller gave it up.
pub(crate) struct Flight<'n> {
    pub(crate) node: &'n Node,
    ticket: Option<Ticket>,
    departed: Moment,
}

impl Flight<'_> {
    /// When it was sent.
    pub(crate) fn departed(&self) -> Moment {
        self.departed
    }

    /// Somebody else answered first: what is left is to learn whether this node would have.
    pub(crate) fn overtaken(mut self) -> Option<(Ticket, Moment)> {
        self.ticket.take().map(|ticket| (ticket, self.departed))
    }

    /// It was answered.
    pub(crate) fn answered(mut self, now: Moment) {
        let took = now.since(self.departed);
        let is_slow = self.node.latency.is_slow(took);
        self.node.record_answer(now, took);
        self.record(now, if is_slow { Outcome::Slow } else { Outcome::Success });
    }

    /// It was answered after it had waited at the server, as it asked to: how long says nothing about the node.
    pub(crate) fn waited(mut self, now: Moment) {
        self.record(now, Outcome::Success);
    }

    /// It failed, on one of the shared connections or on another.
    pub(crate) fn failed(mut self, now: Moment, diagnosis: Diagnosis, link: Option<&Arc<Link>>) {
        use crate::resilience::Blame;
        match diagnosis.blame {
            Blame::Nobody => return self.answered(now),
            Blame::Writes => self.node.set_takes_writes(false, now),
            Blame::Node => {}
        }
        let outcome = if diagnosis.blame == Blame::Node { Outcome::Failure } else { Outcome::Ignored };
        self.record(now, outcome);
        match link {
            Some(link) if diagnosis.replaces_connection => self.node.replace(link, diagnosis.suspects_topology),
            None if diagnosis.replaces_connection => self.node.disconnect("its connection broke"),
            Some(_) | None => {}
        }
    }

    fn record(&mut self, now: Moment, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let transition = self.node.breaker.record(ticket, now, outcome);
            self.node.note(transition);
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.node.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::{Embedded, routed::embedded::EmbeddedServer};

    /// A node with so many lines, and a way to connect it.
    fn node(lines: usize) -> (Node, impl AsyncFn(&Node, usize)) {
        let regions = Embedded::builder().region("us").build().unwrap();
        let server = regions.nodes(&"us".parse().unwrap()).remove(0);
        let endpoint = Endpoint::Embedded(EmbeddedServer::new(server));
        let options = ResilienceOptions::default();
        let node = Node::new("us/primary".into(), endpoint, Role::Primary, (lines, 1), &options, Events::new());
        let connect = async |node: &Node, line: usize| {
            let connected = node.endpoint.connect(Role::Primary).await.unwrap();
            node.connected(line, connected.link, Moment::START);
        };
        (node, connect)
    }

    #[tokio::test]
    async fn a_connection_that_was_replaced_speaks_against_no_other() {
        let (node, connect) = node(1);
        connect(&node, 0).await;
        let old = node.link().unwrap();
        node.replace(&old, false);
        assert!(!node.is_connected());
        connect(&node, 0).await;
        // A hundred calls were under way on the old one, and fail one by one.
        node.replace(&old, false);
        node.replace(&old, true);
        assert!(node.is_connected());
    }

    #[tokio::test]
    async fn one_broken_connection_of_several_is_replaced_alone_and_a_wrong_server_is_left_by_all() {
        let (node, connect) = node(2);
        connect(&node, 0).await;
        connect(&node, 1).await;
        node.replace(&node.link().unwrap(), false);
        assert!(node.is_connected());
        node.lost(0).now_or_never().or_else(|| node.lost(1).now_or_never()).unwrap();
        node.replace(&node.link().unwrap(), true);
        assert!(!node.is_connected() && node.link().is_none());
    }

    #[tokio::test]
    async fn a_doubted_connection_stays_until_another_is_there_and_doubt_ends_with_it() {
        let (node, connect) = node(1);
        connect(&node, 0).await;
        let old = node.link().unwrap();
        node.doubt();
        assert!(node.is_connected());
        connect(&node, 0).await;
        assert!(!Arc::ptr_eq(&old, &node.link().unwrap()));
        assert!(node.doubted(0).now_or_never().is_none());
        node.disconnect("its calls fail");
        assert!(!node.is_connected(), "counted once");
    }
}
