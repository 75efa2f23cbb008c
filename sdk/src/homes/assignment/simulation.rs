//! A user who moves among three regions while writers write, messages are lost, repeated and late, and movers die and
//! wake up. Checked after every step against a user who never moved; and with a mistake planted, caught.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use super::{Action, Assignment, Contents, Effect, Epoch, Gate, GateState, Mover, Reply, Round};

/// A mistake in how the protocol is carried out, which the simulation has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A sealed region still takes writes.
    WritesAtSealed,
    /// The seal answers with what the mover read before it.
    SealReadsEarly,
    /// Copies are stored whatever their epoch.
    CopiesOfAnyEpoch,
    /// An early copy is stored over the final one.
    EarlyOverFinal,
    /// A repeated `prepare` empties again.
    PrepareEmptiesTwice,
    /// The new home opens before the commit.
    OpenBeforeCommit,
    /// The old home opens again before the record is rolled back.
    ReopenBeforeRollBack,
    /// A mover takes over without a new epoch.
    TakeOverWithoutEpoch,
    /// Keys that went away between the rounds stay at the new home.
    GoneKeysStay,
    /// A commit does not look at its epoch.
    CommitAtAnyEpoch,
}

const FLAWS: [Flaw; 10] = [
    Flaw::WritesAtSealed,
    Flaw::SealReadsEarly,
    Flaw::CopiesOfAnyEpoch,
    Flaw::EarlyOverFinal,
    Flaw::PrepareEmptiesTwice,
    Flaw::OpenBeforeCommit,
    Flaw::ReopenBeforeRollBack,
    Flaw::TakeOverWithoutEpoch,
    Flaw::GoneKeysStay,
    Flaw::CommitAtAnyEpoch,
];

const NAMES: [&str; 3] = ["ap", "eu", "us"];

/// A region: its gate, and the user's keys with the round of the copy that each came by.
#[derive(Clone, Debug, Default)]
struct Region {
    gate: Gate,
    keys: BTreeMap<Bytes, (Option<Round>, Option<Bytes>)>,
    /// What the first read of a move answered, for a flaw.
    read_early: Option<Contents>,
}

impl Region {
    fn contents(&self) -> Contents {
        self.keys.iter().filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?))).collect()
    }

    fn apply(&mut self, effect: Effect) {
        if effect == Effect::Clear {
            self.keys.clear();
        }
    }
}

#[derive(Clone, Debug)]
enum Message {
    /// From a mover, by its number, to a region or the owner.
    Ask(usize, Action),
    /// Back.
    Answer(usize, Reply),
    /// From anybody who found the home's gate shut.
    Open(usize, Epoch),
    /// From anybody who found a region that holds keys and is no home.
    Clear(usize, Epoch),
}

struct World {
    random: Rng,
    flaw: Option<Flaw>,
    record: Assignment,
    regions: [Region; 3],
    movers: Vec<Mover>,
    alive: Vec<bool>,
    network: Vec<Message>,
    /// What a user who never moved would have.
    expected: Contents,
    writes: u32,
    moves: u32,
}

