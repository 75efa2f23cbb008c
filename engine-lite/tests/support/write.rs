//! Random writes, done both in a partition and in the model, with every answer compared.

use std::collections::BTreeSet;

use archipelago_engine::{
    Amount, Assignment, ClearStep, Deadline, Expiry, Field, Key, Kind, Mutation, MutationError, Native, Order, Origin,
    Outcome, Partition, Presence, Refusal, Registers, Retention, Version, number,
    testing::{Change, Model, OperationId},
};
use bytes::Bytes;

use super::{Rng, entries, lists};

pub(super) fn b(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// `unconditional`: of a type whose writes take the same versions whatever is visible.
pub fn random_key(rng: &mut Rng, unconditional: bool) -> Key {
    // The four that Redis has, most of the time: the rest differ in their rule alone.
    let all = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Feed).collect::<Vec<_>>();
    let kinds = if rng.one_in(3) { &all[4..] } else { &all[..4] };
    let mut kind = *rng.pick(kinds);
    // The ledger writes stock.
    if kind == Kind::Stock || (unconditional && kind.conditions() != (Presence::Any, Order::Any)) {
        kind = Kind::String;
    }
    let name = *rng.pick(&["k", "l"]);
    // To the cells a feed is a stream: one of the two names is enough, and seeds keep their histories.
    if kind == Kind::Stream && name == "l" {
        kind = Kind::Feed;
    }
    Key::new(kind, b(name))
}

fn is_string(kind: Kind) -> bool {
    kind.native() == Native::String
}

fn random_member(rng: &mut Rng, kind: Kind) -> Bytes {
    if is_string(kind) { Bytes::new() } else { b(rng.pick(&["a", "b", "c"]).to_string()) }
}

fn random_payload(rng: &mut Rng, kind: Kind) -> Bytes {
    match kind {
        Kind::Set => Bytes::new(),
        Kind::EnableWins | Kind::DisableWins => b(rng.below(2).to_string()),
        kind if kind.is_scored() => b((rng.below(9) as i64 - 4).to_string()),
        _ if rng.one_in(6) => b("word"),
        _ => b(rng.below(50).to_string()),
    }
}

fn random_expiry(rng: &mut Rng) -> Expiry {
    match rng.below(8) {
        0 => Expiry::Never,
        1 => Expiry::In(-5),
        _ => Expiry::In(1 + rng.below(400) as i64),
    }
}

fn random_observation(rng: &mut Rng) -> Mutation {
    let elements = |rng: &mut Rng| (0..rng.below(3)).map(|_| b(rng.below(9).to_string())).collect::<Vec<_>>();
    let union = rng.one_in(3).then(|| {
        let mut registers = Registers::default();
        for element in elements(rng) {
            registers.observe(&element);
        }
        registers
    });
    Mutation::Observe { elements: elements(rng), union }
}

/// `seen`: what is assigned there, at times only in part.
pub fn random_mutation(rng: &mut Rng, kind: Kind, mut seen: Vec<(Origin, Version)>) -> Mutation {
    match rng.below(16) {
        0..=9 if kind == Kind::HyperLogLog => random_observation(rng),
        0..=1 if kind == Kind::Siblings => {
            if rng.one_in(3) {
                seen.pop();
            }
            Mutation::Resolve { payload: random_payload(rng, kind), seen }
        }
        0..=11 if kind == Kind::List => Mutation::List(lists::random_edit(rng)),
        0..=11 if kind.has_entries() => entries::random_write(rng),
        0..=5 => {
            let count = if is_string(kind) { 1 } else { 1 + rng.below(3) };
            let entries = (0..count).map(|_| (random_member(rng, kind), random_payload(rng, kind))).collect();
            let presence =
                *rng.pick(&[Presence::Any, Presence::Any, Presence::Any, Presence::Absent, Presence::Present]);
            let order = if kind == Kind::SortedSet {
                *rng.pick(&[Order::Any, Order::Any, Order::Greater, Order::Less])
            } else {
                Order::Any
            };
            let retention = match (is_string(kind), rng.below(4)) {
                (true, 0 | 1) => Retention::Clear,
                (true, 2) => Retention::Set(random_expiry(rng)),
                _ => Retention::Keep,
            };
            Mutation::Assign(Assignment {
                entries,
                presence,
                order,
                retention,
                previous: is_string(kind) && rng.one_in(3),
            })
        }
        6..=9 if kind.adds() => {
            let amount = rng.below(11) as i64 - 3;
            let amount = if rng.one_in(4) { Amount::Float(amount as f64 / 2.0) } else { Amount::Integer(amount) };
            Mutation::Add { member: random_member(rng, kind), amount }
        }
        6..=11 if !is_string(kind) => {
            Mutation::Remove { members: (0..=rng.below(2)).map(|_| random_member(rng, kind)).collect() }
        }
        6..=12 => Mutation::Clear { previous: is_string(kind) && kind != Kind::HyperLogLog && rng.one_in(2) },
        13 if !is_string(kind) && rng.one_in(2) => Mutation::ClearStep(ClearStep {
            members: (0..rng.below(3)).map(|_| random_member(rng, kind)).collect(),
            grace: rng.one_in(2).then(|| rng.below(50) as u64),
            is_last: rng.one_in(3),
        }),
        13 => Mutation::Sweep { grace: rng.below(50) as u64 },
        _ => Mutation::Expire(random_expiry(rng)),
    }
}

