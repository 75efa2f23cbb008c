//! The plane: all nodes of all regions, which region writes at present, and the tasks that watch over them.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clock::Clock,
    endpoint::Endpoint,
    events::{Event, Events},
    follow::Ledger,
    keeper::keep_connected,
    listener::keep_hearing,
    map::Map,
    node::Node,
    probe::{Schedule, keep_probing},
    seen::LostHistories,
    watcher::keep_watching,
};
use crate::{
    config::{Config, Failover, RoutedConfig},
    dial::Server,
    error::{Error, ErrorKind},
    promotion::Fence,
    resilience::{
        Backoff, Budget, Moment, Reason as SwitchReason, RegionHealth, RetryPolicy, Selector, StandardRetry, Switch,
    },
    routing::{MAX_NODES, NodeIndex, NodeInfo, NodeState, RegionIndex, Role, Topology},
};

/// The routed plane of one client. Dropped, it ends its tasks and connections.
pub(crate) struct Plane {
    pub(crate) core: Arc<Core>,
}

/// What calls and tasks share.
pub(crate) struct Core {
    /// Roles change; nodes and regions, and with them their indexes, do not.
    pub(crate) topology: ArcSwap<Topology>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) budget: Budget,
    pub(crate) backoff: Backoff,
    pub(crate) retry: Arc<dyn RetryPolicy>,
    pub(crate) config: RoutedConfig,
    /// The region that [`RegionalPrimary`](crate::routing::RegionalPrimary) writes to: a switch is one store here.
    active: AtomicU8,
    selector: Mutex<Selector>,
    pub(super) ledger: Mutex<Ledger>,
    /// Until when a fence lets this client write, in microseconds.
    writes_until: AtomicU64,
    /// Somebody met a server that is not what the topology says.
    suspicion: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
    pub(super) lost_histories: LostHistories,
}

impl Plane {
    /// Starts connecting; does not wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the regions are no topology.
    pub(crate) fn start(config: &Config, map: Map, retry: Option<Arc<dyn RetryPolicy>>) -> Result<Self, Error> {
        let Map { topology, endpoints, is_embedded } = map;
        let events = Events::new();
        let options = config.resilience.clone();
        let node = |(info, (endpoint, counts)): (&NodeInfo, (Endpoint, (usize, usize)))| {
            Arc::new(Node::new(info.name.clone(), endpoint, info.role, counts, &options, events.clone()))
        };
        let nodes: Vec<_> = topology.nodes().iter().zip(endpoints).map(node).collect();
        // Embedded regions cannot be promoted, so that nothing has to be fenced.
        let is_fenced = !is_embedded && config.routed.is_fenced(topology.regions().len());
        let fence = Fence::new(topology.regions().len(), is_fenced, config.routed.lease);
        let writes_until = fence.lease_until(0).unwrap_or(Moment::START);
        let selector = Selector::new(&options.selector, topology.regions().len());
        let core = Core {
            active: AtomicU8::new(heaviest(&topology).0),
            selector: Mutex::new(selector),
            clock: Clock::new(),
            budget: Budget::new(&options.budget),
            backoff: Backoff::new(&options.backoff),
            retry: retry.unwrap_or_else(|| Arc::new(StandardRetry::new(&options.retry, &options.backoff))),
            config: config.routed.clone(),
            topology: ArcSwap::from_pointee(topology),
            nodes,
            events,
            ledger: Mutex::new(Ledger::new(fence)),
            writes_until: AtomicU64::new(writes_until.as_micros()),
            suspicion: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            lost_histories: LostHistories::default(),
        };
        Self::run(Arc::new(core))
    }

