//! Best scores: members with the best score each ever submitted.

use archipelago_engine::Kind;
use bytes::Bytes;

use super::{Handle, ScoreRange, common_methods, sorted_set::insertion};
use crate::error::Error;

/// Members with the best score each ever submitted: the highest, or the lowest (a lap time).
///
/// A score that does not improve on the one this region sees changes nothing. Of scores submitted concurrently in several
/// regions the best stays, whatever arrives when. Scores do not add up: for points that do, use a
/// [`SortedSet`](super::SortedSet).
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let board = eu.high_scores("board");
/// assert!(board.submit("ada", 100.0).await?);
/// assert!(!board.submit("ada", 50.0).await?);
/// us.high_scores("board").submit("ada", 120.0).await?; // us has not heard of the 100 yet
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(board.score("ada").await?, Some(120.0));
/// assert_eq!(board.rank("ada").await?, Some(0));
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BestScores {
    pub(crate) handle: Handle,
}

impl BestScores {
    /// Whether the highest score is the first one.
    fn highest_first(&self) -> bool {
        self.handle.key.kind == Kind::HighScores
    }

    /// Submits a score; says whether it is the member's best so far, as this region sees it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] for NaN; else see [`crate::ErrorKind`].
    pub async fn submit(&self, member: impl Into<Bytes>, score: f64) -> Result<bool, Error> {
        Ok(self.handle.assign(insertion(member, score)?).await?.changed > 0)
    }

    /// Removes a member; says whether it was there. A score this region has not seen survives.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn remove(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.handle.remove(vec![member.into()]).await? == 1)
    }

    /// A member's best score; `None` when absent.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn score(&self, member: impl Into<Bytes>) -> Result<Option<f64>, Error> {
        self.handle.score(member.into()).await
    }

    /// A member's place, 0 being the best; `None` when absent.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn rank(&self, member: impl Into<Bytes>) -> Result<Option<u64>, Error> {
        self.handle.rank(member.into(), self.highest_first()).await
    }

    /// The best `count` members, best first.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn top(&self, count: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.page(0, count).await
    }

    /// The best `count` members behind the first `skip`, best first.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn page(&self, skip: u32, count: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.handle.page(skip, count, self.highest_first()).await
    }

    /// The members whose scores lie in a range, best first, `limit` at most.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn range(&self, range: ScoreRange, limit: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.handle.scored(range.query(self.highest_first(), limit)).await
    }

    /// How many members there are.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn len(&self) -> Result<u64, Error> {
        self.handle.count().await
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

common_methods!(BestScores);
