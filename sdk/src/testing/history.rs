//! The four guarantees of sessions, as checks over what a test recorded.
//!
//! Source: Terry, Demers, Petersen, Spreitzer, Theimer, Welch: Session Guarantees for Weakly Consistent Replicated Data
//! (1994). There a guarantee speaks of whole databases; here of one key at a time, for that is what sessions promise.

use std::collections::{BTreeMap, BTreeSet};

use crate::sessions::Guarantee;

/// What sessions did, each step after the one before it, and what regions showed.
///
/// A write has a number that no other write of the history has. A read saw the writes that make up what it showed: of a
/// set its members; of a register the write it shows and those that this one replaced.
///
/// ```
/// use archipelago::{sessions::Guarantee, testing::History};
///
/// let mut history = History::new();
/// history.wrote("ada", "cart", 1).read("ada", "cart", [1]).wrote("ada", "cart", 2).read("ada", "cart", [1]);
/// let violation = history.check(Guarantee::ReadYourWrites).unwrap_err();
/// assert_eq!(violation.to_string(), "read your writes: ada read cart and did not see write 2");
/// assert_eq!(history.check(Guarantee::MonotonicReads), Ok(()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    steps: Vec<Step>,
    /// By region and key, the writes in the order in which they were shown.
    shown: BTreeMap<(String, String), Vec<u64>>,
}

#[derive(Clone, Debug)]
struct Step {
    session: String,
    key: String,
    did: Did,
}

#[derive(Clone, Debug)]
enum Did {
    Write(u64),
    Read(BTreeSet<u64>),
}

/// A guarantee that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", name(*.guarantee))]
pub struct Violation {
    /// Which one.
    pub guarantee: Guarantee,
    /// Who, where and what.
    pub what: String,
}

const fn name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites => "read your writes",
        Guarantee::MonotonicReads => "monotonic reads",
        Guarantee::MonotonicWrites => "monotonic writes",
        Guarantee::WritesFollowReads => "writes follow reads",
    }
}

impl History {
    /// A history in which nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session's write was acknowledged.
    pub fn wrote(&mut self, session: &str, key: &str, write: u64) -> &mut Self {
        self.step(session, key, Did::Write(write))
    }

    /// A session's read saw these writes.
    pub fn read(&mut self, session: &str, key: &str, saw: impl IntoIterator<Item = u64>) -> &mut Self {
        self.step(session, key, Did::Read(saw.into_iter().collect()))
    }

    /// A region shows a write as the newest of a key: what somebody who watches the key there sees, in this order. Only
    /// the guarantees of writes ask for it.
    pub fn shown(&mut self, region: &str, key: &str, write: u64) -> &mut Self {
        self.shown.entry((region.to_owned(), key.to_owned())).or_default().push(write);
        self
    }

    fn step(&mut self, session: &str, key: &str, did: Did) -> &mut Self {
        self.steps.push(Step { session: session.to_owned(), key: key.to_owned(), did });
        self
    }

    /// How many reads did not see everything that a guarantee asks for; of the guarantees of writes, how often a region
    /// showed what it may not show any more.
    #[must_use]
    pub fn count(&self, guarantee: Guarantee) -> usize {
        self.violations(guarantee).len()
    }

