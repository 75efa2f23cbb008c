//! One region twice: the store on a real server, and the engine's partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use archipelago::testing::{poll, servers::Server};
use archipelago::{
    Client, PhysicalKeys,
    engine::{
        Batch, Body, Cell, Cells, Collection, Conflict, Entry, Field, JoinReply, Key, KeyState, Kind, Mutation,
        MutationError, Native, Origin, Outcome, Partition, Place, Push, Record, Refusal, Registers, Reservation,
        ResyncError, ResyncPlan, Since, Slice, StockOutcome, Version, View, codec, hyperloglog::Payload, number,
        position,
    },
    store::{Excerpt, ResyncFailure, Store, StoreError, Write},
};
use archipelago_tests::{
    carry,
    random::Rng,
    world::{self, REGIONS, World},
};
use bytes::Bytes;
use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};

use crate::entries;

/// The limit of the configuration's default.
const MAX_SKEW: u64 = 60_000_000;

pub struct Pair {
    pub store: Arc<dyn Store>,
    pub partition: Partition,
    _client: Client,
    pub record: Record,
    raw: MultiplexedConnection,
    pub touched: BTreeSet<Key>,
    /// What was set aside here, whatever became of it.
    pub reserved: Vec<(Key, Reservation)>,
    /// How far a reader of each feed has come.
    read: BTreeMap<Key, Place>,
    pub last: Version,
}

impl Pair {
    pub async fn open(world: &World, at: usize) -> Self {
        let client = world.idle_client(at).await;
        let store = world::store(&client);
        let record = store.sync_state(0).await.unwrap().record.unwrap();
        let mut partition = Partition::new(REGIONS[at].parse().unwrap());
        let first = carry::log(&*store, 0).await.unwrap().entries[0].id;
        let opened = partition.open(&record.history, record.incarnation, record.opening - 1, first);
        assert_eq!(opened, record, "the opening");
        let raw = world.servers[at].connect().await.unwrap();
        Self {
            store,
            partition,
            _client: client,
            record,
            raw,
            touched: BTreeSet::new(),
            reserved: Vec::new(),
            read: BTreeMap::new(),
            last: first,
        }
    }

