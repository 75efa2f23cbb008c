//! How strong reads and writes are on the active-active plane: per keyspace, and per call.
//!
//! By default both are local: one region at local latency, and the others hear of a write when a link brings it. A keyspace
//! can ask for more in its configuration (`read = "majority"`, `write = "majority"`), and a call by
//! [`Keyspace::with_read`](crate::Keyspace::with_read) and [`Keyspace::with_write`](crate::Keyspace::with_write).
//!
//! | read | answers from | costs | cannot |
//! |---|---|---|---|
//! | `local` | the local region | a local round trip | see what no link has brought yet |
//! | `home` | the home region of the keyspace | a round trip there | be answered while that region is down |
//! | `merged:K` | the cells of the first K regions to answer, joined | a round trip to the K-th nearest; every region is asked | be answered while fewer than K regions are up |
//! | `majority` | `merged` of more than half of the regions | the same | the same |
//! | at least a token | the local region, once it has what a [session](crate::sessions) has seen | waiting for a link, if at all | be answered before |
//!
//! | write | returns when | costs | what is lost with one region |
//! |---|---|---|---|
//! | `local` | the local region has it | a local round trip | what no link had brought away |
//! | `replicated:N` | N replicas of the local region have it, too | one local round trip more, shared with other writers | nothing, if such a replica takes over |
//! | `regions:K` | K regions have it | a round trip to the K-th nearest, and three local ones | nothing, from K = 2 on |
//! | `majority`, `all` | more than half of the regions have it, or all | the same | nothing |
//!
//! **Promised.** A read of R regions sees every write that was acknowledged with W regions before the read began, if
//! R + W is greater than the number of regions, as long as the regions that were counted keep their data. So `majority` reads see
//! all `majority` writes, and go on while a minority of regions is down.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use archipelago::{Client, Embedded, ReadStrength, WriteStrength};
//! use std::time::Duration;
//!
//! let regions = Embedded::builder().region("ap").region("eu").region("us").build()?;
//! let us = Client::builder().embedded(&regions).local_region("us").build().await?;
//! let eu = Client::builder().embedded(&regions).local_region("eu").build().await?;
//! us.wait_converged(Duration::from_secs(5)).await?; // regions that never heard of each other take no pushes
//!
//! regions.isolate("ap")?;
//! let strict = us.keyspace("default")?.with_write(WriteStrength::Majority);
//! strict.register::<u32>("price").set(&120).await?; // us and eu have it
//! let price = eu.keyspace("default")?.with_read(ReadStrength::Majority).register::<u32>("price").get().await?;
//! assert_eq!(price, Some(120));
//!
//! let everywhere = us.keyspace("default")?.with_write(WriteStrength::All).with_deadline(Duration::from_millis(50));
//! let error = everywhere.register::<u32>("price").set(&130).await.unwrap_err();
//! let reach = error.reach().expect("it says who has it");
//! assert_eq!(reach.has, ["us", "eu"]);
//! assert_eq!(reach.lacks[0].place, "ap");
//! # us.shut_down().await; eu.shut_down().await; Ok(()) }
//! ```
//!
//! **When too few answer.** A write is applied locally first. If then too few regions say in time that they have it, the call
//! fails with [`ErrorKind::PartlyApplied`](crate::ErrorKind::PartlyApplied), and [`Error::reach`](crate::Error::reach) says who
//! has it, who may, and who does not. It is not undone, and links still bring it everywhere: repeat it only if applying it
//! twice is harmless. A read fails with [`ErrorKind::TooFewAnswers`](crate::ErrorKind::TooFewAnswers) and says what became of
//! each region. Both end by the keyspace's deadline, one second by default, and as soon as enough regions have answered; which
//! replicas have not confirmed is told at most two seconds after it.
//!
//! **Not promised.**
//! - An order of all operations (linearizability): two concurrent reads may see two concurrent writes in different orders, and a write that
//!   failed may be seen by one read and not by the next. Values merge as ever: a `majority` write does not lock anybody out.
//! - Deletions of large keys. A write with regions that clears a key, or writes one with an expiry, reads that key whole and
//!   pushes it in one piece: delete a key of more than a few thousand members with `local`, or `replicated:N`. Such a
//!   removal goes in steps, here as ever; if the deadline ends it, it fails with
//!   [`ErrorKind::PartlyApplied`](crate::ErrorKind::PartlyApplied), the text says how many members are gone, nobody was
//!   pushed anything, and the same call goes on with the rest.
//! - Anything about several keys at once.
//! - That a region which has just started, or lost its data, counts: it takes pushes only once it has completed a resync with
//!   the region that wrote. Its data is then behind nobody's removals.
//! - That a token of a session is satisfied by a push. It is by the log, which may come a moment later: a session never
//!   misses what it was shown, but may wait for it.
//!
//! **Read repair.** What a merged read finds in other regions and the local one lacks is pushed to the local one behind the
//! answer, at most 100 keys a second.

mod parse;
mod reach;
mod repair;

use std::time::Duration;

use archipelago_engine::RegionId;

pub use self::{
    parse::StrengthError,
    reach::{Missed, Reach},
};
pub(crate) use self::{
    reach::Progress,
    repair::{Found, Repairs},
};

/// How many regions a read asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadStrength {
    /// The local region.
    #[default]
    Local,
    /// The home region of the keyspace.
    Home,
    /// The joined cells of the first so many regions to answer.
    Merged(u16),
    /// The joined cells of more than half of the regions.
    Majority,
}

/// Who has a write when the call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteStrength {
    /// The local region.
    #[default]
    Local,
    /// And so many of its replicas.
    Replicated(u16),
    /// So many regions, the local one included.
    Regions(u16),
    /// More than half of the regions.
    Majority,
    /// Every region.
    All,
}

const fn majority(members: usize) -> usize {
    members / 2 + 1
}

impl ReadStrength {
    /// How many regions' cells are joined; `None` where one region answers by itself.
    pub(crate) fn quorum(self, members: usize) -> Option<usize> {
        match self {
            Self::Local | Self::Home => None,
            Self::Merged(regions) => Some(usize::from(regions)),
            Self::Majority => Some(majority(members)),
        }
    }
}

impl WriteStrength {
    /// How many regions have to have a write.
    pub(crate) fn quorum(self, members: usize) -> Option<usize> {
        match self {
            Self::Local | Self::Replicated(_) => None,
            Self::Regions(regions) => Some(usize::from(regions)),
            Self::Majority => Some(majority(members)),
            Self::All => Some(members),
        }
    }
}

/// What a keyspace asks for.
#[derive(Clone, Debug)]
pub(crate) struct Strengths {
    pub(crate) read: ReadStrength,
    pub(crate) write: WriteStrength,
    pub(crate) home: Option<RegionId>,
    pub(crate) deadline: Duration,
    /// How many regions the keyspace has, whether this client knows them all or not.
    pub(crate) members: usize,
}
