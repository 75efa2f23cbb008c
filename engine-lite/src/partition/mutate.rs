//! Mutations: a local write, from its conditions to its log entry.

mod observe;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{KeyState, Partition, Refusal, stock::Side};
use crate::{
    cells::{Cells, Deadline},
    delta::{Body, Delta},
    key::{Field, Key, Kind},
    mutation::{Amount, Assignment, Expiry, Mutation, MutationError, Order, Outcome, Presence, Retention, limits},
    number,
    origin::{Incarnation, Origin},
    version::Version,
};

impl Partition {
    /// Executes a write: history check, clock, cells and log in one step, or none of them.
    ///
    /// A key past its expiry, or one whose expiry outlived its data, is first cleared in the same delta.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was changed.
    pub fn mutate(&mut self, history: &str, now: Version, key: &Key, mutation: &Mutation) -> Result<Outcome, Refusal> {
        self.check(history)?;
        mutation.check(key)?;
        let own = self.origin().ok_or(super::Stale)?;
        let version = self.next_version(now);
        let stored = self.keys.remove(key);
        let fresh = stored.is_none();
        let mut write = Write {
            kind: key.kind,
            number: self.number + 1,
            own,
            now,
            next: version,
            state: stored.unwrap_or_default(),
            moved: BTreeMap::new(),
            side: self.sides.remove(key).unwrap_or_default(),
            inherited: &self.inherited,
        };
        let outcome = write.run(mutation);
        let Write { own, next, mut state, moved, side, .. } = write;
        if !side.is_empty() {
            self.sides.insert(key.clone(), side);
        }
        if outcome.is_ok() && !moved.is_empty() {
            state.stamp = self.number + 1;
            let mut delta = Delta::new(key.clone());
            let fields: Vec<Field> = moved.keys().cloned().collect();
            for (field, origins) in moved {
                let stamped = state.fields.entry(field.clone()).or_default();
                stamped.stamp = self.number + 1;
                if stamped.cells.has_dead() {
                    self.dying.insert((stamped.stamp, key.clone(), field.clone()));
                }
                let cells = origins.into_iter().filter_map(|origin| {
                    let cell = stamped.cells.get(&origin)?;
                    let cell = if origin == own { cell.clone() } else { cell.observations() };
                    Some((origin, cell))
                });
                delta.fields.insert(field, cells.collect());
            }
            let span = next.as_micros().saturating_sub(version.as_micros()).max(1);
            self.append(&own, version, u32::try_from(span).unwrap_or(u32::MAX), Body::Data(delta));
            self.keys.insert(key.clone(), state);
            self.note_arrivals(key, &fields);
        } else if !fresh {
            self.keys.insert(key.clone(), state);
        }
        Ok(outcome?)
    }
}

/// A write under way: the state it changes in place, and which cells it moved.
pub(super) struct Write<'p> {
    kind: Kind,
    /// That of the write's log entry.
    pub(super) number: u64,
    pub(super) own: Origin,
    pub(super) now: Version,
    next: Version,
    pub(super) state: KeyState,
    moved: BTreeMap<Field, BTreeSet<Origin>>,
    pub(super) side: Side,
    pub(super) inherited: &'p BTreeSet<Incarnation>,
}

