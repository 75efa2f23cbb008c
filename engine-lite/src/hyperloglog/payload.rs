//! What the cell of a HyperLogLog assigns, and the rule.

use bytes::{BufMut, Bytes};

use super::Registers;
use crate::cells::Cells;

/// The bytes of an epoch: a double holds it exactly.
const EPOCH: usize = 6;
const LAST_EPOCH: u64 = (1 << 48) - 1;

/// An epoch and what was seen in it: `epoch(6) registers`. Removing everything begins the next epoch, without registers.
///
/// The registers of an assignment hold those of all it retracts. So a concurrent one adds to them and a removal, which
/// could not take elements back out of a union, hides every union of an earlier epoch, seen or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// How many removals lie behind it.
    pub epoch: u64,
    /// What was seen since; `None` right behind a removal, and where the bytes cannot be read.
    pub registers: Option<Registers>,
}

impl Payload {
    /// The empty one behind everything in `cells`.
    pub(crate) fn after(cells: &Cells) -> Self {
        Self { epoch: (latest(cells).0 + 1).min(LAST_EPOCH), registers: None }
    }

    /// The rule: the union of the live registers at the highest live epoch.
    pub(crate) fn of(cells: &Cells) -> Self {
        let (epoch, live) = latest(cells);
        let union = |union: Option<Registers>, other: Registers| {
            let mut union = union.unwrap_or_default();
            union.union(&other);
            Some(union)
        };
        Self { epoch, registers: live.into_iter().filter_map(Registers::decode).fold(None, union) }
    }

    /// Reads a payload. What cannot be read shows nothing: a join is total, whatever a broken writer sends.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (epoch, registers) = split(bytes);
        Self { epoch, registers: Registers::decode(registers) }
    }

    /// The payload as cells carry it.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_uint(self.epoch, EPOCH);
        out.extend(self.registers.iter().flat_map(Registers::encode));
        out.into()
    }
}

/// The highest live epoch, and what is live in it.
fn latest(cells: &Cells) -> (u64, Vec<&[u8]>) {
    let (mut latest, mut of_latest) = (0, Vec::new());
    for (epoch, registers) in cells.iter().filter_map(|(_, cell)| cell.live()).map(|assign| split(&assign.payload)) {
        if epoch > latest {
            latest = epoch;
            of_latest.clear();
        }
        if epoch == latest {
            of_latest.push(registers);
        }
    }
    (latest, of_latest)
}

fn split(payload: &[u8]) -> (u64, &[u8]) {
    let Some((epoch, registers)) = payload.split_at_checked(EPOCH) else { return (0, &[]) };
    (epoch.iter().fold(0, |epoch, byte| epoch << 8 | u64::from(*byte)), registers)
}

impl Cells {
    /// The rule of HyperLogLogs: the union of the live registers at the highest live epoch.
    #[must_use]
    pub fn registers(&self) -> Option<Registers> {
        Payload::of(self).registers
    }

    /// Whether [`Cells::registers`] has any: found out without reading them.
    pub(crate) fn has_registers(&self) -> bool {
        latest(self).1.into_iter().any(Registers::can_decode)
    }
}
