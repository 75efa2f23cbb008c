//! Regions, links, resyncs and what can happen to them; every step is held against the model.

mod push;

use std::collections::{BTreeMap, BTreeSet};

use archipelago_engine::{
    Batch, Body, Cells, Cursor, Field, Incarnation, JoinReply, Key, Origin, Partition, RegionId, ResyncError,
    ResyncPlan, Slice, Version, codec,
    testing::{Model, OperationId},
};
use bytes::Bytes;

use super::{
    Rng, START, batch_with,
    write::{random_key, random_mutation, unconditional_mutation, write_both},
};

type Held = BTreeSet<OperationId>;
const MAX_SKEW: u64 = 60_000_000;

/// One server of a region with its data, and the operations it holds by the model's book.
#[derive(Clone)]
struct Site {
    partition: Partition,
    held: Held,
    history: String,
    clock: i64,
}

/// A batch on its way: a driver may be paused, or two may carry the same.
struct Flight {
    to: usize,
    batch: Batch,
    operations: BTreeMap<u64, Held>,
}

struct Resync {
    from: usize,
    to: usize,
    plan: ResyncPlan,
    after: Bytes,
    walked: Option<(Slice, Held)>,
}

pub struct World {
    pub rng: Rng,
    sites: Vec<Site>,
    /// The old server of a region whose clients have not noticed yet that another one was promoted.
    ghosts: Vec<Option<Site>>,
    backups: Vec<Vec<Site>>,
    cut: Vec<Vec<bool>>,
    flights: Vec<Flight>,
    resyncs: Vec<Resync>,
    late: Vec<push::Late>,
    model: Model,
    entries: BTreeMap<(Origin, u64), Held>,
    micros: u64,
    names: u64,
    /// Whether drivers meet entries that they cannot decode. A region without one entry of a running sum shows what no
    /// set of operations explains, so views are not compared with the model then: cells and claims still are.
    pub torn: bool,
    pub writes: u64,
    pub joins: u64,
    pub gaps: u64,
    pub resynced: u64,
    pub openings: u64,
    pub aside: u64,
    pub pushed: u64,
}

pub fn cells_of(partition: &Partition) -> BTreeMap<(Key, Field), Cells> {
    let keys = partition.keys();
    keys.flat_map(|(k, state)| state.fields.iter().map(|(f, s)| ((k.clone(), f.clone()), s.cells.clone()))).collect()
}

impl World {
    pub fn new(seed: u64, regions: usize) -> Self {
        let site = |i: usize| Site {
            partition: Partition::new(region(i)),
            held: Held::new(),
            history: format!("server {i}"),
            clock: 0,
        };
        let mut world = Self {
            rng: Rng::new(seed),
            sites: (0..regions).map(site).collect(),
            ghosts: vec![None; regions],
            backups: vec![Vec::new(); regions],
            cut: vec![vec![false; regions]; regions],
            flights: Vec::new(),
            resyncs: Vec::new(),
            late: Vec::new(),
            model: Model::default(),
            entries: BTreeMap::new(),
            micros: START,
            names: 0,
            torn: false,
            writes: 0,
            joins: 0,
            gaps: 0,
            resynced: 0,
            openings: 0,
            aside: 0,
            pushed: 0,
        };
        for i in 0..regions {
            world.open(i, 0);
        }
        world
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn site_now(&self, site: &Site) -> Version {
        Version::from_micros(self.micros.saturating_add_signed(site.clock))
    }

    fn now(&self, i: usize) -> Version {
        self.site_now(&self.sites[i])
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.sites.len())
    }

    fn two(&mut self) -> (usize, usize) {
        let from = self.any();
        let step = 1 + self.rng.below(self.sites.len() - 1);
        (from, (from + step) % self.sites.len())
    }

