//! The HyperLogLog: about how many distinct elements were seen, in all regions together.

use archipelago_engine::{Mutation, Outcome, Registers};
use bytes::Bytes;

use super::{Handle, common_methods, integer, optional, unexpected};
use crate::{
    error::{Error, ErrorKind},
    store::Query,
};

/// About how many distinct elements were seen: unique visitors. The error is 0.81 %, the size at most 12 KiB.
///
/// What several regions add is united, so an element that two of them have seen counts once. Deleting is stronger than
/// adding: it removes what other regions add at the same time, too. Redis's own registers, so PFCOUNT reads the view.
///
/// Every addition that changes a register ships all registers to the other regions, up to 12 KiB; one that changes none
/// is a read. Use a [`Set`](crate::Set) for few elements, or where you need to know which.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let (today, week) = (client.hyperloglog("visitors:today"), client.hyperloglog("visitors:week"));
/// assert!(today.add("ada").await?);
/// assert!(!today.add("ada").await?);
/// week.add_all(["ada", "bob"]).await?;
/// assert_eq!(today.count_with(&[&week]).await?, 2);
/// today.merge(&[&week]).await?;
/// assert_eq!(today.count().await?, 2);
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct HyperLogLog {
    pub(crate) handle: Handle,
}

impl HyperLogLog {
    /// Adds an element; says whether a register changed: `false` means that it counted already.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn add(&self, element: impl Into<Bytes>) -> Result<bool, Error> {
        self.add_all([element]).await
    }

    /// Adds elements; says whether a register changed. At most 10,000 at once. None at all makes an empty one.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn add_all<E: Into<Bytes>>(&self, elements: impl IntoIterator<Item = E>) -> Result<bool, Error> {
        self.observe(elements.into_iter().map(Into::into).collect(), None).await
    }

    /// About how many distinct elements this region sees.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn count(&self) -> Result<u64, Error> {
        Ok(integer(&self.handle.read(Query::Cardinality).await?)?.unsigned_abs())
    }

    /// About how many distinct elements there are in this one and the others together.
    ///
    /// Each is one read, one after the other: not all of one moment.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn count_with(&self, others: &[&Self]) -> Result<u64, Error> {
        Ok(union(std::iter::once(self).chain(others.iter().copied())).await?.count())
    }

    /// Adds all that the others have seen; says whether a register changed.
    ///
    /// The others are read first, so what they see meanwhile is left out.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn merge(&self, others: &[&Self]) -> Result<bool, Error> {
        self.observe(Vec::new(), Some(union(others.iter().copied()).await?)).await
    }

    async fn observe(&self, elements: Vec<Bytes>, union: Option<Registers>) -> Result<bool, Error> {
        match self.handle.write(Mutation::Observe { elements, union }).await? {
            Outcome::Observed(changed) => Ok(changed),
            other => Err(unexpected(&other)),
        }
    }

    async fn registers(&self) -> Result<Registers, Error> {
        let Some(bytes) = optional(self.handle.read(Query::Value).await?)? else {
            return Ok(Registers::default());
        };
        Registers::decode(&bytes).ok_or_else(|| Error::new(ErrorKind::Protocol, "a view is no HyperLogLog"))
    }
}

async fn union(all: impl Iterator<Item = &HyperLogLog>) -> Result<Registers, Error> {
    let mut union = Registers::default();
    for one in all {
        union.union(&one.registers().await?);
    }
    Ok(union)
}

common_methods!(HyperLogLog);