fn number_of(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap()
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        Self {
            random: Rng::with_seed(seed),
            flaw,
            record: Assignment::new("eu".parse().unwrap()),
            regions: Default::default(),
            movers: Vec::new(),
            alive: Vec::new(),
            network: Vec::new(),
            expected: Contents::new(),
            writes: 0,
            moves: 0,
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            0..10 => self.write(),
            10..62 => self.deliver(),
            62..82 => self.ask(),
            82..85 => self.lose(),
            85..90 => self.find_shut(),
            90..92 => self.sleep_or_wake(),
            92..98 => self.begin(),
            98 => self.take_over(),
            _ => self.roll_back(),
        }
    }

    /// A writer appends to a key or deletes it, where it believes the user to live.
    fn write(&mut self) {
        let region = &mut self.regions[self.random.usize(..3)];
        let sealed = region.gate.state() == GateState::Sealed && self.flaw == Some(Flaw::WritesAtSealed);
        if region.gate.check_write().is_err() && !sealed {
            return;
        }
        self.writes += 1;
        let key = Bytes::from(vec![b'a' + self.random.u8(..5)]);
        let value = (self.random.u8(..4) > 0).then(|| Bytes::from(format!("{},", self.writes)));
        let append = |old: Option<&Bytes>, new: &Bytes| Bytes::from([old.map_or(&b""[..], |old| old), new].concat());
        let held = region.keys.get(&key).and_then(|(_, held)| held.clone());
        region.keys.insert(key.clone(), (None, value.as_ref().map(|new| append(held.as_ref(), new))));
        match value {
            Some(new) => {
                let value = append(self.expected.get(&key), &new);
                self.expected.insert(key, value);
            }
            None => {
                self.expected.remove(&key);
            }
        }
    }

    /// A mover sends something that it wants done, again if it was sent before.
    fn ask(&mut self) {
        let Some(mover) = self.any_mover() else { return };
        let actions: Vec<_> = self.movers[mover].actions().collect();
        if !actions.is_empty() {
            let action = actions[self.random.usize(..actions.len())].clone();
            self.network.push(Message::Ask(mover, action));
        }
        if self.has(Flaw::OpenBeforeCommit) && self.movers[mover].actions().any(|action| action == Action::Commit) {
            self.network.push(Message::Ask(mover, Action::Open));
        }
    }

    fn any_mover(&mut self) -> Option<usize> {
        let alive: Vec<_> =
            (0..self.movers.len()).filter(|mover| self.alive[*mover] && !self.movers[*mover].is_over()).collect();
        (!alive.is_empty()).then(|| alive[self.random.usize(..alive.len())])
    }

    /// Any message arrives, and perhaps once more later.
    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.random.usize(..self.network.len());
        let message = match self.random.u8(..5) {
            0 => self.network[at].clone(),
            _ => self.network.swap_remove(at),
        };
        self.act(message);
    }

    fn lose(&mut self) {
        if !self.network.is_empty() {
            let at = self.random.usize(..self.network.len());
            self.network.swap_remove(at);
        }
    }

    fn act(&mut self, message: Message) {
        match message {
            Message::Ask(mover, action) => {
                let reply = self.answer(mover, action).unwrap_or(Reply::Refused);
                self.network.push(Message::Answer(mover, reply));
            }
            // A sleeping mover hears it when it wakes up.
            Message::Answer(mover, _) if !self.alive[mover] => self.network.push(message),
            Message::Answer(mover, reply) => self.movers[mover].hear(reply),
            Message::Open(region, epoch) => {
                let _ = self.regions[region].gate.open(epoch);
            }
            Message::Clear(region, epoch) => {
                let region = &mut self.regions[region];
                if let Ok(effect) = region.gate.clear(epoch) {
                    region.apply(effect);
                }
            }
        }
    }

    fn answer(&mut self, mover: usize, action: Action) -> Option<Reply> {
        let flaw = self.flaw;
        let mover = &self.movers[mover];
        let epoch = mover.epoch();
        let (from, to) = (number_of(mover.from().as_str()), number_of(mover.to().as_str()));
        Some(match action {
            Action::Prepare => {
                let region = &mut self.regions[to];
                let effect = region.gate.prepare(epoch).ok()?;
                region.apply(if flaw == Some(Flaw::PrepareEmptiesTwice) { Effect::Clear } else { effect });
                Reply::Prepared
            }
            Action::Read => {
                let contents = self.regions[from].contents();
                self.regions[from].read_early = Some(contents.clone());
                Reply::Read(contents)
            }
            Action::Copy(round, key, value) => {
                let region = &mut self.regions[to];
                let held = region.keys.get(&key).and_then(|(round, _)| *round);
                let epoch = if flaw == Some(Flaw::CopiesOfAnyEpoch) { region.gate.epoch() } else { epoch };
                let stored = region.gate.check_copy(epoch, round, held).ok()?;
                if stored || flaw == Some(Flaw::EarlyOverFinal) {
                    region.keys.insert(key.clone(), (Some(round), value));
                }
                Reply::Copied(round, key)
            }
            Action::Seal => {
                let region = &mut self.regions[from];
                region.gate.seal(epoch).ok()?;
                let mut contents = region.contents();
                if flaw == Some(Flaw::SealReadsEarly) {
                    contents = region.read_early.clone().unwrap_or_default();
                }
                if flaw == Some(Flaw::GoneKeysStay) {
                    for (key, value) in region.read_early.clone().unwrap_or_default() {
                        contents.entry(key).or_insert(value);
                    }
                }
                Reply::Sealed(contents)
            }
            Action::Commit => {
                let seen = if flaw == Some(Flaw::CommitAtAnyEpoch) { self.record.epoch() } else { epoch };
                let committed = self.record.commit(seen).ok()?;
                self.moves += u32::from(committed != self.record);
                self.record = committed;
                Reply::Committed
            }
            Action::Open => {
                self.regions[to].gate.open(epoch).ok()?;
                Reply::Opened
            }
            Action::Clear => {
                let region = &mut self.regions[from];
                let effect = region.gate.clear(epoch).ok()?;
                region.apply(effect);
                Reply::Cleared
            }
        })
    }

    /// Somebody finds the home's gate shut, or keys where nobody lives, reads the record, and sets it right.
    fn find_shut(&mut self) {
        if self.record.moving_to().is_some() {
            return;
        }
        let home = number_of(self.record.home().as_str());
        let epoch = self.record.epoch();
        self.network.push(Message::Open(home, epoch));
        let other = self.random.usize(..3);
        if other != home {
            self.network.push(Message::Clear(other, epoch));
        }
    }

    fn sleep_or_wake(&mut self) {
        if !self.alive.is_empty() {
            let mover = self.random.usize(..self.alive.len());
            self.alive[mover] = !self.alive[mover];
        }
    }

    fn begin(&mut self) {
        let to = NAMES[self.random.usize(..3)].parse().unwrap();
        if let Ok(record) = self.record.begin(self.record.epoch(), to) {
            self.record = record;
            self.employ();
        }
    }

    fn take_over(&mut self) {
        if self.record.moving_to().is_none() {
            return;
        }
        if !self.has(Flaw::TakeOverWithoutEpoch) {
            self.record = self.record.take_over(self.record.epoch()).unwrap();
        }
        self.employ();
    }

    fn roll_back(&mut self) {
        if self.record.moving_to().is_none() {
            return;
        }
        if self.has(Flaw::ReopenBeforeRollBack) && self.random.bool() {
            let next = Epoch(self.record.epoch().0 + 1);
            self.network.push(Message::Open(number_of(self.record.home().as_str()), next));
            return;
        }
        self.record = self.record.roll_back(self.record.epoch()).unwrap();
    }

    fn employ(&mut self) {
        self.movers.push(Mover::new(&self.record).unwrap());
        self.alive.push(true);
    }

    /// At most one gate is open, and behind it is what a user who never moved would have.
    fn check(&self) -> Result<(), String> {
        let open: Vec<_> = (0..3).filter(|region| self.regions[*region].gate.state() == GateState::Open).collect();
        match open[..] {
            [] => Ok(()),
            [region] if self.regions[region].contents() == self.expected => Ok(()),
            [region] => {
                Err(format!("{}: {:?}, not {:?}", NAMES[region], self.regions[region].contents(), self.expected))
            }
            _ => Err(format!("{} homes", open.len())),
        }
    }

    /// Everything stops but one last mover, and whoever finds a gate shut.
    fn settle(&mut self) {
        self.alive.iter_mut().for_each(|alive| *alive = false);
        if self.record.moving_to().is_some() {
            self.take_over();
            let last = self.movers.len() - 1;
            for _ in 0..100 {
                for action in self.movers[last].actions().collect::<Vec<_>>() {
                    self.act(Message::Ask(last, action));
                    let Some(Message::Answer(_, reply)) = self.network.pop() else { panic!("no answer") };
                    self.movers[last].hear(reply);
                }
            }
        }
        let home = number_of(self.record.home().as_str());
        self.act(Message::Open(home, self.record.epoch()));
    }
}

