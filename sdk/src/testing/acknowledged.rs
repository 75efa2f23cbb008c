//! What reads of a quorum owe to writes of a quorum, as a check over what a test recorded.
//!
//! The condition is that of Gifford: Weighted Voting for Replicated Data (1979): a read quorum and a write quorum share a
//! region. Values merge here, so what it gives is not one order of all operations, but that no read misses a write that
//! was acknowledged before it began.

use std::collections::{BTreeMap, BTreeSet};

/// A tick of one counter that all who record share: an operation begins at one and ends at a later one.
pub type Tick = u64;

/// What a write did to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Added a positive amount to a counter.
    Add(u64),
    /// Set a register to a value that nobody else sets; the writer's own writes follow each other in one region.
    Set {
        /// Who wrote.
        writer: u64,
        /// What.
        value: u64,
    },
    /// Added a member to a set, once in the history.
    Insert(u64),
    /// Removed a member, in the region that had added it and after that.
    Remove(u64),
}

/// What a read showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    /// A counter.
    Number(u64),
    /// A register.
    Value(Option<u64>),
    /// A set.
    Members(BTreeSet<u64>),
}

/// Writes and reads of several keys, as they began and ended.
///
/// ```
/// use archipelago::testing::{Acknowledged, Effect, Saw};
///
/// let mut history = Acknowledged::new();
/// history.wrote("hits", Effect::Add(1), 1, Some(2)).read("hits", 3, 4, Saw::Number(0));
/// assert_eq!(history.check().unwrap_err().to_string(), "hits: a read from 3 to 4 showed 0, and 1 was acknowledged before it");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    keys: BTreeMap<String, Operations>,
}

#[derive(Clone, Debug, Default)]
struct Operations {
    writes: Vec<Written>,
    reads: Vec<Shown>,
}

#[derive(Clone, Debug)]
struct Written {
    effect: Effect,
    began: Tick,
    /// `None`: nobody said that it was done, and it may have been.
    acknowledged: Option<Tick>,
}

#[derive(Clone, Debug)]
struct Shown {
    began: Tick,
    ended: Tick,
    saw: Saw,
}

/// A read that did not show what it had to, or what nobody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: a read from {began} to {ended} showed {what}")]
pub struct MissedWrite {
    /// Of which key.
    pub key: String,
    /// When the read began.
    pub began: Tick,
    /// When it ended.
    pub ended: Tick,
    /// What was wrong.
    pub what: String,
}

impl Written {
    fn is_acknowledged_before(&self, tick: Tick) -> bool {
        self.acknowledged.is_some_and(|at| at < tick)
    }
}

impl Acknowledged {
    /// A history in which nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A write that began, and when it was acknowledged. One that was certainly not done is no part of the history.
    pub fn wrote(&mut self, key: &str, effect: Effect, began: Tick, acknowledged: Option<Tick>) -> &mut Self {
        self.keys.entry(key.to_owned()).or_default().writes.push(Written { effect, began, acknowledged });
        self
    }

    /// A read that was answered.
    pub fn read(&mut self, key: &str, began: Tick, ended: Tick, saw: Saw) -> &mut Self {
        self.keys.entry(key.to_owned()).or_default().reads.push(Shown { began, ended, saw });
        self
    }

    /// How many reads were recorded.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.keys.values().map(|operations| operations.reads.len()).sum()
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let writes = self.keys.values().flat_map(|operations| &operations.writes);
        writes.filter(|write| write.acknowledged.is_some()).count()
    }

    /// Whether every read showed all that was acknowledged before it began, and nothing that nobody wrote.
    ///
    /// # Errors
    /// The first [`MissedWrite`].
    pub fn check(&self) -> Result<(), MissedWrite> {
        for (key, operations) in &self.keys {
            for read in &operations.reads {
                operations.check(read).map_err(|what| MissedWrite {
                    key: key.clone(),
                    began: read.began,
                    ended: read.ended,
                    what,
                })?;
            }
        }
        Ok(())
    }
}

impl Operations {
    fn check(&self, read: &Shown) -> Result<(), String> {
        match &read.saw {
            Saw::Number(shown) => self.check_number(read, *shown),
            Saw::Value(shown) => self.check_value(read, *shown),
            Saw::Members(shown) => self.check_members(read, shown),
        }
    }

    fn check_number(&self, read: &Shown, shown: u64) -> Result<(), String> {
        let sum = |counts: &dyn Fn(&Written) -> bool| -> u64 {
            let added = self.writes.iter().filter(|write| counts(write)).map(|write| match write.effect {
                Effect::Add(amount) => amount,
                Effect::Set { .. } | Effect::Insert(_) | Effect::Remove(_) => 0,
            });
            added.sum()
        };
        let least = sum(&|write| write.is_acknowledged_before(read.began));
        let most = sum(&|write| write.began < read.ended);
        if shown < least {
            return Err(format!("{shown}, and {least} was acknowledged before it"));
        }
        if shown > most {
            return Err(format!("{shown}, and no more than {most} was ever added"));
        }
        Ok(())
    }

