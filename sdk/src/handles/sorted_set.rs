//! The sorted set: members with scores; increments of several regions add up.

use archipelago_engine::{Amount, Assignment, Mutation, MutationError, Order, Outcome, number as numbers};
use bytes::Bytes;

use super::{Handle, common_methods, number, unexpected};
use crate::{
    error::{Error, ErrorKind},
    store::{Bound, Query},
};

/// Members with scores: a leaderboard. `add` of several regions sums; `insert` sets the score.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let board = client.sorted_set("board");
/// board.insert("ada", 10.0).await?;
/// board.add("bob", 12.5).await?;
/// assert_eq!(board.top(1).await?, vec![("bob".into(), 12.5)]);
/// assert_eq!(board.rank("ada").await?, Some(1));
/// assert_eq!(board.page(1, 10).await?, vec![("ada".into(), 10.0)]);
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SortedSet {
    pub(crate) handle: Handle,
}

/// A range of scores. Both bounds are included unless they were built otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    min: Bound,
    max: Bound,
}

impl ScoreRange {
    /// From `min` to `max`, both included. `f64::NEG_INFINITY` and `f64::INFINITY` leave a side open.
    #[must_use]
    pub const fn new(min: f64, max: f64) -> Self {
        Self { min: Bound::inclusive(min), max: Bound::inclusive(max) }
    }

    /// The same range without its upper bound itself.
    #[must_use]
    pub const fn below_max(mut self) -> Self {
        self.max.exclusive = true;
        self
    }

    /// The same range without its lower bound itself.
    #[must_use]
    pub const fn above_min(mut self) -> Self {
        self.min.exclusive = true;
        self
    }

    pub(super) fn query(self, reverse: bool, limit: u32) -> Query {
        Query::RangeByScore { min: self.min, max: self.max, reverse, limit: Some((0, i64::from(limit))) }
    }
}

impl SortedSet {
    /// Sets a member's score; says whether the member is new here.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for NaN; else see [`ErrorKind`].
    pub async fn insert(&self, member: impl Into<Bytes>, score: f64) -> Result<bool, Error> {
        Ok(self.handle.assign(insertion(member, score)?).await?.added > 0)
    }

    /// Sets a member's score if it is higher than the one this region sees; says whether the member is new here.
    ///
    /// # Errors
    /// As [`SortedSet::insert`].
    pub async fn raise(&self, member: impl Into<Bytes>, score: f64) -> Result<bool, Error> {
        let mut mutation = insertion(member, score)?;
        if let Mutation::Assign(assignment) = &mut mutation {
            *assignment = Assignment { order: Order::Greater, ..std::mem::take(assignment) };
        }
        Ok(self.handle.assign(mutation).await?.added > 0)
    }

    /// Adds to a member's score and returns the score this region now sees.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the sum is no number; [`ErrorKind::MaybeApplied`] when no answer came: repeating it
    /// may count twice.
    pub async fn add(&self, member: impl Into<Bytes>, amount: f64) -> Result<f64, Error> {
        match self.handle.write(addition(member, amount)).await? {
            Outcome::Sum(score) => number(&score),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes a member; says whether it was there. Increments this region has not seen survive.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn remove(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.handle.remove(vec![member.into()]).await? == 1)
    }

    /// A member's score; `None` when absent.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn score(&self, member: impl Into<Bytes>) -> Result<Option<f64>, Error> {
        self.handle.score(member.into()).await
    }

    /// A member's place, 0 being the highest score; `None` when absent.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn rank(&self, member: impl Into<Bytes>) -> Result<Option<u64>, Error> {
        self.handle.rank(member.into(), true).await
    }

    /// The members with the `count` highest scores, highest first.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn top(&self, count: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.page(0, count).await
    }

    /// The `count` members behind the first `skip`, highest score first.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn page(&self, skip: u32, count: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.handle.page(skip, count, true).await
    }

    /// The members whose scores lie in a range, lowest first, `limit` at most.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn range(&self, range: ScoreRange, limit: u32) -> Result<Vec<(Bytes, f64)>, Error> {
        self.handle.scored(range.query(false, limit)).await
    }

    /// How many members there are.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn len(&self) -> Result<u64, Error> {
        self.handle.count().await
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

pub(super) fn insertion(member: impl Into<Bytes>, score: f64) -> Result<Mutation, Error> {
    if score.is_nan() {
        return Err(Error::new(ErrorKind::Refused, MutationError::NotAFloat.to_string()));
    }
    Ok(Mutation::assign([(member.into(), numbers::show(score).into())]))
}

pub(super) fn addition(member: impl Into<Bytes>, amount: f64) -> Mutation {
    Mutation::Add { member: member.into(), amount: Amount::Float(amount) }
}

common_methods!(SortedSet);
