//! Siblings: concurrent writes are all kept, and the application decides.

use std::{fmt, marker::PhantomData};

use archipelago_engine::{Field, Mutation, Origin, Version};
use bytes::Bytes;
use futures_util::future::ready;
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, Handle, Json, common_methods, optional, unreadable::decode};
use crate::{
    error::{Error, ErrorKind},
    store::Query,
};

/// How often a decision is made anew because somebody wrote meanwhile.
const ROUNDS: usize = 8;

/// One value of any serde type; concurrent writes of several regions are all kept, for the application to decide.
///
/// [`Siblings::get`] shows the latest, as a [`Register`](super::Register) does. [`Siblings::values`] shows all, and
/// [`Siblings::resolve`] writes the application's decision back, so that all regions agree on it. A decision replaces the
/// siblings it was about and no other: what another region wrote meanwhile stays beside it. Where two regions decide at
/// once, the two outcomes are siblings again, unless they are equal: a resolver that answers the same for the same
/// siblings ends that.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let (here, there) = (eu.siblings::<Vec<String>>("cart"), us.siblings::<Vec<String>>("cart"));
/// here.set(&["book".to_owned()]).await?;
/// there.set(&["lamp".to_owned()]).await?;
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(here.values().await?.len(), 2);
///
/// let union = |carts: Vec<Vec<String>>| {
///     let mut all = carts.concat();
///     all.sort();
///     all.dedup();
///     Ok::<_, std::convert::Infallible>(all)
/// };
/// assert_eq!(here.resolve(union).await?, Some(vec!["book".to_owned(), "lamp".to_owned()]));
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(there.values().await?, [["book", "lamp"]]);
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
pub struct Siblings<T, C = Json> {
    pub(crate) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for Siblings<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<T, C> fmt::Debug for Siblings<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Siblings").field("key", &self.handle.key).finish_non_exhaustive()
    }
}

/// The siblings as they stood at one moment, and what they were.
struct Seen {
    payloads: Vec<Bytes>,
    context: Vec<(Origin, Version)>,
}

impl<T, C> Siblings<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, types: PhantomData }
    }

    /// The same value with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> Siblings<T, D> {
        Siblings::new(self.handle)
    }

    async fn seen(&self) -> Result<Seen, Error> {
        let (state, now) = self.handle.cells().await?;
        let over = state.deadline().is_some_and(|deadline| deadline.is_past(now));
        let cells = state.fields.get(&Field::VALUE).filter(|_| !over).map(|stamped| &stamped.cells);
        let payloads = cells.map(|cells| cells.siblings().into_iter().cloned().collect()).unwrap_or_default();
        Ok(Seen { payloads, context: cells.map(|cells| cells.context()).unwrap_or_default() })
    }
}

impl<T, C: Codec> Siblings<T, C> {
    /// Sets the value in place of every sibling this region sees, and removes any expiry.
    ///
    /// # Errors
    /// [`ErrorKind::MaybeApplied`] when no answer came; else see [`ErrorKind`].
    pub async fn set<V: Serialize + ?Sized>(&self, value: &V) -> Result<(), Error> {
        self.handle.assign(Mutation::set(C::encode(value)?)).await.map(drop)
    }
}

impl<T: DeserializeOwned, C: Codec> Siblings<T, C> {
    /// The latest value; `None` when absent. One native command.
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the stored bytes are no such value; else see [`ErrorKind`].
    pub async fn get(&self) -> Result<Option<T>, Error> {
        optional(self.handle.read(Query::Value).await?)?
            .map(|bytes| decode::<C, T>(&self.handle.key, &bytes))
            .transpose()
    }

    /// All values that were written without having seen each other, the earliest first; equal ones count once. Empty when
    /// absent.
    ///
    /// # Errors
    /// As [`Siblings::get`].
    pub async fn values(&self) -> Result<Vec<T>, Error> {
        self.seen().await?.payloads.iter().map(|payload| decode::<C, T>(&self.handle.key, payload)).collect()
    }
}

impl<T: Serialize + DeserializeOwned, C: Codec> Siblings<T, C> {
    /// Lets `resolver` decide between the siblings, writes its outcome back and returns it; with one value or none there
    /// is nothing to decide, and nothing is written.
    ///
    /// It is called again with what is there then when this region was written to meanwhile, a few times at most.
    ///
    /// # Errors
    /// [`ErrorKind::Load`] when the resolver fails: the siblings stay as they are. [`ErrorKind::Refused`] when writes kept
    /// coming in between. Else as [`Siblings::get`] and [`Siblings::set`].
    pub async fn resolve<E: fmt::Display>(
        &self,
        mut resolver: impl FnMut(Vec<T>) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        self.resolve_with(|values| ready(resolver(values))).await
    }

    /// As [`Siblings::resolve`], for a decision that takes a while: it asks a service, or a person.
    ///
    /// # Errors
    /// As [`Siblings::resolve`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the decision, or the wait for its being written.
    pub async fn resolve_with<E: fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        mut resolver: impl FnMut(Vec<T>) -> F,
    ) -> Result<Option<T>, Error> {
        for _ in 0..ROUNDS {
            let Seen { payloads, context } = self.seen().await?;
            let values = payloads.iter().map(|payload| decode::<C, T>(&self.handle.key, payload));
            let mut values = values.collect::<Result<Vec<T>, _>>()?;
            if values.len() < 2 {
                return Ok(values.pop());
            }
            let failed = |error: E| Error::new(ErrorKind::Load, format!("the resolver failed: {error}"));
            let value = resolver(values).await.map_err(failed)?;
            let payload = C::encode(&value)?;
            if self.handle.assign(Mutation::Resolve { payload, seen: context }).await?.assigned > 0 {
                return Ok(Some(value));
            }
        }
        Err(Error::new(ErrorKind::Refused, format!("the value was written to during {ROUNDS} decisions in a row")))
    }
}

common_methods!(Siblings<T, C>);