    /// Opens the next incarnation, in both: the server has another history from now on, and all its data.
    pub async fn open_anew(&mut self, server: &Server, place: &str) {
        // The engine's clock follows what it joins at once, a log's only where the server's own is behind: an entry of its
        // own is the last of both.
        self.republish(place).await;
        // Nobody listens there, so nothing is copied.
        let _: () = server.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await.unwrap();
        let _: () = server.run(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
        let record = poll::until("another incarnation", || async {
            self.store.log_after(0, Version::MAX, 1).await.ok()?;
            self.store.sync_state(0).await.ok()?.record.filter(|record| record.history != self.record.history)
        });
        self.record = record.await;
        let Record { history, incarnation, opening, .. } = &self.record;
        let first = carry::log(&*self.store, 0).await.unwrap().entries[0].id;
        let opened = self.partition.open(history, *incarnation, opening - 1, first);
        assert_eq!(opened, self.record, "{place}");
        self.last = first;
    }

    /// Under which it writes.
    pub fn origin(&self) -> Origin {
        Origin::new(self.partition.region().clone(), self.record.incarnation)
    }

    /// What Redis appended since the last look: at most one entry.
    async fn appended(&mut self, place: &str) -> Option<Version> {
        let slice = self.store.log_after(0, self.last, 10).await.unwrap();
        assert!(slice.entries.len() <= 1, "{place}: several entries for one step");
        let id = slice.entries.first()?.id;
        self.last = id;
        Some(id)
    }

    /// A time for steps that append nothing.
    fn idle_now(&self) -> Version {
        self.last.next()
    }

    pub async fn write(&mut self, key: &Key, mutation: &Mutation, place: &str) {
        self.touched.insert(key.clone());
        let write = Write { key: key.clone(), mutation: mutation.clone(), exclusive: false };
        let theirs = match self.store.write(&write).await {
            Ok(outcome) => Ok(outcome),
            Err(StoreError::Refused(error)) => Err(error),
            Err(other) => panic!("{place}: {key:?} {mutation:?}: {other}"),
        };
        if let Ok(Outcome::Stock(StockOutcome::Held(reservation))) = &theirs {
            self.reserved.push((key.clone(), reservation.clone()));
        }
        let appended = self.appended(place).await;
        let before = self.partition.sync_state().number;
        let now = appended.unwrap_or_else(|| self.idle_now());
        let mutation = &entries::as_given(mutation, theirs.as_ref().ok(), now);
        let ours = match self.partition.mutate(&self.record.history, now, key, mutation) {
            Ok(outcome) => Ok(outcome),
            Err(Refusal::Mutation(error)) => Err(error),
            Err(Refusal::Stale(_)) => panic!("{place}: stale"),
        };
        // The order in which two faults of one write are found is nobody's promise.
        let same = match (&theirs, &ours) {
            (Err(a), Err(b)) => a == b || [a, b].contains(&&MutationError::InvalidExpire),
            (a, b) => a == b,
        };
        assert!(same, "{place}: {key:?} {mutation:?}: Redis {theirs:?}, the engine {ours:?}");
        let entries = self.partition.sync_state().number - before;
        assert_eq!(entries, u64::from(appended.is_some()), "{place}: {key:?} {mutation:?}: entries");
        self.compare_key(key, place).await;
    }

    /// The siblings of a key as they stand.
    pub fn context(&self, key: &Key) -> Vec<(Origin, Version)> {
        let field = self.partition.key(key).and_then(|state| state.fields.get(&Field::VALUE));
        field.map(|stamped| stamped.cells.context()).unwrap_or_default()
    }

    pub async fn publish(&mut self, place: &str) {
        let theirs = self.store.publish_vector(0).await.unwrap();
        let now = self.appended(place).await.unwrap_or_else(|| self.idle_now());
        let ours = self.partition.publish_vector(&self.record.history, now).unwrap();
        assert_eq!(theirs, ours, "{place}: whether a vector was due");
    }

    /// One step of the collection, in both.
    pub async fn collect(&mut self, place: &str) -> Collection {
        let members = REGIONS.map(|region| region.parse().unwrap());
        let theirs = self.store.collect(0, &members, 10_000).await.unwrap();
        let now = self.appended(place).await.unwrap_or_else(|| self.idle_now());
        let ours = self.partition.collect(&self.record.history, now, &members, 10_000).unwrap();
        assert_eq!(theirs, ours, "{place}: the collection");
        theirs
    }

    /// One step of the collection, in the store by two processes at once.
    pub async fn collect_twice(&mut self, place: &str) -> Collection {
        let members = REGIONS.map(|region| region.parse().unwrap());
        let both = tokio::join!(self.store.collect(0, &members, 10_000), self.store.collect(0, &members, 10_000));
        let (one, other) = (both.0.unwrap(), both.1.unwrap());
        let now = self.appended(place).await.unwrap_or_else(|| self.idle_now());
        let ours = self.partition.collect(&self.record.history, now, &members, 10_000).unwrap();
        assert_eq!(one.cells + other.cells, ours.cells, "{place}: the cells that two collectors forgot");
        self.compare(place).await;
        ours
    }

    pub async fn republish(&mut self, place: &str) {
        self.store.republish_vector(0).await.unwrap();
        let now = self.appended(place).await.expect("a vector entry");
        self.partition.republish_vector(&self.record.history, now).unwrap();
    }

    /// Where nothing is dead the index names the keys that have cells, and nothing waits to be collected.
    pub async fn compare_index(&mut self, place: &str) {
        let physical = PhysicalKeys::new("default", 0);
        let entries: BTreeSet<Vec<u8>> = self.ask(redis::cmd("ZRANGE").arg(physical.index()).arg(0).arg(-1)).await;
        let keys: BTreeSet<Vec<u8>> = self.partition.keys().map(|(key, _)| key.index_entry().to_vec()).collect();
        assert_eq!(entries, keys, "{place}: the index");
        let mut dying = redis::cmd("ZCOUNT");
        let dying: u64 = self.ask(dying.arg(physical.expiring()).arg(10_000_000_000_000_u64).arg("+inf")).await;
        assert_eq!(dying, 0, "{place}: fields that wait to be collected");
        for key in self.touched.clone().iter().filter(|key| key.kind == Kind::Feed) {
            let count: u64 = self.ask(redis::cmd("ZCARD").arg(physical.arrivals(&key.name))).await;
            let state = self.partition.key(key);
            let live = state.map_or(0, |state| state.fields.values().filter(|f| f.cells.is_live()).count());
            let expiry = state.and_then(|state| state.deadline()).is_some();
            assert_eq!(count, live as u64 - u64::from(expiry), "{place}: numbered entries of {key:?}");
        }
    }

    /// Begins a walk of every key.
    pub async fn begin_walk(&mut self, place: &str) -> ResyncPlan {
        let plan = self.store.begin_resync(0, None).await.unwrap();
        let now = self.appended(place).await.expect("a vector entry");
        let ours = self.partition.begin_resync(&self.record.history, now, None).unwrap();
        assert_eq!(plan, ours, "{place}: the plan");
        plan
    }

    /// Takes a resync whose slices are all there.
    pub async fn take_walk(&mut self, plan: &ResyncPlan, slices: &[Slice], place: &str) {
        self.store.start_resync(0, plan).await.unwrap();
        self.partition.start_resync(&self.record.history, plan).unwrap();
        for slice in slices {
            self.store.apply_slice(0, plan, slice).await.unwrap();
            self.partition.apply_slice(&self.record.history, plan, slice).unwrap();
            self.touched.extend(slice.deltas.iter().map(|delta| delta.key.clone()));
            self.compare(place).await;
        }
        self.store.complete_resync(0, plan).await.unwrap();
        self.partition.complete_resync(&self.record.history, plan).unwrap();
    }

    pub async fn join(&mut self, batch: &Batch, place: &str) -> JoinReply {
        let theirs = self.store.join_and_tell(0, batch).await.unwrap();
        // The clock that Redis read lies between two looks; where a clock is pulled ahead, the ids show it later.
        let now = self.store.clock().await.unwrap();
        let ours = self.partition.join_and_tell(&self.record.history, now, MAX_SKEW, batch).unwrap();
        assert_eq!(alike_told(&theirs.1), alike_told(&ours.1), "{place}: what met in the batch");
        let theirs = theirs.0;
        assert_eq!(theirs, ours.0, "{place}: what became of the batch");
        self.touched.extend(batch.deltas.iter().map(|delta| delta.key.clone()));
        theirs
    }

    /// Compares cells, views and the state of the links.
    pub async fn compare(&mut self, place: &str) {
        let keys: Vec<Key> = self.touched.iter().cloned().collect();
        for key in &keys {
            self.compare_key(key, place).await;
        }
        let (theirs, ours) = (self.store.sync_state(0).await.unwrap(), self.partition.sync_state());
        assert_eq!(theirs.applied, ours.applied, "{place}: applied");
        assert_eq!(theirs.cursors, ours.cursors, "{place}: cursors");
        assert_eq!(theirs.resynced, ours.resynced, "{place}: resynced");
        assert_eq!(theirs.known, ours.known, "{place}: known");
        assert_eq!(theirs.resolved, ours.resolved, "{place}: what rules decided");
        assert_eq!((theirs.number, theirs.conflicts), (ours.number, ours.conflicts), "{place}: numbers");
        assert_eq!(theirs.vectors, ours.vectors, "{place}: vectors");
        assert_eq!(theirs.mark, ours.mark, "{place}: mark");
        assert_eq!(theirs.collected, ours.collected, "{place}: collected");
        assert_eq!(theirs.settling, ours.settling, "{place}: settling");
        // `inexact` is not compared: it is a count for people, and the engine counts large scores, too.
        assert_eq!(theirs.vector_due, ours.vector_due, "{place}: whether a vector is due");
        let theirs = log_entries(&carry::log(&*self.store, 0).await.unwrap());
        let ours = log_entries(&self.partition.log_after(&self.record.history, Version::ZERO, usize::MAX).unwrap());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs, ours, "{place}: log");
        }
        assert_eq!(theirs.len(), ours.len(), "{place}: entries of the log");
    }

    pub async fn compare_key(&mut self, key: &Key, place: &str) {
        let theirs = self.store.inspect(key).await.unwrap().state.map(|state| alike(key.kind, state));
        let ours = self.partition.key(key).cloned().map(|state| alike(key.kind, state));
        assert_eq!(theirs, ours, "{place}: other cells of {key:?}");
        let now = self.store.clock().await.unwrap();
        let expected = self.partition.view(key, now);
        let shown = self.native_view(key).await;
        assert_eq!(shown, expected, "{place}: another view of {key:?}");
        if key.kind == Kind::Feed {
            self.compare_arrivals(key, now, place).await;
        }
        let physical = PhysicalKeys::new("default", 0).view(key);
        let expires: i64 = self.ask(redis::cmd("PEXPIRETIME").arg(physical)).await;
        let expected = match expected {
            View::Absent => -2,
            _ => self.partition.expires_at(key).map_or(-1, |at| i64::try_from(at).unwrap()),
        };
        assert_eq!(expires, expected, "{place}: another expiry of {key:?}");
        self.compare_dying(key, place).await;
    }

    /// Every field with something dead waits to be collected, at the latest since its last change: whatever the collector
    /// finds changed behind its mark, it puts off.
    async fn compare_dying(&mut self, key: &Key, place: &str) {
        let list = PhysicalKeys::new("default", 0).expiring();
        let entry = key.index_entry();
        let fields = self.partition.key(key).into_iter().flat_map(|state| &state.fields);
        let dead: Vec<_> = fields
            .filter(|(_, stamped)| stamped.cells.has_dead())
            .map(|(field, stamped)| {
                let name = match field {
                    Field::Member(member) => [b"m", member.as_ref()].concat(),
                    Field::Expiry => b"x".to_vec(),
                };
                let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
                ([&length[..], entry.as_ref(), &name[..]].concat(), stamped.stamp)
            })
            .collect();
        for (waiting, stamp) in dead {
            let score: Option<f64> = self.ask(redis::cmd("ZSCORE").arg(&list).arg(waiting)).await;
            let waits = score.is_some_and(|score| score <= 1e13 + stamp as f64);
            assert!(waits, "{place}: a dead cell of {key:?} waits since {score:?}, it died at {stamp}");
        }
    }

    /// Reads a feed on from where its reader was, two entries at a time, and all of it.
    async fn compare_arrivals(&mut self, key: &Key, now: Version, place: &str) {
        let on = self.read.get(key).map_or(Since::Start, |place| Since::Place(*place));
        for (since, limit) in [(on, 2), (Since::Start, 1000), (Since::Now, 1)] {
            let theirs = self.store.arrived(key, since, limit).await.unwrap();
            let ours = self.partition.arrived(&self.record.history, now, key, since, limit).unwrap();
            assert_eq!(theirs, ours, "{place}: what arrived in {key:?} since {since:?}");
            if since == on {
                self.read.insert(key.clone(), theirs.place);
            }
        }
    }

    /// The view as plain commands show it.
    async fn native_view(&mut self, key: &Key) -> View {
        let physical = PhysicalKeys::new("default", 0).view(key);
        let command = |name: &str| redis::cmd(name).arg(&physical).clone();
        let sorted = |mut pairs: Vec<(Vec<u8>, Vec<u8>)>| {
            pairs.sort();
            pairs.into_iter().map(|(a, b)| (Bytes::from(a), Bytes::from(b))).collect::<Vec<_>>()
        };
        let view = match key.kind.native() {
            Native::String if key.kind == Kind::HyperLogLog => {
                let bytes: Option<Vec<u8>> = self.ask(&command("GET")).await;
                let view = bytes.map(|bytes| View::HyperLogLog(Registers::decode(&bytes).expect("registers")));
                if let Some(View::HyperLogLog(registers)) = &view {
                    let count: u64 = self.ask(&command("PFCOUNT")).await;
                    assert_eq!(count, registers.count(), "another count of {key:?}");
                }
                view
            }
            Native::String => {
                let value: Option<Vec<u8>> = self.ask(&command("GET")).await;
                value.map(|value| View::String(value.into()))
            }
            Native::Set => {
                let mut members: Vec<Vec<u8>> = self.ask(&command("SMEMBERS")).await;
                members.sort();
                (!members.is_empty()).then(|| View::Set(members.into_iter().map(Bytes::from).collect()))
            }
            Native::Hash => {
                let pairs: Vec<(Vec<u8>, Vec<u8>)> = self.ask(&command("HGETALL")).await;
                (!pairs.is_empty()).then(|| View::Hash(sorted(pairs)))
            }
            Native::SortedSet => {
                let mut all = command("ZRANGE");
                all.arg(0).arg(-1).arg("WITHSCORES");
                let pairs: Vec<(Vec<u8>, Vec<u8>)> = self.ask(&all).await;
                let score = |text: &[u8]| number::parse_score(text).expect("a score");
                let scores = pairs.into_iter().map(|(m, s)| (Bytes::from(m), score(&s))).collect::<Vec<_>>();
                (!scores.is_empty()).then_some(View::SortedSet(scores))
            }
            Native::Ordered => {
                let mut all = command("ZRANGE");
                all.arg(0).arg(-1);
                let members: Vec<Vec<u8>> = self.ask(&all).await;
                let split = |member: Vec<u8>| match key.kind {
                    Kind::List => position::split(&member.into()).expect("a position"),
                    _ => (Bytes::copy_from_slice(&member[..16]), Bytes::copy_from_slice(&member[16..])),
                };
                let elements: Vec<_> = members.into_iter().map(split).collect();
                (!elements.is_empty()).then_some(View::Ordered(elements))
            }
        };
        view.unwrap_or(View::Absent)
    }

    async fn ask<T: FromRedisValue>(&mut self, cmd: &Cmd) -> T {
        cmd.query_async(&mut self.raw).await.unwrap()
    }

    /// The planted defect: one write in the engine alone, of a key that was touched.
    pub fn alter(&mut self) {
        let key = self.touched.iter().find(|key| key.kind == Kind::String).unwrap().clone();
        let now = self.idle_now();
        self.partition.mutate(&self.record.history, now, &key, &Mutation::set("planted")).unwrap();
    }
}

