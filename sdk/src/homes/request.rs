//! What is known of a user whose home is asked for.

use std::net::IpAddr;

use super::Place;

/// What is known of a user whose home is asked for. Nothing has to be.
///
/// ```
/// use archipelago::homes::{HomeRequest, Place};
///
/// let by_address = HomeRequest::new().with_address("81.2.69.142".parse()?);
/// let by_account = HomeRequest::new().with_place(Place::in_country("GB".parse()?)).with_pin("eu-west-1");
/// assert!(by_account.pin.is_some() && by_address.pin.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HomeRequest<'a> {
    /// The region that the user, or the application on their behalf, chose.
    pub pin: Option<&'a str>,
    /// Where the user is, known by other means than an address: an account, a header of a CDN. The address is not
    /// looked up then: what one says does not complete what the other says, for they may be two places.
    pub place: Option<Place>,
    /// The user's address.
    pub address: Option<UserAddress>,
}

/// An address as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAddress {
    /// An address.
    Ip(IpAddr),
    /// A text that is none.
    Malformed,
}

impl<'a> HomeRequest<'a> {
    /// Of a user of whom nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { pin: None, place: None, address: None }
    }

    /// The same user, who chose this region.
    #[must_use]
    pub const fn with_pin(mut self, region: &'a str) -> Self {
        self.pin = Some(region);
        self
    }

    /// The same user, who is known to be here.
    #[must_use]
    pub const fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same user, at this address. Behind proxies, take it from
    /// [`TrustedProxies::client`](super::TrustedProxies::client).
    #[must_use]
    pub const fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(UserAddress::Ip(address));
        self
    }

    /// The same user, at the address in this text; one that is no address counts as unknown, with that as the reason.
    #[must_use]
    pub fn with_address_text(mut self, text: &str) -> Self {
        self.address = Some(text.trim_ascii().parse().map_or(UserAddress::Malformed, UserAddress::Ip));
        self
    }
}
