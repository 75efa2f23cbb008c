//! Regions, links, resyncs and what can happen to them; every step is held against the model.

mod backups;
mod push;
mod readers;

pub use readers::{By, Readers};

use std::collections::{BTreeMap, BTreeSet};

use archipelago_engine::{
    Batch, Body, Books, Cells, Collection, Cursor, Field, Incarnation, JoinReply, Key, Kind, Mutation, Origin, Outcome,
    Partition, RegionId, ResyncError, ResyncPlan, Slice, StockChange, Vector, Version, Wait, codec,
    testing::{Change, Model, OperationId},
};
use bytes::Bytes;

use super::{
    Rng, START, batch_with,
    claims::random_claim,
    stock::Ledger,
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
    /// Whether the history broke without a loss since the last opening.
    is_whole: bool,
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
    walked: Option<(Slice, Vec<Key>, Held)>,
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
    /// Whether regions keep the rights of an incarnation that ended without a loss.
    pub lossless: bool,
    /// Whether everything that is written is stock.
    pub only_stock: bool,
    /// Whether elements of lists and streams are claimed, too.
    pub claims: bool,
    /// Whether regions lose data at all.
    pub loses: bool,
    pub ledger: Ledger,
    /// Who reads feeds; if anybody does, everything that is written is a feed.
    pub readers: Readers,
    pub writes: u64,
    pub joins: u64,
    pub gaps: u64,
    pub resynced: u64,
    pub openings: u64,
    pub collected: u64,
    pub settled: u64,
    pub aside: u64,
    pub pushed: u64,
}

pub fn cells_of(partition: &Partition) -> BTreeMap<(Key, Field), Cells> {
    let keys = partition.keys();
    keys.flat_map(|(k, state)| state.fields.iter().map(|(f, s)| ((k.clone(), f.clone()), s.cells.clone()))).collect()
}

/// Every key that is ever written.
fn all_keys() -> impl Iterator<Item = Key> {
    Kind::ALL.into_iter().flat_map(|kind| ["k", "l"].map(|name| Key::new(kind, name))).chain([Ledger::key()])
}

/// The cells that a reader sees anything of, without what is over in them: that may have been collected in one region
/// and not yet in another.
pub fn live_cells(partition: &Partition) -> BTreeMap<(Key, Field), Cells> {
    let live = |cells: Cells| -> Cells {
        let cells = cells.iter().filter(|(_, cell)| cell.is_live());
        let cells = cells.map(|(origin, cell)| {
            let mut cell = cell.clone();
            cell.assign = cell.live().cloned();
            cell.retracted = Version::ZERO;
            cell.total = cell.total.filter(|_| cell.contribution().is_some());
            cell.base = cell.base.filter(|base| cell.total.is_some_and(|total| base.version >= total.since));
            (origin.clone(), cell)
        });
        cells.collect()
    };
    let cells = cells_of(partition).into_iter().map(|(place, cells)| (place, live(cells)));
    cells.filter(|(_, cells)| !cells.is_empty()).collect()
}