fn log_entries(slice: &archipelago::engine::LogSlice) -> Vec<Entry> {
    let decode = |raw: &archipelago::engine::RawEntry| {
        let mut entry = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap();
        if let Body::Data(delta) = &mut entry.body {
            let kind = delta.key.kind;
            delta.fields.iter_mut().for_each(|(field, cells)| *cells = alike_cells(kind, field, cells));
        }
        entry
    };
    slice.entries.iter().map(decode).collect()
}

/// The same registers have several sparse forms, and Redis leaves the sparse form earlier or later: one for all.
fn alike_cells(kind: Kind, field: &Field, cells: &Cells) -> Cells {
    let alike = |(origin, cell): (&Origin, &Cell)| {
        let mut cell = cell.clone();
        if let Some(assign) = cell.assign.as_mut().filter(|assign| !assign.payload.is_empty()) {
            assign.payload = Payload::from_bytes(&assign.payload).to_bytes();
        }
        (origin.clone(), cell)
    };
    if kind == Kind::HyperLogLog && *field == Field::VALUE { cells.iter().map(alike).collect() } else { cells.clone() }
}

fn alike_told(told: &[Conflict]) -> Vec<Conflict> {
    let alike = |conflict: &Conflict| Conflict {
        cells: alike_cells(conflict.key.kind, &conflict.field, &conflict.cells),
        ..conflict.clone()
    };
    told.iter().map(alike).collect()
}