/// A write that takes the same versions whatever its region sees.
pub fn unconditional_mutation(rng: &mut Rng, kind: Kind) -> Mutation {
    let member = random_member(rng, kind);
    match rng.below(6) {
        _ if kind == Kind::HyperLogLog => {
            Mutation::Observe { elements: vec![b(rng.below(1000).to_string())], union: None }
        }
        0 => DEL,
        _ if kind == Kind::List => Mutation::List(lists::random_push(rng)),
        _ if kind.has_entries() => Mutation::Append(entries::append(rng)),
        1 => Mutation::Remove { members: vec![member] },
        2 | 3 if kind == Kind::SortedSet => Mutation::Add { member, amount: Amount::Integer(rng.below(9) as i64) },
        _ => Mutation::assign([(member, random_payload(rng, kind))]),
    }
}

const DEL: Mutation = Mutation::Clear { previous: false };

/// A write under way in the model: versions are given out in the order in which Redis would.
pub(super) struct Shadow<'a> {
    pub(super) model: &'a mut Model,
    pub(super) held: &'a mut BTreeSet<OperationId>,
    pub(super) partition: &'a Partition,
    /// The same behind the write: it says which positions were made.
    pub(super) after: &'a Partition,
    pub(super) key: &'a Key,
    /// Whether a set of operations explains what the region shows.
    pub(super) is_explained: bool,
    next: Version,
    made: Vec<OperationId>,
}