impl World {
    pub fn new(seed: u64, regions: usize) -> Self {
        let site = |i: usize| Site {
            partition: Partition::new(region(i)),
            held: Held::new(),
            history: format!("server {i}"),
            clock: 0,
            is_whole: false,
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
            lossless: false,
            only_stock: false,
            claims: false,
            loses: true,
            ledger: Ledger::default(),
            readers: Readers::default(),
            writes: 0,
            joins: 0,
            gaps: 0,
            resynced: 0,
            openings: 0,
            collected: 0,
            settled: 0,
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
        let record = if self.lossless && site.is_whole {
            site.partition.open_without_loss(&site.history, fresh, floor, now)
        } else {
            site.partition.open(&site.history, fresh, floor, now)
        };
        site.is_whole = false;
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
        // What is settled anywhere claims nothing: what nobody held of it any more is lost.
        let mut claims = site.partition.sync_state().applied;
        claims.retain(|origin, _| !self.is_settled(origin));
        let mut in_vain = self.model.claimed_in_vain(&claims, &site.held);
        if self.torn {
            // Its entry was set aside where a later one, which hides it, was not: a cell that holds the one holds both, and is
            // not shipped again for the sake of a name. What it overwrote has to be hidden by others, then.
            in_vain.retain(|id| !self.model.says_nothing_beside(*id, &site.held));
        }
        assert!(in_vain.is_empty(), "region {i} claims operations {in_vain:?} and does not hold them");
        for key in all_keys().filter(|_| !self.torn) {
            if self.only_stock {
                self.check_rights(i, &key);
            }
            let expected = self.model.view(&key, &site.held, now);
            let state = site.partition.key(&key);
            assert_eq!(site.partition.view(&key, now), expected, "region {i}, {key:?}\n{state:#?}");
        }
    }

    fn check_rights(&self, i: usize, key: &Key) {
        let site = &self.sites[i];
        let Some(state) = site.partition.key(key).filter(|_| key.kind == Kind::Stock) else { return };
        let books = Books::of(state);
        for origin in books.origins() {
            let expected = self.model.stock_rights(key, origin, &site.held).max(0.0);
            assert_eq!(books.rights([origin]) as f64, expected, "region {i}: the rights of {origin}");
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
        let empty = nothing(i, String::new(), 0);
        let mut site = std::mem::replace(&mut self.sites[i], empty);
        assert!(self.write_at(&mut site), "stale after an opening");
        self.sites[i] = site;
        self.check(i);
    }

    fn write_at(&mut self, site: &mut Site) -> bool {
        let is_feed = self.readers.are_reading();
        if self.only_stock || (!is_feed && self.rng.one_in(12)) {
            let peers: Vec<Origin> = self.sites.iter().filter_map(|other| other.partition.origin()).collect();
            let change = self.ledger.next(&mut self.rng, &site.partition, &peers);
            return self.change_stock(site, &change);
        }
        let mut key = random_key(&mut self.rng, self.torn);
        if is_feed {
            key.kind = Kind::Feed;
        }
        let mutation = if self.torn {
            unconditional_mutation(&mut self.rng, key.kind)
        } else if let Some(claim) = self.claims.then(|| random_claim(&mut self.rng, &site.partition, &key)).flatten() {
            claim
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

    /// A change of the stock, counted in the ledger.
    fn change_stock(&mut self, site: &mut Site, change: &StockChange) -> bool {
        let now = self.site_now(site);
        let before = site.partition.clone();
        let Ok(Outcome::Stock(outcome)) =
            site.partition.mutate(&site.history, now, &Ledger::key(), &Mutation::Stock(change.clone()))
        else {
            assert_eq!(site.partition, before, "a stale write changed something");
            return false;
        };
        self.ledger.note(before.origin().unwrap(), change, &outcome);
        let made: Vec<_> = added(&before, &site.partition)
            .into_iter()
            .filter_map(|(field, version, units)| {
                let origin = before.origin().unwrap();
                let change = Change::Add(units);
                self.model.record(&mut site.held, &origin, version, (&Ledger::key(), &field), change)
            })
            .collect();
        self.writes += 1;
        if !made.is_empty() {
            let entry = (site.partition.origin().unwrap(), site.partition.sync_state().number);
            self.entries.insert(entry, made.into_iter().collect());
        }
        true
    }

    /// Lets time pass.
    pub const fn pass(&mut self, micros: u64) {
        self.micros += micros;
    }

    /// Sells whatever any region has a right to.
    pub fn sell_out(&mut self) {
        for i in 0..self.sites.len() {
            self.ensure_open(i);
            let mut site = std::mem::replace(&mut self.sites[i], nothing(i, String::new(), 0));
            let change = self.ledger.take_all();
            assert!(self.change_stock(&mut site, &change), "stale after an opening");
            self.sites[i] = site;
        }
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
        let remembers = self.rng.one_in(2);
        self.begin_with(from, to, remembers)
    }

    fn begin_with(&mut self, from: usize, to: usize, remembers: bool) -> Option<Resync> {
        self.ensure_open(from);
        self.ensure_open(to);
        for _ in 0..3 {
            let now = self.now(from);
            let remembered = self.sites[to].partition.sync_state().resynced.get(&region(from)).copied();
            let remembered = remembered.filter(|_| remembers);
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
                let shipped: Vec<Key> = if resync.plan.above == 0 {
                    // A key in the range that the sender no longer has counts as shipped.
                    let range = |key: &Key| {
                        let entry = key.index_entry();
                        entry > slice.after && slice.last.as_ref().is_none_or(|last| entry <= *last)
                    };
                    all_keys().filter(range).collect()
                } else {
                    slice.deltas.iter().map(|delta| delta.key.clone()).collect()
                };
                let held = shipped.iter().flat_map(|key| self.model.on_key(key, &site.held)).collect();
                resync.walked = Some((slice, shipped, held));
                Ok(None)
            }
            Some((slice, shipped, held)) => {
                let site = &mut self.sites[to];
                site.partition.apply_slice(&site.history, &resync.plan, &slice)?;
                self.note_shipped(to, &resync.plan, &shipped, &held);
                let site = &mut self.sites[to];
                let Some(last) = slice.last.clone() else {
                    site.partition.complete_resync(&site.history, &resync.plan)?;
                    self.resynced += 1;
                    self.check(to);
                    return Ok(Some(()));
                };
                resync.after = last;
                self.check(to);
                Ok(None)
            }
        }
    }

    /// What a region holds once it was shipped these keys, of which the sender held this.
    ///
    /// What a settled incarnation left behind nowhere but in a backup came back too late. Whoever still has it gives it up
    /// when it is told, and nobody else takes it; but what it removed stays removed, for a cell does not say by whom. Where
    /// nothing is ever removed everything is taken.
    fn note_shipped(&mut self, to: usize, plan: &ResyncPlan, shipped: &[Key], held: &Held) {
        let here = self.sites[to].partition.sync_state().applied;
        let is_settled = |vector: &Vector, origin: &Origin| vector.get(origin) == Some(&Version::MAX);
        for key in shipped {
            let there = self.model.on_key(key, held);
            let before = self.model.on_key(key, &self.sites[to].held);
            let given_up = self.model.made_by(|origin| is_settled(&plan.vector, origin), &before);
            let refused = self.model.made_by(|origin| is_settled(&here, origin), &there);
            let mut late: Held = given_up.difference(&there).chain(refused.difference(&before)).copied().collect();
            late.retain(|id| !self.model.only_grows(key, *id));
            let remains: Held = late.iter().filter_map(|id| self.model.remains(key, *id)).collect();
            let site = &mut self.sites[to].held;
            site.extend(there);
            site.retain(|id| !late.contains(id));
            site.extend(remains);
        }
    }

    /// A whole resync, start to end.
    pub fn resync(&mut self, from: usize, to: usize) {
        for attempt in 0..3 {
            let Some(mut resync) = self.begin_with(from, to, attempt == 0) else { continue };
            loop {
                match self.step(&mut resync) {
                    Ok(None) => {}
                    Ok(Some(())) => return self.check(to),
                    // The sender collected what the receiver may have missed: every key, then.
                    Err(ResyncError::NotUnderWay) => break,
                    Err(other) => panic!("{other}"),
                }
            }
        }
        panic!("region {to} cannot be told by region {from}");
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
            1 | 2 if self.loses && !self.backups[i].is_empty() => {
                let index = self.rng.below(self.backups[i].len());
                let old = self.backups[i][index].clone();
                let clock = self.sites[i].clock;
                let site = Site { history, clock, is_whole: false, ..old };
                let lost = std::mem::replace(&mut self.sites[i], site);
                if self.rng.one_in(2) {
                    self.ghosts[i] = Some(lost);
                }
            }
            // FLUSHALL keeps the server's history, an empty restart does not.
            3 if self.loses && self.rng.one_in(3) => {
                let site = &mut self.sites[i];
                let history = if self.rng.one_in(2) { history } else { site.history.clone() };
                *site = nothing(i, history, site.clock);
            }
            // A restart that lost nothing, and a promotion back and forth.
            4 => {
                let site = &mut self.sites[i];
                // Of an old copy that nobody has opened yet, a restart makes no whole one.
                let is_current = site.partition.sync_state().record.is_some_and(|r| r.history == site.history);
                site.is_whole = is_current || site.is_whole;
                site.history = history;
            }
            5 => {
                let jump = *self.rng.pick(&[-3_600_000_000, -1_000_000, -1, 0, 0, 1_000_000, 3_600_000_000]);
                self.sites[i].clock = jump;
                // Calls are remembered by the region's own clock.
                self.ledger.answers_arrived();
            }
            _ => self.ghosts[i] = None,
        }
    }

    /// One random step of a world where everything fails.
    pub fn step_with_faults(&mut self) {
        self.micros += 1 + self.rng.below(20_000) as u64;
        if self.readers.are_reading() && self.rng.one_in(3) {
            return self.read_feed();
        }
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
            30 => self.acknowledge(),
            31 => {
                let i = self.any();
                let limit = 1 + self.rng.below(20);
                self.collect(i, limit);
            }
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

    /// What the collector of a region does.
    fn collect(&mut self, i: usize, limit: usize) -> Collection {
        self.ensure_open(i);
        let (now, members) = (self.now(i), self.members());
        let site = &mut self.sites[i];
        let before = site.partition.sync_state().applied;
        let done = site.partition.collect(&site.history, now, &members, limit).unwrap();
        self.collected += done.cells;
        let settled = self.sites[i].partition.sync_state().applied.into_iter();
        for (origin, _) in settled.filter(|(o, held)| *held == Version::MAX && before.get(o) != Some(held)) {
            self.settled += 1;
            self.check_settled(i, &origin);
        }
        self.check(i);
        done
    }

    /// Nothing of a settled incarnation may stand anywhere but where it was settled; but for what members have back that
    /// went to older data since they were asked, and have given to others.
    fn check_settled(&self, i: usize, origin: &Origin) {
        let known = self.sites[i].partition.sync_state().known;
        let is_as_asked = |p: usize, site: &Site| {
            let record = site.partition.sync_state().record;
            record.is_some_and(|record| {
                record.history == site.history && known.get(&region(p)).is_some_and(|(i, _)| *i == record.incarnation)
            })
        };
        let others = || self.sites.iter().enumerate().filter(|(p, _)| *p != i);
        let back: Held =
            others().filter(|(p, site)| !is_as_asked(*p, site)).flat_map(|(_, site)| &site.held).copied().collect();
        let everything = Vector::from([(origin.clone(), Version::MAX)]);
        for (p, site) in others().filter(|(p, site)| is_as_asked(*p, site)) {
            let mut lacking = self.model.claimed_in_vain(&everything, &self.sites[i].held);
            lacking.retain(|id| site.held.contains(id) && !back.contains(id));
            assert!(lacking.is_empty(), "region {i} settled {origin}, region {p} alone holds {lacking:?}");
        }
    }

    fn is_settled(&self, origin: &Origin) -> bool {
        let held = |site: &Site| site.partition.sync_state().applied.get(origin).copied();
        self.sites.iter().any(|site| held(site) == Some(Version::MAX))
    }

    fn members(&self) -> Vec<RegionId> {
        (0..self.sites.len()).map(region).collect()
    }

    /// A collection that waits asks those it waits for: to say what they hold, or to ship what they hold of a closed
    /// incarnation.
    fn ask(&mut self, i: usize, wait: &Wait) {
        let peers = (0..self.sites.len()).filter(|p| *p != i);
        if wait.needs == Version::MAX {
            for peer in peers {
                self.resync(i, peer);
                self.resync(peer, i);
            }
            return;
        }
        let Some(peer) = peers.clone().find(|p| region(*p) == wait.member) else { return };
        let there = self.sites[peer].partition.sync_state();
        if wait.is_closed && there.applied.get(&wait.origin).is_none_or(|held| *held < wait.needs) {
            self.resync(i, peer);
            self.resync(peer, i);
        } else {
            self.ensure_open(peer);
            let now = self.now(peer);
            let site = &mut self.sites[peer];
            site.partition.republish_vector(&site.history, now).unwrap();
        }
    }

    /// Collects until nothing dead is left anywhere: nothing may wait for ever once all is healed.
    fn collect_all(&mut self) {
        for _ in 0..30 {
            let mut quiet = true;
            for i in 0..self.sites.len() {
                let done = self.collect(i, 1000);
                quiet &= done.waits.is_empty() && self.sites[i].partition.sync_state().mark.is_none();
                for wait in &done.waits {
                    self.ask(i, wait);
                }
            }
            let dead = |site: &Site| cells_of(&site.partition).values().any(Cells::has_dead);
            for (from, to) in self.pairs() {
                while self.link(from, to, false) {}
            }
            if quiet && !self.sites.iter().any(dead) {
                return;
            }
        }
        for i in 0..self.sites.len() {
            let state = self.sites[i].partition.sync_state();
            println!("region {i}: {:#?}\n{state:#?}", state.waits(&region(i), &self.members()));
        }
        panic!("dead cells stay for ever");
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
        self.check_readers();
        self.collect_all();
        self.compare();
        self.check_readers();
    }

    fn compare(&self) {
        let now = Version::from_micros(self.micros);
        // What any region still held. A region may lack an operation by name whose effect came by another: a retraction
        // of what was hidden there already changes no cell, and is not shipped.
        let everything: Held = self.sites.iter().flat_map(|site| site.held.iter().copied()).collect();
        let first = &self.sites[0];
        for (i, site) in self.sites.iter().enumerate() {
            assert_eq!(live_cells(&site.partition), live_cells(&first.partition), "region {i} has other cells");
            assert_eq!(site.partition.sync_state().conflicts, 0, "one version came with two contents at region {i}");
            assert!(site.partition.sync_state().aside.is_empty(), "region {i} keeps entries aside");
            for key in all_keys().filter(|_| !self.torn) {
                let expected = self.model.view(&key, &everything, now);
                assert_eq!(site.partition.view(&key, now), expected, "region {i} shows another {key:?}");
            }
        }
    }
}

/// An empty server.
fn nothing(i: usize, history: String, clock: i64) -> Site {
    Site { partition: Partition::new(region(i)), held: Held::new(), history, clock, is_whole: false }
}

/// What a write added to the totals of its own origin, in the order of its versions.
fn added(before: &Partition, after: &Partition) -> Vec<(Field, Version, f64)> {
    let own = after.origin().unwrap();
    let total = |partition: &Partition, field: &Field| {
        let state = partition.key(&Ledger::key())?;
        state.fields.get(field)?.cells.get(&own)?.total
    };
    let fields = after.key(&Ledger::key()).into_iter().flat_map(|state| state.fields.keys());
    let grown = fields.filter_map(|field| {
        let (was, is) = (total(before, field), total(after, field)?);
        (was != Some(is)).then(|| (field.clone(), is.version, is.number - was.map_or(0.0, |t| t.number)))
    });
    let mut grown: Vec<_> = grown.collect();
    grown.sort_by_key(|(_, version, _)| *version);
    grown
}

fn region(i: usize) -> RegionId {
    ["a", "b", "c", "d", "e"][i].parse().unwrap()
}