    fn run(core: Arc<Core>) -> Result<Self, Error> {
        let id =
            getrandom::u64().map_err(|error| Error::new(ErrorKind::Unavailable, format!("no randomness: {error}")))?;
        let schedule = Schedule {
            interval: core.config.probe_interval,
            timeout: core.config.probe_timeout,
            key: format!("archipelago:heartbeat:{id:016x}").into(),
        };
        for (index, node) in (0..=u8::MAX).map(NodeIndex).zip(&core.nodes) {
            for line in 0..node.lines() {
                let keeper = keep_connected(core.clone(), index, node.clone(), line);
                core.spawn(keeper);
            }
            // The primary's Sentinels are those of the replicas, too.
            let sentinel = node.endpoint.server().and_then(Server::sentinel);
            for number in 0..sentinel.map_or(0, |sentinel| sentinel.count()) {
                if node.role() == Role::Primary {
                    core.spawn(keep_hearing(node.clone(), number, core.events.clone()));
                }
            }
            let prober = keep_probing(core.clone(), index, node.clone(), schedule.clone());
            core.spawn(prober);
        }
        core.spawn(keep_watching(core.clone()));
        core.tasks.close();
        Ok(Self { core })
    }

    /// Whether its nodes are in this process.
    #[cfg(feature = "homes")]
    pub(crate) fn is_embedded(&self) -> bool {
        self.core.nodes.iter().any(|node| matches!(node.endpoint, Endpoint::Embedded(_)))
    }

    /// Waits until a node is up that can answer something: one is enough.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] after `limit`.
    pub(crate) async fn ready(&self, limit: Duration) -> Result<(), Error> {
        let any_up = async {
            while !self.core.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let up = tokio::time::timeout(limit, any_up).await;
        up.map_err(|_| {
            let why: Vec<_> =
                self.core.nodes.iter().map(|node| format!("{}: {}", node.name, node.why_down())).collect();
            let what = format!("no node of any region can be reached within {limit:?}: {}", why.join("; "));
            Error::new(ErrorKind::Unavailable, what)
        })
    }

    /// Ends the tasks and closes the connections.
    pub(crate) async fn shut_down(&self) {
        self.core.stop.cancel();
        self.core.tasks.wait().await;
        for node in &self.core.nodes {
            node.close("the client was shut down");
        }
    }
}

impl Core {
    /// The region that writes at present.
    pub(crate) fn active(&self) -> RegionIndex {
        RegionIndex(self.active.load(Ordering::Acquire))
    }

    /// Whether the fence lets this client write now.
    pub(crate) fn may_write(&self, now: Moment) -> bool {
        now.as_micros() < self.writes_until.load(Ordering::Acquire)
    }

    pub(super) fn set_writes_until(&self, until: Moment) {
        self.writes_until.store(until.as_micros(), Ordering::Release);
    }

    /// Every node as policies see it, in the topology's order.
    pub(crate) fn states(&self, now: Moment) -> SmallVec<[NodeState; MAX_NODES]> {
        self.nodes.iter().map(|node| node.state(now)).collect()
    }

    pub(crate) fn node(&self, index: NodeIndex) -> Option<&Arc<Node>> {
        self.nodes.get(index.as_usize())
    }

    /// Whether calls have somewhere to go: the region that writes is up, or all that can be known is known and any is.
    fn is_ready(&self) -> bool {
        let topology = self.topology.load();
        let active = topology.primary_of(self.active()).and_then(|index| self.node(index));
        active.is_some_and(|node| node.is_connected())
            || self.were_all_tried() && self.nodes.iter().any(|node| node.is_connected())
    }

    pub(crate) fn were_all_tried(&self) -> bool {
        self.nodes.iter().all(|node| node.was_tried())
    }

    /// A server is not what the topology says, or no more: look now, not at the next turn.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Waits for a suspicion.
    pub(crate) async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Whether the client was shut down.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the client is shut down.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Runs a task of the plane's.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// Feeds the selector with what is known of each region's primary.
    pub(crate) fn look(&self) {
        // Before every node was tried, the nearest would be the first to be healthy, and take the writes from the one
        // that is preferred.
        if self.config.failover == Failover::Manual || !self.were_all_tried() {
            return;
        }
        let now = self.clock.now();
        let health: Vec<_> = self.regions().map(|region| self.health(now, region)).collect();
        let switch = self.selector.lock().unwrap_or_else(PoisonError::into_inner).observe(now, &health);
        self.carry_out(switch);
    }

