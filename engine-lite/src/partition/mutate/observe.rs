//! Observations: PFADD, PFMERGE, and what removing everything means to a HyperLogLog.

use bytes::Bytes;

use super::Write;
use crate::{
    cells::Cells,
    hyperloglog::{Payload, Registers},
    key::{Field, Kind},
    mutation::Outcome,
};

impl Write<'_> {
    /// Assigns the union of what is seen with what is new; what changes no register is no write.
    pub(super) fn observe(&mut self, elements: &[Bytes], union: Option<&Registers>) -> Outcome {
        self.clear_if_over();
        let mut payload = self.state.member(&Bytes::new()).map(Payload::of).unwrap_or_default();
        let mut changed = payload.registers.is_none();
        let registers = payload.registers.get_or_insert_default();
        for element in elements {
            changed |= registers.observe(element);
        }
        changed |= union.is_some_and(|other| registers.union(other));
        if changed {
            self.assign_field(Field::VALUE, payload.to_bytes());
        }
        Outcome::Observed(changed)
    }

    /// What is shown is left behind by an epoch without registers: retracted, a union that somebody has not seen yet
    /// would bring its elements back.
    pub(super) fn begin_epoch(&mut self) {
        let shown = self.state.member(&Bytes::new()).filter(|cells: &&Cells| cells.shows(Kind::HyperLogLog));
        if let Some(next) = shown.map(Payload::after) {
            self.assign_field(Field::VALUE, next.to_bytes());
        }
    }
}