    /// Whether a guarantee holds, for every session of the history.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn check(&self, guarantee: Guarantee) -> Result<(), Violation> {
        match self.violations(guarantee).into_iter().next() {
            Some(what) => Err(Violation { guarantee, what }),
            None => Ok(()),
        }
    }

    fn violations(&self, guarantee: Guarantee) -> Vec<String> {
        match guarantee {
            Guarantee::ReadYourWrites => self.reads_missing(|did| match did {
                Did::Write(write) => BTreeSet::from([*write]),
                Did::Read(_) => BTreeSet::new(),
            }),
            Guarantee::MonotonicReads => self.reads_missing(|did| match did {
                Did::Write(_) => BTreeSet::new(),
                Did::Read(saw) => saw.clone(),
            }),
            Guarantee::MonotonicWrites => self.shown_again(|did| match did {
                Did::Write(write) => BTreeSet::from([*write]),
                Did::Read(_) => BTreeSet::new(),
            }),
            Guarantee::WritesFollowReads => self.shown_again(|did| match did {
                Did::Write(_) => BTreeSet::new(),
                Did::Read(saw) => saw.clone(),
            }),
        }
    }

    /// Reads that do not see what their session's steps before them oblige them to.
    fn reads_missing(&self, obliges: impl Fn(&Did) -> BTreeSet<u64>) -> Vec<String> {
        let mut due: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
        let mut found = Vec::new();
        for Step { session, key, did } in &self.steps {
            let due = due.entry((session, key)).or_default();
            if let Did::Read(saw) = did
                && let Some(missed) = due.difference(saw).next()
            {
                found.push(format!("{session} read {key} and did not see write {missed}"));
            }
            due.extend(obliges(did));
        }
        found
    }

    /// Writes that a region shows behind one that was to follow them.
    fn shown_again(&self, precede: impl Fn(&Did) -> BTreeSet<u64>) -> Vec<String> {
        let mut before: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
        // Of each write, those that it follows.
        let mut follows: BTreeMap<(&str, u64), BTreeSet<u64>> = BTreeMap::new();
        for Step { session, key, did } in &self.steps {
            let before = before.entry((session, key)).or_default();
            if let Did::Write(write) = did {
                follows.entry((key, *write)).or_default().extend(before.iter().filter(|earlier| *earlier != write));
            }
            before.extend(precede(did));
        }
        let mut found = Vec::new();
        for ((region, key), writes) in &self.shown {
            // Of each write that may not be shown any more, the one that followed it.
            let mut over: BTreeMap<u64, u64> = BTreeMap::new();
            for write in writes {
                if let Some(later) = over.get(write) {
                    found.push(format!("{region} showed {key} by write {write} after {later}, which followed it"));
                }
                let earlier = follows.get(&(key.as_str(), *write)).into_iter().flatten();
                over.extend(earlier.map(|earlier| (*earlier, *write)));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Guarantee; 4] = [
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::MonotonicWrites,
        Guarantee::WritesFollowReads,
    ];

    /// Which guarantees a history breaks.
    fn broken(history: &History) -> Vec<Guarantee> {
        ALL.into_iter().filter(|guarantee| history.check(*guarantee).is_err()).collect()
    }

    #[test]
    fn a_good_history_breaks_nothing() {
        let mut good = History::new();
        good.wrote("a", "k", 1).read("b", "k", []).read("a", "k", [1]).read("b", "k", [1]);
        good.wrote("b", "k", 2).read("b", "k", [1, 2]).wrote("a", "k", 3).read("a", "k", [1, 2, 3]);
        // The far region never showed the first.
        good.shown("near", "k", 1)
            .shown("near", "k", 2)
            .shown("near", "k", 3)
            .shown("far", "k", 2)
            .shown("far", "k", 3);
        assert_eq!(broken(&good), []);
        assert_eq!(broken(&History::new()), []);
    }

    #[test]
    fn a_read_without_the_sessions_own_write_is_caught() {
        let mut history = History::new();
        history.wrote("a", "k", 1).wrote("a", "k", 2).read("a", "k", [2]);
        assert_eq!(broken(&history), [Guarantee::ReadYourWrites]);
    }

    #[test]
    fn a_read_that_goes_back_is_caught() {
        let mut history = History::new();
        history.wrote("a", "k", 1).read("b", "k", [1]).read("b", "k", []);
        assert_eq!(broken(&history), [Guarantee::MonotonicReads]);
    }

    #[test]
    fn a_region_that_shows_the_earlier_of_two_writes_last_is_caught() {
        let mut history = History::new();
        history.wrote("a", "k", 1).wrote("a", "k", 2).shown("far", "k", 2).shown("far", "k", 1);
        assert_eq!(broken(&history), [Guarantee::MonotonicWrites]);
    }

    #[test]
    fn a_region_that_shows_what_was_answered_behind_the_answer_is_caught() {
        let mut history = History::new();
        history.wrote("a", "k", 1).read("b", "k", [1]).wrote("b", "k", 2);
        history.shown("far", "k", 1).shown("far", "k", 2).shown("far", "k", 1);
        assert_eq!(broken(&history), [Guarantee::WritesFollowReads]);
    }

    #[test]
    fn sessions_and_keys_owe_each_other_nothing() {
        let mut history = History::new();
        history.wrote("a", "k", 1).read("b", "k", []).read("a", "other", []).wrote("b", "k", 2);
        history.shown("far", "k", 2).shown("far", "k", 1);
        assert_eq!(broken(&history), []);
    }

    #[test]
    fn every_stale_read_counts() {
        let mut history = History::new();
        history.wrote("a", "k", 1).read("a", "k", []).read("a", "k", []).read("a", "k", [1]);
        assert_eq!(history.count(Guarantee::ReadYourWrites), 2);
    }
}
