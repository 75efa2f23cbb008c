//! Which node a command is for.

/// Which node a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// The node that serves its keys: see [`Command::keys`](super::Command::keys), of which there is at least one.
    Keyed,
    /// No key, changes nothing: any node of the read plan. PING, TIME, INFO, DBSIZE, `EVAL_RO` without keys. The answer is
    /// that node's own.
    Anywhere,
    /// No key, may change something: the writer. PUBLISH, FLUSHALL, `EVAL` without keys.
    Writer,
    /// Every node that may later run a script, primaries and replicas: SCRIPT LOAD, SCRIPT FLUSH and SCRIPT EXISTS. Servers
    /// since Redis 7 do not replicate the script cache. All must succeed; SCRIPT EXISTS is true where all say so.
    EveryNode,
    /// Every primary, whose replicas get it by replication: FUNCTION LOAD, DELETE, FLUSH and RESTORE. All must succeed.
    EveryPrimary,
    /// The node that issued the cursor: SCAN, CLUSTERSCAN, FT.CURSOR. Cursor 0 starts at any node of the read plan.
    /// HSCAN, SSCAN and ZSCAN have a key and are [`Placement::Keyed`]; all calls of one scan must go to one node, too.
    Cursor,
}

impl Placement {
    /// Where both of two commands can run together, the one that is harder to please deciding.
    pub(super) fn with(self, other: Self) -> Self {
        if self.demands() < other.demands() { other } else { self }
    }

    const fn demands(self) -> u8 {
        match self {
            Self::Anywhere => 0,
            Self::EveryNode => 1,
            Self::Cursor => 2,
            Self::EveryPrimary => 3,
            Self::Writer => 4,
            Self::Keyed => 5,
        }
    }
}
