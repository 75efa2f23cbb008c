//! Lists in the model: a plain vector of what is visible, edited as one would by hand.

use archipelago_engine::{End, Field, KeyState, ListEdit, MutationError, Outcome, Side, testing::Change};
use bytes::Bytes;

use super::{
    Rng,
    write::{Shadow, b},
};

pub(super) fn random_value(rng: &mut Rng) -> Bytes {
    b(rng.pick(&["a", "b", "c", ""]).to_string())
}

fn random_end(rng: &mut Rng) -> End {
    *rng.pick(&[End::Front, End::Back])
}

pub fn random_push(rng: &mut Rng) -> ListEdit {
    let values = (0..=rng.below(3)).map(|_| random_value(rng)).collect();
    ListEdit::Push { end: random_end(rng), values, existing: false }
}

pub fn random_edit(rng: &mut Rng) -> ListEdit {
    let index = |rng: &mut Rng| rng.below(9) as i64 - 4;
    match rng.below(12) {
        0..=2 => random_push(rng),
        3 => ListEdit::Push { end: random_end(rng), values: vec![random_value(rng)], existing: true },
        4..=6 => ListEdit::Insert {
            side: *rng.pick(&[Side::Before, Side::After]),
            pivot: random_value(rng),
            value: random_value(rng),
        },
        7 | 8 => ListEdit::Set { index: index(rng), value: random_value(rng) },
        9 => ListEdit::Pop { end: random_end(rng), count: rng.below(3) as u64 },
        10 => ListEdit::Remove { value: random_value(rng), count: rng.below(5) as i64 - 2 },
        _ => ListEdit::Trim { start: index(rng), stop: index(rng) },
    }
}

impl Shadow<'_> {
    /// What is visible, in order.
    pub(super) fn elements(&self) -> Vec<(Field, Bytes)> {
        if !self.is_explained {
            // A region that misses an entry shows an element whose removal was in it, and pushes beside that one.
            let fields = self.partition.key(self.key).into_iter().flat_map(|state| &state.fields);
            let elements = fields.filter(|(field, _)| **field != Field::Expiry);
            return elements.filter_map(|(field, held)| Some((field.clone(), held.cells.text()?))).collect();
        }
        let fields = self.model.fields(self.key, self.held).into_iter().filter(|field| *field != Field::Expiry);
        fields.filter_map(|field| Some((field.clone(), self.text(&field)?))).collect()
    }

    /// The positions that the write under test made: the model has no opinion on them, but where they stand.
    pub(super) fn made(&self) -> Vec<Field> {
        let fields = |state: Option<&KeyState>| state.map(|state| state.fields.clone()).unwrap_or_default();
        let before = fields(self.partition.key(self.key));
        let after = fields(self.after.key(self.key)).into_keys();
        after.filter(|field| *field != Field::Expiry && !before.contains_key(field)).collect()
    }

    fn place(&mut self, elements: &[(Field, Bytes)], at: usize, values: &[Bytes]) -> Outcome {
        let made = self.made();
        assert_eq!(made.len(), values.len(), "one new position for each value");
        let left = at.checked_sub(1).and_then(|left| elements.get(left));
        let mut order: Vec<&Field> = left.into_iter().map(|(field, _)| field).collect();
        order.extend(&made);
        order.extend(elements.get(at).map(|(field, _)| field));
        assert!(order.is_sorted(), "{:?} {at} {made:?}", self.key);
        for (field, value) in made.iter().zip(values) {
            self.note(field, Change::Assign(value.clone()));
        }
        Outcome::Length(Some((elements.len() + values.len()) as u64))
    }

    pub(super) fn take(&mut self, elements: &[(Field, Bytes)]) -> u64 {
        elements.iter().for_each(|(field, _)| self.note(field, Change::Retract));
        if !self.has_data() {
            self.note(&Field::Expiry, Change::Retract);
        }
        elements.len() as u64
    }

    pub(super) fn edit_list(&mut self, edit: &ListEdit, over: bool) -> Result<Outcome, MutationError> {
        let elements = if over { Vec::new() } else { self.elements() };
        if over && !matches!(edit, ListEdit::Set { .. }) {
            self.clear();
        }
        let index = |index: i64| if index < 0 { index + elements.len() as i64 } else { index };
        Ok(match edit {
            ListEdit::Push { existing: true, .. } | ListEdit::Insert { .. } if elements.is_empty() => {
                Outcome::Length(Some(0))
            }
            ListEdit::Push { end: End::Back, values, .. } => self.place(&elements, elements.len(), values),
            ListEdit::Push { end: End::Front, values, .. } => {
                let backwards: Vec<Bytes> = values.iter().rev().cloned().collect();
                self.place(&elements, 0, &backwards)
            }
            ListEdit::Insert { side, pivot, value } => match elements.iter().position(|(_, held)| held == pivot) {
                Some(at) => self.place(&elements, at + usize::from(*side == Side::After), std::slice::from_ref(value)),
                None => Outcome::Length(None),
            },
            ListEdit::Set { .. } if elements.is_empty() => return Err(MutationError::NoSuchKey),
            ListEdit::Set { index: at, value } => {
                let found = usize::try_from(index(*at)).ok().and_then(|at| elements.get(at));
                let (field, _) = found.ok_or(MutationError::IndexOutOfRange)?;
                self.note(field, Change::Assign(value.clone()));
                Outcome::Assigned { added: 0, assigned: 1, changed: 1, previous: None }
            }
            ListEdit::Pop { end, count } => {
                let mut taken = elements.clone();
                if *end == End::Back {
                    taken.reverse();
                }
                taken.truncate(*count as usize);
                self.take(&taken);
                Outcome::Popped(taken.into_iter().map(|(_, value)| value).collect())
            }
            ListEdit::Remove { value, count } => {
                let mut found: Vec<_> = elements.into_iter().filter(|(_, held)| held == value).collect();
                if *count < 0 {
                    found.reverse();
                }
                if *count != 0 {
                    found.truncate(count.unsigned_abs() as usize);
                }
                Outcome::Removed(self.take(&found))
            }
            ListEdit::Trim { start, stop } => {
                let kept = index(*start)..=index(*stop);
                let gone = elements.iter().enumerate().filter(|(at, _)| !kept.contains(&(*at as i64)));
                let gone: Vec<_> = gone.map(|(_, element)| element.clone()).collect();
                Outcome::Removed(self.take(&gone))
            }
        })
    }
}