    fn check_value(&self, read: &Shown, shown: Option<u64>) -> Result<(), String> {
        let before: Vec<&Written> =
            self.writes.iter().filter(|write| write.is_acknowledged_before(read.began)).collect();
        let Some(shown) = shown else {
            return if before.is_empty() {
                Ok(())
            } else {
                Err("nothing, and a value was acknowledged before it".to_owned())
            };
        };
        let is_shown = |write: &&Written| matches!(write.effect, Effect::Set { value, .. } if value == shown);
        let Some(write) = self.writes.iter().find(is_shown).filter(|write| write.began < read.ended) else {
            return Err(format!("{shown}, which nobody had set"));
        };
        let writer = |write: &Written| match write.effect {
            Effect::Set { writer, .. } => Some(writer),
            Effect::Add(_) | Effect::Insert(_) | Effect::Remove(_) => None,
        };
        let later = before.iter().find(|other| other.began > write.began && writer(other) == writer(write));
        match later {
            Some(later) => {
                Err(format!("{shown}, and its writer's next, {:?}, was acknowledged before it", later.effect))
            }
            None => Ok(()),
        }
    }

    fn check_members(&self, read: &Shown, shown: &BTreeSet<u64>) -> Result<(), String> {
        for write in &self.writes {
            match write.effect {
                Effect::Insert(member) if write.is_acknowledged_before(read.began) && !shown.contains(&member) => {
                    let may_be_removed =
                        self.writes.iter().any(|w| w.effect == Effect::Remove(member) && w.began < read.ended);
                    if !may_be_removed {
                        return Err(format!("no {member}, which was acknowledged before it"));
                    }
                }
                Effect::Remove(member) if write.is_acknowledged_before(read.began) && shown.contains(&member) => {
                    return Err(format!("{member}, whose removal was acknowledged before it"));
                }
                Effect::Insert(_) | Effect::Remove(_) | Effect::Add(_) | Effect::Set { .. } => {}
            }
        }
        let is_written = |member: &u64| {
            self.writes.iter().any(|write| write.effect == Effect::Insert(*member) && write.began < read.ended)
        };
        match shown.iter().find(|member| !is_written(member)) {
            Some(member) => Err(format!("{member}, which nobody had added")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn history() -> Acknowledged {
        let mut history = Acknowledged::new();
        history.wrote("n", Effect::Add(5), 1, Some(3)).wrote("n", Effect::Add(2), 4, None);
        history.wrote("r", Effect::Set { writer: 1, value: 10 }, 1, Some(3));
        history.wrote("r", Effect::Set { writer: 1, value: 11 }, 4, Some(6));
        history.wrote("r", Effect::Set { writer: 2, value: 20 }, 5, None);
        history.wrote("s", Effect::Insert(1), 1, Some(3)).wrote("s", Effect::Insert(2), 4, None);
        history.wrote("s", Effect::Remove(1), 8, Some(10));
        history
    }

    fn with(key: &str, began: Tick, saw: Saw) -> Result<(), MissedWrite> {
        history().read(key, began, began + 1, saw).check()
    }

    fn members(members: impl IntoIterator<Item = u64>) -> Saw {
        Saw::Members(members.into_iter().collect())
    }

    #[test]
    fn reads_that_may_be_pass() {
        for (key, began, saw) in [
            ("n", 2, Saw::Number(0)),
            ("n", 2, Saw::Number(5)),
            ("n", 7, Saw::Number(5)),
            ("n", 7, Saw::Number(7)),
            ("r", 2, Saw::Value(None)),
            ("r", 5, Saw::Value(Some(10))),
            ("r", 5, Saw::Value(Some(11))),
            ("r", 9, Saw::Value(Some(11))),
            ("r", 9, Saw::Value(Some(20))),
            ("s", 2, members([])),
            ("s", 7, members([1])),
            ("s", 7, members([1, 2])),
            ("s", 9, members([])),
            ("s", 11, members([2])),
        ] {
            assert_eq!(with(key, began, saw.clone()), Ok(()), "{key} {began} {saw:?}");
        }
    }

    #[test]
    fn reads_that_may_not_be_are_caught() {
        for (key, began, saw) in [
            ("n", 7, Saw::Number(2)),
            ("n", 7, Saw::Number(8)),
            ("n", 2, Saw::Number(7)),
            ("r", 7, Saw::Value(None)),
            ("r", 7, Saw::Value(Some(10))),
            ("r", 7, Saw::Value(Some(99))),
            ("s", 5, members([])),
            ("s", 5, members([1, 9])),
            ("s", 11, members([1])),
        ] {
            assert!(with(key, began, saw.clone()).is_err(), "{key} {began} {saw:?}");
        }
    }
}