fn alike(kind: Kind, mut state: KeyState) -> KeyState {
    for (field, stamped) in &mut state.fields {
        stamped.cells = alike_cells(kind, field, &stamped.cells);
    }
    state
}

fn alike_slice(mut slice: Slice) -> Slice {
    for delta in &mut slice.deltas {
        let kind = delta.key.kind;
        delta.fields.iter_mut().for_each(|(field, cells)| *cells = alike_cells(kind, field, cells));
    }
    slice
}

/// Carries up to `limit` entries of one region's log to another, in both worlds.
pub async fn link(pairs: &mut [Pair], from: usize, to: usize, limit: usize, place: &str) {
    let cursor = carry::cursor(&*pairs[from].store, &*pairs[to].store, 0).await;
    let Some(cursor) = cursor else { return resync(pairs, from, to, true, place).await };
    let slice = pairs[from].store.log_after(0, cursor.id, limit).await.unwrap();
    if let Some(batch) = carry::batch(&slice, cursor.number) {
        let reply = pairs[to].join(&batch, place).await;
        assert!(matches!(reply, JoinReply::Applied(_)), "{place}: {reply:?}");
    }
}

/// Cells of some key that one region holds, read there for another: an excerpt, or all of them.
pub async fn read_push(pairs: &mut [Pair], from: usize, rng: &mut Rng, place: &str) -> Option<Push> {
    let pair = &mut pairs[from];
    let keys: Vec<Key> = pair.touched.iter().cloned().collect();
    if keys.is_empty() {
        return None;
    }
    let key = rng.pick(&keys).clone();
    let mut excerpt = Excerpt::whole(key.clone());
    if rng.one_in(2) {
        let fields = pair.partition.key(&key).into_iter().flat_map(|state| state.fields.keys().cloned());
        excerpt.fields = Some(fields.chain([Field::Expiry]).filter(|_| rng.one_in(2)).collect());
    }
    if excerpt.fields.as_ref().is_some_and(Vec::is_empty) {
        excerpt.fields = None;
    }
    let (state, standing) = pair.store.cells_and_stand(&excerpt).await.unwrap();
    let ours = pair.partition.key(&key).map(|state| excerpt.cut(state)).unwrap_or_default();
    assert_eq!(state.fields, ours.fields, "{place}: the excerpt {excerpt:?}");
    let push = standing.push(vec![excerpt.delta(&state)]);
    let ours = pair.partition.standing(&pair.record.history, standing.now).unwrap();
    assert_eq!(push, ours.push(vec![excerpt.delta(&state)]), "{place}: what is pushed");
    Some(push)
}

