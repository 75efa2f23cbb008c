//! The counter: a number to which every region adds.

use archipelago_engine::{Amount, Mutation, Outcome};
use bytes::Bytes;

use super::{Handle, common_methods, optional, unexpected};
use crate::{
    error::{Error, ErrorKind},
    store::Query,
};

/// An integer to which every region adds; no increment is lost.
///
/// Exact to ±2^53. Not for stock or quotas, where two regions may spend the last unit at once: use [`Stock`](crate::Stock).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let views = client.counter("page_views");
/// assert_eq!(views.add(2).await?, 2);
/// assert_eq!(views.add(-1).await?, 1);
/// assert_eq!(views.get().await?, 1);
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Counter {
    pub(crate) handle: Handle,
}

impl Counter {
    /// Adds `amount` and returns the value this region now sees.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] on overflow or when the value is no integer; [`ErrorKind::MaybeApplied`] when no answer
    /// came: repeating it may count twice.
    pub async fn add(&self, amount: i64) -> Result<i64, Error> {
        match self.handle.write(addition(Bytes::new(), amount)).await? {
            Outcome::Sum(value) => integer_from(&value),
            other => Err(unexpected(&other)),
        }
    }

    /// The value this region sees; 0 when absent.
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the value is no integer; else see [`ErrorKind`].
    pub async fn get(&self) -> Result<i64, Error> {
        optional(self.handle.read(Query::Value).await?)?.map_or(Ok(0), |value| integer_from(&value))
    }

    /// Sets the value: increments that this region has not seen yet still count on top of it.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub async fn set(&self, value: i64) -> Result<(), Error> {
        self.handle.write(Mutation::set(value.to_string())).await.map(drop)
    }
}

pub(super) fn addition(member: Bytes, amount: i64) -> Mutation {
    Mutation::Add { member, amount: Amount::Integer(amount) }
}

pub(crate) fn integer_from(value: &Bytes) -> Result<i64, Error> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::Serialization, "the value is no integer"))
}

common_methods!(Counter);