    fn open(&mut self, i: usize, floor: u64) {
        let fresh = Incarnation::new(self.name().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let now = self.now(i);
        let site = &mut self.sites[i];
        let before = site.partition.sync_state().record;
        let record = site.partition.open(&site.history, fresh, floor, now);
        self.openings += u64::from(before.as_ref() != Some(&record));
    }

    /// Opens a new incarnation if the history broke, as the first command that hears STALE does.
    fn ensure_open(&mut self, i: usize) {
        // Peers may be out of reach at that moment: then a later resync tells the number.
        let known = (0..self.sites.len())
            .filter_map(|p| self.sites[p].partition.sync_state().known.get(&region(i)).map(|(_, opening)| *opening));
        let floor = known.max().unwrap_or(0);
        let floor = if self.rng.one_in(2) { floor } else { 0 };
        let site = &self.sites[i];
        let is_current = site.partition.sync_state().record.is_some_and(|r| r.history == site.history);
        if !is_current {
            self.open(i, floor);
        }
    }

    fn check(&self, i: usize) {
        let (site, now) = (&self.sites[i], self.now(i));
        let in_vain = self.model.claimed_in_vain(&site.partition.sync_state().applied, &site.held);
        assert!(in_vain.is_empty(), "region {i} claims operations {in_vain:?} and does not hold them");
        for (key, _) in site.partition.keys().filter(|_| !self.torn) {
            let expected = self.model.view(key, &site.held, now);
            assert_eq!(site.partition.view(key, now), expected, "region {i}, {key:?}\n{:#?}", site.partition.key(key));
        }
    }

    /// A write at a region, or at its ghost.
    pub fn write(&mut self, i: usize) {
        if self.ghosts[i].is_some() && self.rng.one_in(2) {
            let mut ghost = self.ghosts[i].take().unwrap();
            self.write_at(&mut ghost);
            self.ghosts[i] = Some(ghost);
            return;
        }
        self.ensure_open(i);
        let empty = Site { partition: Partition::new(region(i)), held: Held::new(), history: String::new(), clock: 0 };
        let mut site = std::mem::replace(&mut self.sites[i], empty);
        assert!(self.write_at(&mut site), "stale after an opening");
        self.sites[i] = site;
        self.check(i);
    }

    fn write_at(&mut self, site: &mut Site) -> bool {
        let key = random_key(&mut self.rng, self.torn);
        let mutation = if self.torn {
            unconditional_mutation(&mut self.rng, key.kind)
        } else {
            let seen = self.model.assigned(&key, &Field::VALUE, &site.held);
            random_mutation(&mut self.rng, key.kind, seen)
        };
        let before = site.partition.sync_state().number;
        let now = self.site_now(site);
        let done = write_both(
            &mut self.model,
            &mut site.held,
            &mut site.partition,
            (&site.history, now),
            (&key, &mutation),
            !self.torn,
        );
        let Some(made) = done else { return false };
        self.writes += 1;
        if !made.is_empty() && site.partition.sync_state().number > before {
            let entry = (site.partition.origin().unwrap(), site.partition.sync_state().number);
            self.entries.insert(entry, made.into_iter().collect());
        }
        true
    }

    /// One step of the driver from one region to another. Answers whether anything moved.
    pub fn link(&mut self, from: usize, to: usize, lossy: bool) -> bool {
        self.ensure_open(to);
        let ghost = lossy && self.ghosts[from].is_some() && self.rng.one_in(2);
        if !ghost {
            self.ensure_open(from);
        }
        let source = if ghost { self.ghosts[from].as_ref().unwrap() } else { &self.sites[from] };
        let at = self.sites[to].partition.sync_state().cursors.get(&region(from)).copied();
        let Some(at) = at else {
            return self.gap(from, to);
        };
        let limit = if lossy { 1 + self.rng.below(6) } else { 100 };
        let Ok(slice) = source.partition.log_after(&source.history, at.id, limit) else {
            return false; // only a ghost whose own history broke before it became one
        };
        let torn = if self.torn && lossy && self.rng.one_in(2) { at.number + 1 + self.rng.below(4) as u64 } else { 0 };
        let Some(batch) = batch_with(&slice, at, |number| number != torn) else {
            return !ghost && self.gap(from, to);
        };
        if batch.from == batch.to {
            return false;
        }
        let entry = |n: u64| self.entries.get(&(batch.origin.clone(), n)).map(|made| (n, made.clone()));
        let operations = (batch.from + 1..=batch.to).filter(|n| *n != torn).filter_map(entry).collect();
        let flight = Flight { to, batch, operations };
        if lossy && self.rng.one_in(4) {
            self.flights.push(flight); // the driver is paused
            return true;
        }
        self.land(&flight);
        if lossy && self.rng.one_in(6) {
            self.flights.push(flight); // another driver carries it, too
        }
        true
    }

    fn gap(&mut self, from: usize, to: usize) -> bool {
        self.gaps += 1;
        self.resync(from, to);
        true
    }

    fn land(&mut self, flight: &Flight) {
        self.ensure_open(flight.to);
        let now = self.now(flight.to);
        let site = &mut self.sites[flight.to];
        let reply = site.partition.join(&site.history, now, MAX_SKEW, &flight.batch).unwrap();
        if let JoinReply::Applied(_) = reply {
            self.joins += 1;
            self.aside += flight.batch.aside.len() as u64;
            site.held.extend(flight.operations.values().flatten());
        }
        self.check(flight.to);
    }

    fn deliver(&mut self) {
        if !self.flights.is_empty() {
            let index = self.rng.below(self.flights.len());
            let flight = if self.rng.one_in(3) {
                let copy = &self.flights[index];
                Flight { to: copy.to, batch: copy.batch.clone(), operations: copy.operations.clone() }
            } else {
                self.flights.swap_remove(index)
            };
            self.land(&flight);
        }
    }

    fn acknowledge(&mut self) {
        let (from, to) = self.two();
        let cursor = self.sites[to].partition.sync_state().cursors.get(&region(from)).copied();
        if let Some(cursor) = cursor {
            self.trim(from, to, cursor);
        }
    }

    fn trim(&mut self, from: usize, to: usize, cursor: Cursor) {
        self.ensure_open(from);
        let members: Vec<RegionId> = (0..self.sites.len()).map(region).collect();
        let cap = *self.rng.pick(&[2, 10, 1000]);
        let site = &mut self.sites[from];
        site.partition.acknowledge(&site.history, &region(to), cursor, &members, cap).unwrap();
    }

    fn begin(&mut self, from: usize, to: usize) -> Option<Resync> {
        self.ensure_open(from);
        self.ensure_open(to);
        for _ in 0..3 {
            let now = self.now(from);
            let remembered = self.sites[to].partition.sync_state().resynced.get(&region(from)).copied();
            let sender = &mut self.sites[from];
            let plan = sender.partition.begin_resync(&sender.history, now, remembered).unwrap();
            let receiver = &mut self.sites[to];
            match receiver.partition.start_resync(&receiver.history, &plan) {
                Ok(()) => return Some(Resync { from, to, plan, after: Bytes::new(), walked: None }),
                Err(ResyncError::Superseded(opening)) => self.open(from, opening),
                Err(other) => panic!("{other}"),
            }
        }
        panic!("region {from} cannot open above what region {to} knows");
    }

    /// Walks or applies one slice; `Ok(None)` while there is more to do. Another history at either side ends it.
    fn step(&mut self, resync: &mut Resync) -> Result<Option<()>, ResyncError> {
        let (from, to) = (resync.from, resync.to);
        match resync.walked.take() {
            None => {
                let limit = 1 + self.rng.below(4);
                let site = &self.sites[from];
                let slice = site.partition.walk(&site.history, &resync.plan, &resync.after, limit)?;
                let keys = slice.deltas.iter().map(|delta| &delta.key);
                let held = keys.flat_map(|key| self.model.on_key(key, &site.held)).collect();
                resync.walked = Some((slice, held));
                Ok(None)
            }
            Some((slice, held)) => {
                let site = &mut self.sites[to];
                let Some(last) = slice.last.clone() else {
                    site.partition.complete_resync(&site.history, &resync.plan)?;
                    self.resynced += 1;
                    return Ok(Some(()));
                };
                site.partition.apply_slice(&site.history, &resync.plan, &slice)?;
                site.held.extend(held);
                resync.after = last;
                self.check(to);
                Ok(None)
            }
        }
    }

    /// A whole resync, start to end.
    pub fn resync(&mut self, from: usize, to: usize) {
        if let Some(mut resync) = self.begin(from, to) {
            while self.step(&mut resync).unwrap().is_none() {}
            self.check(to);
        }
    }

    fn step_some_resync(&mut self) {
        if self.resyncs.len() < 2 && self.rng.one_in(3) {
            let (from, to) = self.two();
            if !self.cut[from][to] {
                let begun = self.begin(from, to);
                self.resyncs.extend(begun);
            }
        } else if !self.resyncs.is_empty() {
            let index = self.rng.below(self.resyncs.len());
            let mut resync = self.resyncs.swap_remove(index);
            self.ensure_open(resync.to);
            if self.step(&mut resync).is_ok_and(|done| done.is_none()) {
                self.resyncs.push(resync);
            }
        }
    }

    /// Everything that can go wrong with a region's data.
    fn disaster(&mut self) {
        let i = self.any();
        let history = format!("server {}", self.name());
        match self.rng.below(6) {
            0 => {
                let site = self.sites[i].clone();
                self.backups[i].push(site);
            }
            // A lost tail, a restored backup or a lagging replica that was promoted: an older clone, a new history.
            1 | 2 if !self.backups[i].is_empty() => {
                let index = self.rng.below(self.backups[i].len());
                let old = self.backups[i][index].clone();
                let clock = self.sites[i].clock;
                let lost = std::mem::replace(&mut self.sites[i], Site { history, clock, ..old });
                if self.rng.one_in(2) {
                    self.ghosts[i] = Some(lost);
                }
            }
            // FLUSHALL keeps the server's history, an empty restart does not.
            3 if self.rng.one_in(3) => {
                let site = &mut self.sites[i];
                let history = if self.rng.one_in(2) { history } else { site.history.clone() };
                *site = Site { partition: Partition::new(region(i)), held: Held::new(), history, clock: site.clock };
            }
            // A restart that lost nothing, and a promotion back and forth.
            4 => self.sites[i].history = history,
            5 => {
                let jump = *self.rng.pick(&[-3_600_000_000, -1_000_000, -1, 0, 0, 1_000_000, 3_600_000_000]);
                self.sites[i].clock = jump;
            }
            _ => self.ghosts[i] = None,
        }
    }

    /// One random step of a world where everything fails.
    pub fn step_with_faults(&mut self) {
        self.micros += 1 + self.rng.below(20_000) as u64;
        match self.rng.below(46) {
            0..=14 => {
                let i = self.any();
                self.write(i);
            }
            15..=26 => {
                let (from, to) = self.two();
                if !self.cut[from][to] {
                    self.link(from, to, true);
                }
            }
            27..=29 => self.deliver(),
            30 | 31 => self.acknowledge(),
            32..=35 => self.step_some_resync(),
            36 => {
                let (from, to) = self.two();
                self.cut[from][to] = !self.cut[from][to];
            }
            37 => {
                let i = self.any();
                self.publish(i);
                if self.torn && self.rng.one_in(2) {
                    self.recover(i);
                }
            }
            38 | 39 => self.disaster(),
            40..=43 => self.push(),
            _ => self.deliver_push(),
        }
    }

    /// One random step of a world where links are slow, and nothing worse.
    pub fn step_without_faults(&mut self) {
        self.micros += 1 + self.rng.below(20_000) as u64;
        match self.rng.below(12) {
            0..=5 => {
                let i = self.any();
                self.write(i);
            }
            6..=8 => {
                let (from, to) = self.two();
                self.link(from, to, true);
            }
            9 => self.push(),
            10 => self.deliver_push(),
            _ => self.deliver(),
        }
    }

    /// What an upgraded build does: entries set aside are decoded at last.
    fn recover(&mut self, i: usize) {
        self.ensure_open(i);
        let site = &mut self.sites[i];
        for origin in site.partition.sync_state().aside.into_keys() {
            for entry in site.partition.aside(&origin) {
                let decoded = codec::decode_entry(&origin, entry.id, &entry.bytes).unwrap();
                let delta = match &decoded.body {
                    Body::Data(delta) => Some(delta),
                    Body::Vector { .. } => None,
                };
                site.partition.recover(&site.history, &origin, entry.id, delta).unwrap();
                let made = self.entries.get(&(origin.clone(), decoded.number));
                site.held.extend(made.into_iter().flatten());
            }
        }
    }

    fn publish(&mut self, i: usize) {
        self.ensure_open(i);
        let now = self.now(i);
        let site = &mut self.sites[i];
        site.partition.publish_vector(&site.history, now).unwrap();
    }

    /// Lets every link run until nothing moves, and compares all regions: where nothing was lost, that is enough.
    pub fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.deliver();
        }
        for (from, to) in self.pairs() {
            while self.link(from, to, false) {}
        }
        self.compare();
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.sites.len();
        (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b).collect()
    }

    /// Ends every fault, lets everybody exchange everything, and compares all regions.
    pub fn heal(&mut self) {
        self.ghosts.fill(None);
        self.resyncs.clear();
        while !self.flights.is_empty() {
            self.deliver();
        }
        for i in 0..self.sites.len() {
            self.recover(i);
        }
        let pairs = self.pairs();
        for _ in 0..2 {
            for (from, to) in &pairs {
                while self.link(*from, *to, false) {}
            }
            // What heartbeats start when they show a peer ahead on an origin whose own link is down.
            for (from, to) in &pairs {
                self.resync(*from, *to);
            }
        }
        self.settle();
    }

    fn compare(&self) {
        let now = Version::from_micros(self.micros);
        // What any region still held. A region may lack an operation by name whose effect came by another: a retraction
        // of what was hidden there already changes no cell, and is not shipped.
        let everything: Held = self.sites.iter().flat_map(|site| site.held.iter().copied()).collect();
        let first = &self.sites[0];
        for (i, site) in self.sites.iter().enumerate() {
            assert_eq!(cells_of(&site.partition), cells_of(&first.partition), "region {i} has other cells");
            assert_eq!(site.partition.sync_state().conflicts, 0, "one version came with two contents at region {i}");
            assert!(site.partition.sync_state().aside.is_empty(), "region {i} keeps entries aside");
            for (key, _) in site.partition.keys().filter(|_| !self.torn) {
                let expected = self.model.view(key, &everything, now);
                assert_eq!(site.partition.view(key, now), expected, "region {i} shows another {key:?}");
            }
        }
    }
}

fn region(i: usize) -> RegionId {
    ["a", "b", "c", "d", "e"][i].parse().unwrap()
}