    /// When to try again while no region is healthy.
    pub(crate) fn next_try(&self, now: Moment) -> Option<Duration> {
        let next = self.selector.lock().unwrap_or_else(PoisonError::into_inner).next_try();
        next.map(|next| next.since(now))
    }

    /// Lets another region write, if it is healthy; it stays until released.
    pub(crate) fn switch_to(&self, name: &str) -> Result<(), Error> {
        let region = self.region(name)?;
        let now = self.clock.now();
        let health: Vec<_> = self.regions().map(|region| self.health(now, region)).collect();
        let switch = {
            let mut selector = self.selector.lock().unwrap_or_else(PoisonError::into_inner);
            let observed = selector.observe(now, &health);
            selector.switch_to(now, region.as_usize()).map(|switch| [observed, switch])
        };
        let switches =
            switch.map_err(|refusal| Error::new(ErrorKind::Unavailable, format!("region {name}: {refusal}")))?;
        switches.into_iter().for_each(|switch| self.carry_out(switch));
        Ok(())
    }

    /// Lets another region write whatever its health, for so long.
    pub(crate) fn force(&self, name: &str, duration: Duration) -> Result<(), Error> {
        let region = self.region(name)?;
        let now = self.clock.now();
        let forced =
            self.selector.lock().unwrap_or_else(PoisonError::into_inner).force(now, region.as_usize(), duration);
        self.carry_out(forced.map_err(|refusal| Error::new(ErrorKind::Config, format!("region {name}: {refusal}")))?);
        Ok(())
    }

    /// Ends a manual choice.
    pub(crate) fn release(&self) {
        let now = self.clock.now();
        let switch = self.selector.lock().unwrap_or_else(PoisonError::into_inner).release(now);
        self.carry_out(switch);
    }

    /// A region by name.
    pub(crate) fn region(&self, name: &str) -> Result<RegionIndex, Error> {
        let topology = self.topology.load();
        topology.region_named(name).ok_or_else(|| {
            let known: Vec<_> = topology.regions().iter().map(|region| region.id.as_str()).collect();
            Error::new(ErrorKind::Config, format!("unknown region {name:?}, known: {}", known.join(", ")))
        })
    }

    fn regions(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        (0..=u8::MAX).take(self.topology.load().regions().len()).map(RegionIndex)
    }

    fn health(&self, now: Moment, region: RegionIndex) -> RegionHealth {
        let topology = self.topology.load();
        let primary = topology.primary_of(region).and_then(|index| self.node(index));
        RegionHealth {
            is_healthy: primary.is_some_and(|node| node.is_writable(now, self.config.patience)),
            latency: primary.map_or(Duration::MAX, |node| node.latency.mean()),
            weight: topology.region(region).map_or(0, |region| region.weight),
        }
    }

    fn carry_out(&self, switch: Option<Switch>) {
        let Some(switch) = switch else { return };
        let Some(to) = u8::try_from(switch.to).ok().map(RegionIndex) else { return };
        let before = RegionIndex(self.active.swap(to.0, Ordering::AcqRel));
        let topology = self.topology.load();
        let names = (topology.region(before), topology.region(to));
        let (Some(from), Some(to)) = names else { return };
        if from.id == to.id {
            return;
        }
        let (from, to) = (from.id.clone(), to.id.clone());
        self.events.publish(Event::Switched { from: from.clone(), to: to.clone(), reason: switch.reason });
        if switch.reason == SwitchReason::Startup {
            return; // nothing was written anywhere yet
        }
        // Regions hold data of their own: what the one before took, the next has only where somebody copied it.
        self.events.publish(Event::MayLack { from, to });
    }
}

/// Where writes go until the health of the regions is known: the heaviest, of equal ones the first by name.
fn heaviest(topology: &Topology) -> RegionIndex {
    let weighed = (0..=u8::MAX).map(RegionIndex).zip(topology.regions());
    let best = weighed.reduce(|best, next| if next.1.weight > best.1.weight { next } else { best });
    best.map_or(RegionIndex(0), |(index, _)| index)
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("nodes", &self.core.nodes).finish_non_exhaustive()
    }
}
