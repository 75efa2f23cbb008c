//! The max and min register: the extreme of all numbers ever submitted.

use super::{Handle, common_methods, number, optional, sorted_set::insertion};
use crate::{error::Error, store::Query};

/// The highest, or the lowest, number ever submitted in any region: a high-water mark, an earliest time.
///
/// A number that does not improve on the one this region sees changes nothing. [`ExtremeRegister::delete`] starts over;
/// a number this region has not seen survives it.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let peak = eu.max_register("peak");
/// assert!(peak.submit(7.0).await?);
/// assert!(!peak.submit(3.0).await?);
/// us.max_register("peak").submit(9.5).await?;
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(peak.get().await?, Some(9.5));
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ExtremeRegister {
    pub(crate) handle: Handle,
}

impl ExtremeRegister {
    /// Submits a number; says whether it is the extreme so far, as this region sees it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] for NaN; else see [`crate::ErrorKind`]. Repeating it does no harm.
    pub async fn submit(&self, value: f64) -> Result<bool, Error> {
        Ok(self.handle.assign(insertion("", value)?).await?.changed > 0)
    }

    /// The extreme; `None` when nothing was submitted.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn get(&self) -> Result<Option<f64>, Error> {
        optional(self.handle.read(Query::Value).await?)?.as_ref().map(number).transpose()
    }
}

common_methods!(ExtremeRegister);