impl Shadow<'_> {
    pub(super) fn note(&mut self, field: &Field, change: Change) {
        let takes_one = change != Change::Retract;
        let origin = self.partition.origin().unwrap();
        let made = self.model.record(self.held, &origin, self.next, (self.key, field), change);
        self.made.extend(made);
        if takes_one && made.is_some() {
            self.next = self.next.next();
        }
    }

    pub(super) fn clear(&mut self) {
        for field in self.model.fields(self.key, self.held) {
            let is_union = self.key.kind == Kind::HyperLogLog && field == Field::VALUE;
            self.note(&field, if is_union { Change::Reset } else { Change::Retract });
        }
    }

    fn is_present(&self, field: &Field) -> bool {
        self.model.is_present(self.key, field, self.held)
    }

    pub(super) fn has_data(&self) -> bool {
        self.model.has_data(self.key, self.held)
    }

    fn deadline(&self) -> Option<Deadline> {
        self.model.deadline(self.key, self.held)
    }

    pub(super) fn text(&self, field: &Field) -> Option<Bytes> {
        self.model.text(self.key, field, self.held)
    }

    fn score(&self, field: &Field) -> Option<f64> {
        self.model.score(self.key, field, self.held)
    }

    fn run(&mut self, now: Version, mutation: &Mutation) -> Result<Outcome, MutationError> {
        let over = self.deadline().is_some_and(|d| d.is_past(now)) || !self.has_data();
        let deadline = |expiry: Expiry| match expiry {
            Expiry::In(ms) => Deadline::At(now.as_millis().saturating_add_signed(ms)),
            Expiry::At(ms) => Deadline::At(u64::try_from(ms).unwrap_or(0)),
            Expiry::Never => Deadline::Never,
        };
        let previous = |shadow: &Self, asked: bool| if asked && !over { shadow.text(&Field::VALUE) } else { None };
        match mutation {
            Mutation::Assign(assignment) => {
                let previous = previous(self, assignment.previous);
                if over {
                    self.clear();
                }
                let (mut added, mut assigned, mut changed) = (0, 0, 0);
                let (presence, order) = match self.key.kind {
                    Kind::HighScores | Kind::Max => (assignment.presence, Order::Greater),
                    Kind::LowScores | Kind::Min => (assignment.presence, Order::Less),
                    Kind::First => (Presence::Absent, assignment.order),
                    _ => (assignment.presence, assignment.order),
                };
                for (member, payload) in &assignment.entries {
                    let field = Field::Member(member.clone());
                    let present = self.is_present(&field);
                    let old = self.score(&field);
                    let new = number::parse_score(payload);
                    let ordered = match order {
                        Order::Any => true,
                        Order::Greater => !present || new > old,
                        Order::Less => !present || new < old,
                    };
                    let wanted = match presence {
                        Presence::Any => true,
                        Presence::Absent => !present,
                        Presence::Present => present,
                    };
                    if ordered && wanted {
                        assigned += 1;
                        added += u64::from(!present);
                        changed += u64::from(!present || (self.key.kind.is_scored() && old != new));
                        self.note(&field, Change::Assign(payload.clone()));
                    }
                }
                if assigned > 0 {
                    match assignment.retention {
                        Retention::Keep => {}
                        Retention::Clear => self.note(&Field::Expiry, Change::Retract),
                        Retention::Set(expiry) => {
                            self.note(&Field::Expiry, Change::Assign(deadline(expiry).to_payload()))
                        }
                    }
                }
                Ok(Outcome::Assigned { added, assigned, changed, previous })
            }
            Mutation::Resolve { payload, seen } => {
                if over {
                    self.clear();
                }
                let before = self.made.len();
                self.note(&Field::VALUE, Change::Resolve(payload.clone(), seen.clone()));
                let assigned = (self.made.len() - before) as u64;
                Ok(Outcome::Assigned { added: 0, assigned, changed: 0, previous: None })
            }
            Mutation::Add { member, amount } => {
                let field = Field::Member(member.clone());
                let present = if over { None } else { self.text(&field) };
                let is_hash = self.key.kind == Kind::Hash;
                let amount = match amount {
                    Amount::Integer(n) => {
                        if self.key.kind != Kind::SortedSet && present.is_some_and(|text| !number::is_integer(&text)) {
                            return Err(if is_hash {
                                MutationError::HashNotAnInteger
                            } else {
                                MutationError::NotAnInteger
                            });
                        }
                        *n as f64
                    }
                    Amount::Float(n) => {
                        if self.key.kind != Kind::SortedSet
                            && present.is_some_and(|text| number::parse(&text).is_none())
                        {
                            return Err(if is_hash { MutationError::HashNotAFloat } else { MutationError::NotAFloat });
                        }
                        *n
                    }
                };
                if over {
                    self.clear();
                }
                self.note(&field, Change::Add(amount));
                let sum = match self.key.kind {
                    Kind::SortedSet => self.score(&field).map(|score| b(number::show(score))),
                    _ => self.text(&field),
                };
                Ok(Outcome::Sum(sum.unwrap()))
            }
            Mutation::Remove { members } => {
                if over {
                    self.clear();
                }
                let mut removed = 0;
                for member in members {
                    let field = Field::Member(member.clone());
                    removed += u64::from(self.is_present(&field));
                    self.note(&field, Change::Retract);
                }
                if !self.has_data() {
                    self.note(&Field::Expiry, Change::Retract);
                }
                Ok(Outcome::Removed(removed))
            }
            Mutation::Observe { elements, union } => {
                if over {
                    self.clear();
                }
                let seen = self.model.registers(self.key, self.held);
                let mut registers = seen.clone().unwrap_or_default();
                for element in elements {
                    registers.observe(element);
                }
                if let Some(other) = union {
                    registers.union(other);
                }
                let changed = seen.as_ref() != Some(&registers);
                if changed {
                    self.note(&Field::VALUE, Change::Observe(registers));
                }
                Ok(Outcome::Observed(changed))
            }
            Mutation::Clear { previous: asked } => {
                let previous = previous(self, *asked);
                self.clear();
                Ok(Outcome::Cleared { existed: !over, previous })
            }
            Mutation::Expire(expiry) => {
                let at = deadline(*expiry);
                if over {
                    self.clear();
                    return Ok(Outcome::Expiry(false));
                }
                if at.is_past(now) {
                    self.clear();
                } else if at == Deadline::Never && !matches!(self.deadline(), Some(Deadline::At(_))) {
                    return Ok(Outcome::Expiry(false));
                } else {
                    self.note(&Field::Expiry, Change::Assign(at.to_payload()));
                }
                Ok(Outcome::Expiry(true))
            }
            Mutation::List(edit) => self.edit_list(edit, over),
            Mutation::Append(append) => self.append_entry(append, now, over),
            Mutation::Claim { candidates } => Ok(self.claim(candidates, over)),
            Mutation::Evict(keep) => {
                if over {
                    self.clear();
                }
                Ok(self.evict(*keep, now, over))
            }
            Mutation::ClearStep(step) => {
                let past = |grace| matches!(self.deadline(), Some(Deadline::At(at)) if now.as_millis() >= at + grace);
                if step.grace.is_some_and(|grace| !past(grace)) {
                    return Ok(Outcome::Stepped(None));
                }
                let mut removed = 0;
                for member in &step.members {
                    let field = Field::Member(member.clone());
                    removed += u64::from(!over && self.is_present(&field));
                    self.note(&field, Change::Retract);
                }
                if step.is_last || (removed > 0 && !self.has_data()) {
                    self.note(&Field::Expiry, Change::Retract);
                }
                Ok(Outcome::Stepped(Some(removed)))
            }
            Mutation::Sweep { grace } => {
                let swept = matches!(self.deadline(), Some(Deadline::At(at)) if now.as_millis() >= at + grace);
                if swept {
                    self.clear();
                }
                Ok(Outcome::Cleared { existed: swept, previous: None })
            }
            // The ledger counts stock.
            Mutation::Stock(_) => Err(MutationError::NotForStock),
        }
    }
}

