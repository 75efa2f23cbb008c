//! Writes of lists: which elements, and which positions for new ones.

use bytes::Bytes;

use super::mutate::Write;
use crate::{
    cells::Cells,
    key::Field,
    list::{End, ListEdit, Side, window},
    mutation::{MutationError, Outcome, limits},
    position::{Maker, between},
};

/// An element as a reader sees it: its position, and its value.
type Element = (Bytes, Bytes);

impl Write {
    pub(super) fn edit_list(&mut self, edit: &ListEdit) -> Result<Outcome, MutationError> {
        match edit {
            ListEdit::Push { end, values, existing } => self.push(*end, values, *existing),
            ListEdit::Insert { side, pivot, value } => self.insert_beside(*side, pivot, value),
            ListEdit::Set { index, value } => self.set_at(*index, value),
            ListEdit::Pop { end, count } => Ok(self.pop(*end, *count)),
            ListEdit::Remove { value, count } => Ok(self.remove_value(value, *count)),
            ListEdit::Trim { start, stop } => Ok(self.trim(*start, *stop)),
        }
    }

    /// What a reader sees, in order.
    fn elements(&self) -> Vec<Element> {
        if self.is_over() {
            return Vec::new();
        }
        let shown = |(position, cells): (&Bytes, &Cells)| Some((position.clone(), cells.text()?));
        self.state.members().filter_map(shown).collect()
    }

    fn push(&mut self, end: End, values: &[Bytes], existing: bool) -> Result<Outcome, MutationError> {
        let neighbour = self.outermost(end);
        if existing && neighbour.is_none() {
            self.clear_if_over();
            return Ok(Outcome::Length(Some(0)));
        }
        match end {
            End::Front => {
                let backwards: Vec<Bytes> = values.iter().rev().cloned().collect();
                self.place(None, neighbour, &backwards)?;
            }
            End::Back => self.place(neighbour, None, values)?,
        }
        Ok(self.length())
    }

    /// The position of the element at an end.
    fn outermost(&self, end: End) -> Option<Bytes> {
        let is_over = self.is_over();
        let mut live = self.state.members().filter(|(_, cells)| !is_over && cells.is_live());
        let found = match end {
            End::Front => live.next(),
            End::Back => live.next_back(),
        };
        found.map(|(position, _)| position.clone())
    }

    fn insert_beside(&mut self, side: Side, pivot: &Bytes, value: &Bytes) -> Result<Outcome, MutationError> {
        let elements = self.elements();
        if elements.is_empty() {
            self.clear_if_over();
            return Ok(Outcome::Length(Some(0)));
        }
        let Some(at) = elements.iter().position(|(_, held)| held == pivot) else {
            return Ok(Outcome::Length(None));
        };
        let position = |at: usize| elements.get(at).map(|(position, _)| position.clone());
        let (left, right) = match side {
            Side::Before => (at.checked_sub(1).and_then(position), position(at)),
            Side::After => (position(at), position(at + 1)),
        };
        self.place(left, right, std::slice::from_ref(value))?;
        Ok(self.length())
    }

    /// Assigns values, in list order, to new positions between two neighbours.
    fn place(&mut self, left: Option<Bytes>, right: Option<Bytes>, values: &[Bytes]) -> Result<(), MutationError> {
        let maker = Maker { incarnation: self.own.incarnation, number: self.number };
        let positions = between(left.as_deref(), right.as_deref(), values.len(), maker);
        if positions.iter().any(|position| position.len() > limits::MEMBER) {
            return Err(MutationError::TooLarge);
        }
        self.clear_if_over();
        for (position, value) in positions.into_iter().zip(values) {
            self.assign_field(Field::Member(position), value.clone());
        }
        Ok(())
    }

    fn length(&self) -> Outcome {
        Outcome::Length(Some(self.state.members().filter(|(_, cells)| cells.is_live()).count() as u64))
    }

    fn set_at(&mut self, index: i64, value: &Bytes) -> Result<Outcome, MutationError> {
        let elements = self.elements();
        if elements.is_empty() {
            return Err(MutationError::NoSuchKey);
        }
        let (skip, take) = window(index, index, elements.len());
        let element = elements.into_iter().skip(skip).take(take).next();
        let (position, _) = element.ok_or(MutationError::IndexOutOfRange)?;
        self.assign_field(Field::Member(position), value.clone());
        Ok(Outcome::Assigned { added: 0, assigned: 1, changed: 1, previous: None })
    }

    fn pop(&mut self, end: End, count: u64) -> Outcome {
        let mut elements = self.elements();
        if end == End::Back {
            elements.reverse();
        }
        elements.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        let values = elements.iter().map(|(_, value)| value.clone()).collect();
        self.take_out(elements);
        Outcome::Popped(values)
    }

    fn remove_value(&mut self, value: &Bytes, count: i64) -> Outcome {
        let mut found: Vec<Element> = self.elements().into_iter().filter(|(_, held)| held == value).collect();
        if count < 0 {
            found.reverse();
        }
        if count != 0 {
            found.truncate(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX));
        }
        self.take_out(found)
    }

    fn trim(&mut self, start: i64, stop: i64) -> Outcome {
        let elements = self.elements();
        let (skip, take) = window(start, stop, elements.len());
        let outside = |(at, element)| (at < skip || at >= skip.saturating_add(take)).then_some(element);
        let removed = elements.into_iter().enumerate().filter_map(outside).collect();
        self.take_out(removed)
    }

    fn take_out(&mut self, elements: Vec<Element>) -> Outcome {
        self.remove(&elements.into_iter().map(|(position, _)| position).collect::<Vec<_>>())
    }
}
