//! The set: members, each present or not; a concurrent add wins over a remove.

use std::collections::BTreeSet;

use archipelago_engine::Mutation;
use bytes::Bytes;

use super::{Handle, array, common_methods, integer, optional};
use crate::{error::Error, store::Query};

/// A set of byte strings. A remove removes what it has seen, so an add that was concurrent survives.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let tags = client.set("tags");
/// assert!(tags.add("new").await?);
/// assert!(!tags.add("new").await?);
/// assert!(tags.contains("new").await?);
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Set {
    pub(crate) handle: Handle,
}

impl Set {
    /// Adds a member; says whether it is new here.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn add(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.add_all([member]).await? == 1)
    }

    /// Adds members; says how many are new here. At most 10,000 at once.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn add_all<M: Into<Bytes>>(&self, members: impl IntoIterator<Item = M>) -> Result<u64, Error> {
        Ok(self.handle.assign(addition(members)).await?.added)
    }

    /// Removes a member; says whether it was there.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn remove(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.handle.remove(vec![member.into()]).await? == 1)
    }

    /// Removes members; says how many were there. At most 10,000 at once.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn remove_all<M: Into<Bytes>>(&self, members: impl IntoIterator<Item = M>) -> Result<u64, Error> {
        self.handle.remove(members.into_iter().map(Into::into).collect()).await
    }

    /// Whether a member is there.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn contains(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(integer(&self.handle.read(Query::Contains(member.into())).await?)? == 1)
    }

    /// All members, in byte order.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn members(&self) -> Result<BTreeSet<Bytes>, Error> {
        let members = array(self.handle.read(Query::Members).await?)?;
        members.into_iter().map(|member| Ok(optional(member)?.unwrap_or_default())).collect()
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

pub(super) fn addition<M: Into<Bytes>>(members: impl IntoIterator<Item = M>) -> Mutation {
    Mutation::assign(members.into_iter().map(|member| (member.into(), Bytes::new())))
}

common_methods!(Set);
