//! The promise of the fence, in virtual time: once the new writer takes writes, nobody sends one to the old writer.
//!
//! Three regions, clients in each, links that are cut and heal at random, an operator who promotes without the old
//! writer's help. The rules are those of [`Fence`]; each part of them is planted as a bug and seen to be caught.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use super::fence::Fence;
use crate::resilience::Moment;

const REGIONS: usize = 3;
/// The region whose writer is cut off and replaced; its replica stands in the next.
const MOVED: usize = 0;
const LEASE: u64 = 100;
const END: u64 = 2_000;

/// A rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The operator does not wait for leases to end.
    NoWait,
    /// A lease counts from the answer.
    CountsFromAnswer,
    /// A copy that has moved on confirms as well.
    AnyEpochConfirms,
    /// The operator is content with one region.
    NoMajority,
    /// Clients follow a record that was not carried out.
    FollowsAttempts,
}

struct Client {
    at: usize,
    fence: Fence,
    followed: u64,
    newest: u64,
    /// Questions under way: when asked, of whom, when read there, when back.
    asking: Vec<(u64, usize, u64, u64, Option<u64>)>,
}

struct World {
    random: fastrand::Rng,
    bug: Bug,
    now: u64,
    copies: [u64; REGIONS],
    /// Until when each link is cut.
    cut: [[u64; REGIONS]; REGIONS],
    clients: Vec<Client>,
    /// When the record reached the others, and when the replica became the writer.
    recorded: Option<u64>,
    promoted: Option<u64>,
    writes: [u64; 2],
}

fn at(time: u64) -> Moment {
    Moment::START.after(Duration::from_millis(time))
}

impl World {
    fn new(seed: u64, bug: Bug) -> Self {
        let client = |n: usize| Client {
            at: n % REGIONS,
            fence: Fence::new(REGIONS, true, Duration::from_millis(LEASE)),
            followed: 0,
            newest: 0,
            asking: Vec::new(),
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            bug,
            now: 0,
            copies: [0; REGIONS],
            cut: [[0; REGIONS]; REGIONS],
            clients: (0..6).map(client).collect(),
            recorded: None,
            promoted: None,
            writes: [0; 2],
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        a != b && self.cut[a.min(b)][a.max(b)] > self.now
    }

    /// Runs to the end; tells a write that was sent to the old writer too late.
    fn run(mut self) -> Result<[u64; 2], String> {
        while self.now < END {
            self.now += 1;
            if self.random.u64(..100) == 0 {
                let (a, b) = (self.random.usize(..2), self.random.usize(1..REGIONS));
                self.cut[a.min(b)][a.max(b)] = self.now + self.random.u64(..400);
            }
            self.operate();
            for n in 0..self.clients.len() {
                self.ask(n);
                self.hear(n);
                self.write(n)?;
            }
        }
        Ok(self.writes)
    }

    /// The operator stands in the last region, and begins at a third of the time.
    fn operate(&mut self) {
        const AT: usize = REGIONS - 1;
        if self.promoted.is_some() || self.now < END / 3 {
            return;
        }
        match self.recorded {
            None => {
                let reachable: Vec<_> =
                    (0..REGIONS).filter(|region| *region != MOVED && !self.is_cut(AT, *region)).collect();
                // Aborted attempts leave their record behind.
                reachable.iter().for_each(|region| self.copies[*region] = 1);
                let needed = if self.bug == Bug::NoMajority { 1 } else { REGIONS / 2 + 1 };
                if reachable.len() >= needed {
                    self.recorded = Some(self.now);
                }
            }
            Some(recorded) => {
                let wait = if self.bug == Bug::NoWait { 0 } else { LEASE };
                if self.now >= recorded + wait && !self.is_cut(AT, 1) {
                    self.promoted = Some(self.now);
                    self.copies[MOVED] = 0; // the old writer keeps its own copy, which nobody asks any more
                }
            }
        }
    }

    fn ask(&mut self, n: usize) {
        if self.random.u64(..10) != 0 {
            return;
        }
        let region = self.random.usize(..REGIONS);
        let there = self.now + self.random.u64(1..40);
        let back = there + self.random.u64(1..40);
        self.clients[n].asking.push((self.now, region, there, back, None));
    }

    fn hear(&mut self, n: usize) {
        let mut client = std::mem::replace(&mut self.clients[n], Client::nobody());
        for question in &mut client.asking {
            if question.2 == self.now && !self.is_cut(client.at, question.1) {
                question.4 = Some(self.copies[question.1]);
            }
        }
        let now = self.now;
        let is_cut = |region| self.is_cut(client.at, region);
        let arrived: Vec<_> =
            client.asking.iter().filter(|question| question.3 == now && !is_cut(question.1)).copied().collect();
        client.asking.retain(|question| question.3 > now);
        for (asked, region, _, _, epoch) in arrived {
            let Some(epoch) = epoch else { continue };
            let asked = if self.bug == Bug::CountsFromAnswer { now } else { asked };
            let confirms = if self.bug == Bug::AnyEpochConfirms { 0 } else { epoch };
            client.fence.hear(region, at(asked), confirms);
            client.newest = client.newest.max(epoch);
        }
        // Whether the replica is a primary can be seen only by who reaches it.
        let sees = self.bug == Bug::FollowsAttempts || self.promoted.is_some() && !self.is_cut(client.at, 1);
        if client.newest > client.followed && sees {
            client.followed = client.newest;
        }
        self.clients[n] = client;
    }

    fn write(&mut self, n: usize) -> Result<(), String> {
        let client = &self.clients[n];
        let may_write = client.fence.lease_until(client.followed).is_some_and(|until| at(self.now) < until);
        if !may_write {
            return Ok(());
        }
        if client.followed > 0 {
            if self.promoted.is_none() {
                return Err(format!("at {}: client {n} writes to a replica", self.now));
            }
            self.writes[1] += 1;
            return Ok(());
        }
        self.writes[0] += 1;
        match self.promoted {
            Some(promoted) if self.now > promoted => {
                Err(format!("at {}: client {n} writes to the old writer, replaced at {promoted}", self.now))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Client {
    fn nobody() -> Self {
        Self { at: 0, fence: Fence::new(0, true, Duration::ZERO), followed: 0, newest: 0, asking: Vec::new() }
    }
}

fn campaign(bug: Bug, seeds: u64) -> Result<[u64; 2], String> {
    let mut writes = [0; 2];
    for seed in 0..seeds {
        let found = World::new(seed, bug).run().map_err(|what| format!("seed {seed}: {what}"))?;
        writes = [writes[0] + found[0], writes[1] + found[1]];
    }
    Ok(writes)
}

#[test]
fn nobody_writes_to_the_old_writer_once_the_new_one_takes_writes() {
    let writes = campaign(Bug::None, 300).unwrap();
    assert!(writes[0] > 100_000 && writes[1] > 100_000, "the test would see nothing: {writes:?}");
}

#[test]
fn every_rule_is_needed() {
    for bug in [Bug::NoWait, Bug::CountsFromAnswer, Bug::AnyEpochConfirms, Bug::NoMajority, Bug::FollowsAttempts] {
        let found = campaign(bug, 300);
        assert!(found.is_err(), "{bug:?} was not caught");
    }
}