/// Does a write in both, and compares: the answer, the versions taken, one log entry or none, nothing on an error.
///
/// Unless the region misses an entry of a running sum: no set of operations explains its answers then.
///
/// Answers what the region's next log entry made, if it made one. `None`: the history is stale.
pub fn write_both(
    model: &mut Model,
    held: &mut BTreeSet<OperationId>,
    partition: &mut Partition,
    (history, now): (&str, Version),
    (key, mutation): (&Key, &Mutation),
    is_explained: bool,
) -> Option<Vec<OperationId>> {
    let before = partition.clone();
    let answer = partition.mutate(history, now, key, mutation);
    if matches!(answer, Err(Refusal::Stale(_))) {
        assert_eq!(*partition, before, "a stale write changed something");
        return None;
    }
    let first = now.max(before.sync_state().clock.next());
    let (mut after, mut made) = (held.clone(), Vec::new());
    let mut shadow = Shadow {
        model,
        held: &mut after,
        partition: &before,
        after: partition,
        key,
        is_explained,
        next: first,
        made: Vec::new(),
    };
    let expected = shadow.run(now, mutation);
    let taken = shadow.next.as_micros() - first.as_micros();
    made.append(&mut shadow.made);
    if is_explained {
        assert_eq!(
            answer.map_err(|e| match e {
                Refusal::Mutation(e) => e,
                Refusal::Stale(_) => unreachable!(),
            }),
            expected,
            "{key:?} {mutation:?}"
        );
        let state = partition.sync_state();
        if made.is_empty() {
            assert_eq!(*partition, before, "a write without effect left a trace: {key:?} {mutation:?}");
        } else {
            assert_eq!(state.number, before.sync_state().number + 1, "{key:?} {mutation:?}");
            assert_eq!(state.clock, first.plus(taken.max(1) - 1), "{key:?} {mutation:?}");
        }
    }
    *held = after;
    Some(made)
}