/// Plays one history: how many moves and writes there were, or what went wrong.
fn play(seed: u64, flaw: Option<Flaw>) -> Result<(u32, u32), String> {
    let mut world = World::new(seed, flaw);
    for step in 0..1000 {
        world.step();
        world.check().map_err(|what| format!("step {step}: {what}"))?;
    }
    world.settle();
    world.check().map_err(|what| format!("at the end: {what}"))?;
    let home = number_of(world.record.home().as_str());
    if world.record.moving_to().is_some() || world.regions[home].gate.state() != GateState::Open {
        return Err(format!("unsettled: {:?}, {:?}", world.record, world.regions[home].gate));
    }
    Ok((world.moves, world.writes))
}

#[test]
fn a_user_who_moves_has_what_one_who_stays_has() {
    let (mut moves, mut writes) = (0, 0);
    for seed in 0..1500 {
        let (moved, written) = play(seed, None).unwrap_or_else(|what| panic!("seed {seed}, {what}"));
        moves += moved;
        writes += written;
    }
    // A simulation in which nothing happens finds nothing.
    assert!(moves > 1500 && writes > 30_000, "{moves} moves, {writes} writes");
}

#[test]
fn every_planted_mistake_is_found() {
    for flaw in FLAWS {
        assert!((0..1500).any(|seed| play(seed, Some(flaw)).is_err()), "{flaw:?} is not found");
    }
}