/// A push arrives, in both worlds.
pub async fn push(pairs: &mut [Pair], to: usize, push: &Push, place: &str) {
    let pair = &mut pairs[to];
    let theirs = pair.store.push_and_tell(0, push).await.unwrap();
    let ours = pair.partition.push_and_tell(&pair.record.history, push).unwrap();
    assert_eq!(theirs.0, ours.0, "{place}: what became of the push");
    assert_eq!(alike_told(&theirs.1), alike_told(&ours.1), "{place}: what met in the push");
    pair.touched.extend(push.deltas.iter().map(|delta| delta.key.clone()));
    for delta in &push.deltas {
        pair.compare_key(&delta.key, place).await;
    }
    let (theirs, now) = (pair.store.standing(0).await.unwrap(), Version::ZERO);
    let ours = pair.partition.standing(&pair.record.history, now).unwrap();
    assert_eq!(theirs.seen, ours.seen, "{place}: seen");
}

/// A whole resync, in both worlds.
pub async fn resync(pairs: &mut [Pair], from: usize, to: usize, remembers: bool, place: &str) {
    let remembered = pairs[to].partition.sync_state().resynced.get(pairs[from].store.region()).copied();
    let remembered = remembered.filter(|_| remembers);
    let plan = pairs[from].store.begin_resync(0, remembered).await.unwrap();
    let now = pairs[from].appended(place).await.expect("a vector entry");
    let (sender, receiver) = (pairs[from].record.history.clone(), pairs[to].record.history.clone());
    let ours = pairs[from].partition.begin_resync(&sender, now, remembered).unwrap();
    assert_eq!(plan, ours, "{place}: the plan");
    pairs[to].store.start_resync(0, &plan).await.unwrap();
    pairs[to].partition.start_resync(&receiver, &plan).unwrap();
    let mut after = Bytes::new();
    loop {
        let slice = pairs[from].store.walk(0, &plan, &after, 3).await.unwrap();
        let ours = pairs[from].partition.walk(&sender, &plan, &after, 3).unwrap();
        assert_eq!(alike_slice(slice.clone()), alike_slice(ours), "{place}: the slice behind {after:?}");
        let joined = pairs[to].store.apply_slice(0, &plan, &slice).await;
        let ours = pairs[to].partition.apply_slice(&receiver, &plan, &slice);
        if matches!(joined, Err(ResyncFailure::StartOver(_))) {
            // The sender knows of collections that the receiver may not have heard of: every key, then.
            assert_eq!(ours, Err(ResyncError::NotUnderWay), "{place}");
            assert!(plan.above > 0, "{place}: a walk of every key tells everything");
            return Box::pin(resync(pairs, from, to, false, place)).await;
        }
        joined.unwrap();
        ours.unwrap();
        pairs[to].touched.extend(slice.deltas.iter().map(|delta| delta.key.clone()));
        let Some(last) = slice.last else { break };
        after = last;
    }
    pairs[to].store.complete_resync(0, &plan).await.unwrap();
    pairs[to].partition.complete_resync(&receiver, &plan).unwrap();
}
