//! Histories that broke earlier drafts of the design, each under its number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "counterexamples/cell.rs"]
mod cell;
#[path = "counterexamples/entries.rs"]
mod entries;
#[path = "counterexamples/expiry.rs"]
mod expiry;
#[path = "counterexamples/hyperloglog.rs"]
mod hyperloglog;
#[path = "counterexamples/large_keys.rs"]
mod large_keys;
#[path = "counterexamples/lists.rs"]
mod lists;
#[path = "counterexamples/log.rs"]
mod log;
#[path = "counterexamples/lost_state.rs"]
mod lost_state;
#[path = "counterexamples/pushes.rs"]
mod pushes;
#[path = "counterexamples/rules.rs"]
mod rules;
#[path = "counterexamples/settled.rs"]
mod settled;
mod support;
#[path = "counterexamples/tombstones.rs"]
mod tombstones;

use archipelago_engine::{
    Amount, Assignment, Cells, Cursor, Expiry, Field, Incarnation, JoinReply, Key, Kind, Mutation, MutationError,
    Origin, Outcome, Partition, Presence, Refusal, RegionId, ResyncError, Retention, Stale, Version, View, number,
};
use bytes::Bytes;
use support::{batch, batch_with, cells_of, string, v};

const MAX_SKEW: u64 = 60_000_000;

/// A server of a region. A clone is a backup or a replica; another history is another server, or one started again.
#[derive(Clone)]
struct Server {
    partition: Partition,
    history: &'static str,
}

impl Server {
    fn new(region: &str) -> Self {
        let mut server = Self { partition: Partition::new(region.parse().unwrap()), history: "first" };
        server.open(1, v(0));
        server
    }

    /// This data under another history, before anybody opened it.
    fn under(&self, history: &'static str) -> Self {
        Self { partition: self.partition.clone(), history }
    }

    fn open(&mut self, incarnation: u64, now: Version) -> Origin {
        self.partition.open(self.history, Incarnation::new(incarnation), 0, now);
        self.partition.origin().unwrap()
    }

    fn try_do(&mut self, at: Version, key: &Key, mutation: &Mutation) -> Result<Outcome, Refusal> {
        self.partition.mutate(self.history, at, key, mutation)
    }

    fn act(&mut self, at: u64, key: &Key, mutation: &Mutation) -> Outcome {
        self.try_do(v(at), key, mutation).unwrap()
    }

    fn set(&mut self, at: u64, key: &Key, value: &'static str) {
        self.act(at, key, &Mutation::set(value));
    }

    fn incr(&mut self, at: u64, key: &Key, amount: i64) -> Outcome {
        self.act(at, key, &add("", Amount::Integer(amount)))
    }

    fn text(&self, key: &Key) -> Option<String> {
        match self.partition.view(key, v(0)) {
            View::String(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            _ => None,
        }
    }

    fn cursor(&self, of: &Self) -> Option<Cursor> {
        self.partition.sync_state().cursors.get(of.partition.region()).copied()
    }

    /// Reads the other's log and joins it, as a driver does; a gap is answered by a resync.
    fn pull(&mut self, from: &mut Self) {
        let Some(at) = self.cursor(from) else { return self.resync(from) };
        let slice = from.partition.log_after(from.history, at.id, 1000).unwrap();
        match batch(&slice, at) {
            Some(batch) if batch.from == batch.to => {}
            Some(batch) => {
                let reply = self.partition.join(self.history, v(0), MAX_SKEW, &batch).unwrap();
                assert!(matches!(reply, JoinReply::Applied(_)), "{reply:?}");
            }
            None => self.resync(from),
        }
    }

    /// One step of the collection in a world of three members; answers how many cells went.
    fn collect(&mut self, at: u64) -> u64 {
        let members = ["a", "b", "c"].map(|name| name.parse().unwrap());
        self.partition.collect(self.history, v(at), &members, 1000).unwrap().cells
    }

    fn cells(&self, key: &Key) -> usize {
        self.partition.key(key).map_or(0, |state| state.fields.values().map(|stamped| stamped.cells.len()).sum())
    }

    fn resync(&mut self, from: &mut Self) {
        self.try_resync(from, true).or_else(|_| self.try_resync(from, false)).unwrap();
    }

    fn try_resync(&mut self, from: &mut Self, remembers: bool) -> Result<(), ResyncError> {
        let remembered = self.partition.sync_state().resynced.get(from.partition.region()).copied();
        let remembered = remembered.filter(|_| remembers);
        let plan = from.partition.begin_resync(from.history, v(0), remembered).unwrap();
        self.partition.start_resync(self.history, &plan)?;
        let mut after = Bytes::new();
        loop {
            let slice = from.partition.walk(from.history, &plan, &after, 1).unwrap();
            self.partition.apply_slice(self.history, &plan, &slice)?;
            let Some(last) = slice.last.clone() else { break };
            after = last;
        }
        self.partition.complete_resync(self.history, &plan)
    }
}

fn add(member: &str, amount: Amount) -> Mutation {
    Mutation::Add { member: Bytes::from(member.to_owned()), amount }
}

fn assign(entries: &[(&'static str, &'static str)]) -> Mutation {
    Mutation::assign(entries.iter().map(|(member, payload)| (Bytes::from(*member), Bytes::from(*payload))))
}

fn observe(element: &'static str) -> Mutation {
    Mutation::Observe { elements: vec![Bytes::from(element)], union: None }
}

fn remove(member: &'static str) -> Mutation {
    Mutation::Remove { members: vec![Bytes::from(member)] }
}

const DEL: Mutation = Mutation::Clear { previous: false };

/// Everybody hears everything, by every way there is.
fn exchange(servers: &mut [&mut Server]) {
    for by_resync in [false, true, false] {
        for to in 0..servers.len() {
            for from in 0..servers.len() {
                if from == to {
                    continue;
                }
                let mut sender = servers[from].clone();
                if by_resync {
                    servers[to].resync(&mut sender)
                } else {
                    servers[to].pull(&mut sender)
                }
                *servers[from] = sender;
            }
        }
    }
    for pair in servers.windows(2) {
        assert_eq!(cells_of(&pair[0].partition), cells_of(&pair[1].partition), "regions that exchanged all differ");
    }
}

fn two() -> (Server, Server) {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    exchange(&mut [&mut a, &mut b]);
    (a, b)
}

/// Everybody hears and says everything, and what is dead goes everywhere.
fn collect_all(servers: &mut [&mut Server], at: u64) {
    for _ in 0..8 {
        for server in &mut *servers {
            server.collect(at);
            server.partition.republish_vector(server.history, v(at)).unwrap();
        }
        for to in 0..servers.len() {
            for from in 0..servers.len() {
                if from != to {
                    let mut sender = servers[from].clone();
                    servers[to].pull(&mut sender);
                    *servers[from] = sender;
                }
            }
        }
    }
}

fn three() -> (Server, Server, Server) {
    let (mut a, mut b, mut c) = (Server::new("a"), Server::new("b"), Server::new("c"));
    exchange(&mut [&mut a, &mut b, &mut c]);
    (a, b, c)
}