impl Write<'_> {
    /// Checks everything that can refuse the write before the first cell moves.
    fn run(&mut self, mutation: &Mutation) -> Result<Outcome, MutationError> {
        if self.kind == Kind::Stock {
            return self.stock(mutation);
        }
        self.check_size(mutation)?;
        match mutation {
            Mutation::Assign(assignment) => self.assign(assignment),
            Mutation::Resolve { payload, seen } => Ok(self.resolve(payload, seen)),
            Mutation::Add { member, amount } => self.add(member, *amount),
            Mutation::Remove { members } => Ok(self.remove(members)),
            Mutation::Observe { elements, union } => Ok(self.observe(elements, union.as_ref())),
            Mutation::Clear { previous } => Ok(self.delete(*previous)),
            Mutation::ClearStep(step) => Ok(self.clear_step(step)),
            Mutation::Expire(expiry) => self.expire(*expiry),
            Mutation::Sweep { grace } => Ok(self.sweep(*grace)),
            Mutation::List(edit) => self.edit_list(edit),
            Mutation::Stock(_) => Err(MutationError::NotForStock),
            Mutation::Append(append) => self.append_entry(append),
            Mutation::Evict(keep) => Ok(self.evict(*keep)),
            Mutation::Claim { candidates } => Ok(self.claim(candidates)),
        }
    }

    /// Whether what is stored is past its expiry, or only an expiry is left of it.
    pub(super) fn is_over(&self) -> bool {
        self.state.deadline().is_some_and(|deadline| deadline.is_past(self.now) || !self.state.has_data(self.kind))
    }

    /// What a reader sees of a member before the write.
    pub(super) fn visible(&self, member: &Bytes) -> Option<&Cells> {
        if self.is_over() { None } else { self.state.member(member).filter(|cells| cells.shows(self.kind)) }
    }

    pub(super) fn version(&mut self) -> Version {
        let version = self.next;
        self.next = version.next();
        version
    }

    pub(super) fn touch(&mut self, field: Field, origins: impl IntoIterator<Item = Origin>) {
        let mut origins = origins.into_iter().peekable();
        if origins.peek().is_some() {
            self.moved.entry(field).or_default().extend(origins);
        }
    }

    pub(super) fn assign_field(&mut self, field: Field, payload: Bytes) {
        let version = self.version();
        let own = self.own.clone();
        let moved = self.state.fields.entry(field.clone()).or_default().cells.assign(&own, version, payload);
        self.touch(field, moved);
    }

    fn retract_field(&mut self, field: Field) {
        if let Some(stamped) = self.state.fields.get_mut(&field) {
            let moved = stamped.cells.retract();
            self.touch(field, moved);
        }
    }

    fn clear(&mut self) {
        let fields: Vec<Field> = self.state.fields.keys().cloned().collect();
        for field in fields {
            if self.kind == Kind::HyperLogLog && field == Field::VALUE {
                self.begin_epoch();
            } else {
                self.retract_field(field);
            }
        }
    }

    pub(super) fn clear_if_over(&mut self) {
        if self.is_over() {
            self.clear();
        }
    }

    fn deadline_of(&self, expiry: Expiry) -> Result<Deadline, MutationError> {
        let millis = match expiry {
            Expiry::In(millis) => i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX).checked_add(millis),
            Expiry::At(millis) => Some(millis),
            Expiry::Never => return Ok(Deadline::Never),
        };
        match millis {
            Some(millis) if millis <= limits::EXPIRE_AT => Ok(Deadline::At(u64::try_from(millis).unwrap_or(0))),
            Some(_) | None => Err(MutationError::InvalidExpire),
        }
    }

    fn assign(&mut self, assignment: &Assignment) -> Result<Outcome, MutationError> {
        let deadline = match assignment.retention {
            Retention::Set(expiry) => Some(self.deadline_of(expiry)?),
            Retention::Keep | Retention::Clear => None,
        };
        let previous = if assignment.previous { self.value() } else { None };
        let (presence, order) = self.kind.conditions();
        let presence = if presence == Presence::Any { assignment.presence } else { presence };
        let order = if order == Order::Any { assignment.order } else { order };
        let (mut added, mut assigned, mut changed) = (0, 0, 0);
        self.clear_if_over();
        for (member, payload) in &assignment.entries {
            let present = self.visible(member);
            let score = present.and_then(|cells| cells.points(self.kind));
            let new = number::parse_score(payload).unwrap_or(0.0);
            let allowed = match presence {
                Presence::Any => true,
                Presence::Absent => present.is_none(),
                Presence::Present => present.is_some(),
            } && match (order, present.is_some(), score) {
                (Order::Any, ..) | (_, false, _) => true,
                (Order::Greater, true, old) => new > old.unwrap_or(0.0),
                (Order::Less, true, old) => new < old.unwrap_or(0.0),
            };
            if !allowed {
                continue;
            }
            assigned += 1;
            added += u64::from(present.is_none());
            changed += u64::from(present.is_none() || (self.kind.is_scored() && score != Some(new)));
            self.assign_field(Field::Member(member.clone()), payload.clone());
        }
        if assigned > 0 && assignment.retention != Retention::Keep {
            match deadline {
                Some(deadline) => self.assign_field(Field::Expiry, deadline.to_payload()),
                None => self.retract_field(Field::Expiry),
            }
        }
        Ok(Outcome::Assigned { added, assigned, changed, previous })
    }

    /// What a reader sees of a string before the write.
    fn value(&self) -> Option<Bytes> {
        self.visible(&Bytes::new()).and_then(|cells| cells.value(self.kind))
    }

    fn resolve(&mut self, payload: &Bytes, seen: &[(Origin, Version)]) -> Outcome {
        self.clear_if_over();
        let (own, version) = (self.own.clone(), self.next);
        let cells = self.state.fields.get_mut(&Field::VALUE).filter(|stamped| stamped.cells.is_live());
        let moved = cells.and_then(|stamped| stamped.cells.resolve(&own, version, payload.clone(), seen));
        let assigned = u64::from(moved.is_some());
        if let Some(moved) = moved {
            self.next = version.next();
            self.touch(Field::VALUE, moved);
        }
        Outcome::Assigned { added: 0, assigned, changed: 0, previous: None }
    }

    fn add(&mut self, member: &Bytes, amount: Amount) -> Result<Outcome, MutationError> {
        let amount = match (self.kind == Kind::SortedSet, amount) {
            (true, Amount::Float(n)) if n.is_nan() => return Err(MutationError::NanScore),
            (true, Amount::Float(n)) => self.check_score(member, n)?,
            (true, Amount::Integer(n)) => self.check_score(member, exact(n)?)?,
            (false, Amount::Integer(n)) => self.check_integer(member, exact(n)?)?,
            (false, Amount::Float(n)) => self.check_float(member, n)?,
        };
        self.clear_if_over();
        let version = self.version();
        let field = Field::Member(member.clone());
        let own = self.own.clone();
        self.state.fields.entry(field.clone()).or_default().cells.add(&own, version, amount);
        self.touch(field, [own]);
        let sum = self.state.member(member).and_then(|cells| match self.kind {
            Kind::SortedSet => cells.score().map(|score| number::show(score).into()),
            kind => cells.value(kind),
        });
        Ok(Outcome::Sum(sum.unwrap_or_default()))
    }

    /// The own origin's run that an addition would go on from: it too has to stay exact.
    fn run_before(&self, member: &Bytes) -> f64 {
        let own = self.visible(member).and_then(|cells| cells.get(&self.own));
        own.map_or(0.0, |cell| cell.total_after(Version::ZERO, 0.0).number)
    }

    fn check_integer(&self, member: &Bytes, amount: f64) -> Result<f64, MutationError> {
        let not_an_integer =
            if self.kind == Kind::Hash { MutationError::HashNotAnInteger } else { MutationError::NotAnInteger };
        let text = self.visible(member).and_then(Cells::text);
        // More digits than 64 bits hold: Redis says "not an integer", too.
        if text.as_ref().is_some_and(|text| !number::is_integer(text)) {
            return Err(not_an_integer);
        }
        let present = text.as_ref().and_then(|text| number::parse(text)).unwrap_or(0.0);
        // An integer that no double holds reads as its neighbour, and the sum would count from there.
        let is_exact = text.is_none_or(|text| number::show(present).as_bytes() == text);
        let run = self.run_before(member);
        if is_exact && number::sum_is_exact(present, amount) && number::sum_is_exact(run, amount) {
            Ok(amount)
        } else {
            Err(MutationError::Overflow)
        }
    }

    fn check_float(&self, member: &Bytes, amount: f64) -> Result<f64, MutationError> {
        let not_a_float = if self.kind == Kind::Hash { MutationError::HashNotAFloat } else { MutationError::NotAFloat };
        let present = match self.visible(member).and_then(Cells::text) {
            None => 0.0,
            Some(text) => number::parse(&text).ok_or(not_a_float)?,
        };
        if amount.is_finite() && (present + amount).is_finite() && (self.run_before(member) + amount).is_finite() {
            Ok(amount)
        } else {
            Err(MutationError::Infinite)
        }
    }

    fn check_score(&self, member: &Bytes, amount: f64) -> Result<f64, MutationError> {
        let present = self.visible(member).and_then(Cells::score).unwrap_or(0.0);
        if (present + amount).is_nan() { Err(MutationError::NanScore) } else { Ok(amount) }
    }

    pub(super) fn remove(&mut self, members: &[Bytes]) -> Outcome {
        self.clear_if_over();
        let mut removed = 0;
        for member in members {
            removed += u64::from(self.visible(member).is_some());
            self.retract_field(Field::Member(member.clone()));
        }
        if removed > 0 {
            self.retract_expiry_of_nothing();
        }
        Outcome::Removed(removed)
    }

    /// Redis drops the key with its last member, and its expiry with it.
    fn retract_expiry_of_nothing(&mut self) {
        if self.state.deadline().is_some() && !self.state.has_data(self.kind) {
            self.retract_field(Field::Expiry);
        }
    }

    fn delete(&mut self, previous: bool) -> Outcome {
        let existed = !self.is_over() && self.state.has_data(self.kind);
        let previous = if previous { self.value() } else { None };
        self.clear();
        Outcome::Cleared { existed, previous }
    }

    fn expire(&mut self, expiry: Expiry) -> Result<Outcome, MutationError> {
        let deadline = self.deadline_of(expiry)?;
        self.clear_if_over();
        if !self.state.has_data(self.kind) {
            return Ok(Outcome::Expiry(false));
        }
        if deadline.is_past(self.now) {
            self.clear();
            return Ok(Outcome::Expiry(true));
        }
        let present = self.state.deadline();
        if deadline == Deadline::Never && matches!(present, None | Some(Deadline::Never)) {
            return Ok(Outcome::Expiry(false));
        }
        self.assign_field(Field::Expiry, deadline.to_payload());
        Ok(Outcome::Expiry(true))
    }

    fn sweep(&mut self, grace: u64) -> Outcome {
        let over = self.is_past_by(grace);
        if over {
            self.clear();
        }
        Outcome::Cleared { existed: over, previous: None }
    }
}

/// An integer as a double, while that is exact.
#[allow(clippy::cast_precision_loss, reason = "integers within ±2^53 convert exactly")]
fn exact(n: i64) -> Result<f64, MutationError> {
    if n.unsigned_abs() <= 1 << 53 { Ok(n as f64) } else { Err(MutationError::Overflow) }
}
