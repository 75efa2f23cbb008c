//! The flag: on or off, with a choice of who wins.

use archipelago_engine::Mutation;

use super::{Handle, common_methods, optional};
use crate::{
    error::{Error, ErrorKind},
    store::{Query, Reply},
};

/// On, off or unset. Of concurrent writes *on* wins in an enable-wins flag, *off* in a disable-wins flag: which side must
/// not be lost is said by the type, not by clocks.
///
/// A write overrides what its region has seen, so a flag that was switched off everywhere can be switched on again. The
/// two are two types: one name may be both, and neither knows of the other.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let checkout = eu.disable_wins_flag("checkout");
/// assert_eq!(checkout.get().await?, None);
/// checkout.enable().await?;
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// checkout.disable().await?;
/// us.disable_wins_flag("checkout").enable().await?; // later, but without having seen that
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert!(!us.disable_wins_flag("checkout").is_on().await?);
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Flag {
    pub(crate) handle: Handle,
}

impl Flag {
    /// Switches on.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`]. Repeating it does no harm.
    pub async fn enable(&self) -> Result<(), Error> {
        self.set(true).await
    }

    /// Switches off.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`]. Repeating it does no harm.
    pub async fn disable(&self) -> Result<(), Error> {
        self.set(false).await
    }

    /// Switches on or off.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`]. Repeating it does no harm.
    pub async fn set(&self, on: bool) -> Result<(), Error> {
        self.handle.assign(Self::setting_of(on)).await.map(drop)
    }

    /// On or off; `None` when unset.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn get(&self) -> Result<Option<bool>, Error> {
        on_or_off(self.handle.read(Query::Value).await?)
    }

    pub(super) fn setting_of(on: bool) -> Mutation {
        Mutation::set(if on { "1" } else { "0" })
    }

    /// Whether it is on. Unset is off.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn is_on(&self) -> Result<bool, Error> {
        Ok(self.get().await? == Some(true))
    }
}

/// What a flag's value says.
pub(crate) fn on_or_off(reply: Reply) -> Result<Option<bool>, Error> {
    match optional(reply)?.as_deref() {
        None => Ok(None),
        Some(b"1") => Ok(Some(true)),
        Some(b"0") => Ok(Some(false)),
        Some(_) => Err(Error::new(ErrorKind::Serialization, "the value is no flag")),
    }
}

common_methods!(Flag);
