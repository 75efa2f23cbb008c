//! What a call asks for, as far as routing cares.

use std::time::Duration;

use super::RegionIndex;

/// Whether a call changes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It does not.
    Read,
    /// It does, or may.
    Write,
}

/// What a call asks for, as far as routing cares.
///
/// ```
/// use std::time::Duration;
/// use archipelago::routing::{Access, Request};
///
/// let request = Request::read().with_key(b"user:1").with_max_staleness(Duration::from_secs(1));
/// assert_eq!((request.access, request.key), (Access::Read, Some(&b"user:1"[..])));
/// assert!(!request.needs_primary);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// Whether it changes data.
    pub access: Access,
    /// Its key, the first of several; `None` for commands without one.
    pub key: Option<&'a [u8]>,
    /// The user's home region, if known.
    pub home: Option<RegionIndex>,
    /// How far behind an answer may be; `None` for no bound but the policy's own. Every policy obeys it.
    pub max_staleness: Option<Duration>,
    /// Whether only the primary will do: a session that has to read its own write.
    pub needs_primary: bool,
    /// Drawn by the caller for each request. Policies have no other source of chance, so that a plan can be repeated.
    pub random: u64,
}

impl<'a> Request<'a> {
    const fn new(access: Access) -> Self {
        Self { access, key: None, home: None, max_staleness: None, needs_primary: false, random: 0 }
    }

    /// A read without key, home or bound.
    #[must_use]
    pub const fn read() -> Self {
        Self::new(Access::Read)
    }

    /// A write without key or home.
    #[must_use]
    pub const fn write() -> Self {
        Self::new(Access::Write)
    }

    /// The same request for this key.
    #[must_use]
    pub const fn with_key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// The same request of a user with this home region.
    #[must_use]
    pub const fn with_home(mut self, home: RegionIndex) -> Self {
        self.home = Some(home);
        self
    }

    /// The same request, content with answers this far behind.
    #[must_use]
    pub const fn with_max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }

    /// The same request, for a session that has to read its own write.
    #[must_use]
    pub const fn needing_primary(mut self) -> Self {
        self.needs_primary = true;
        self
    }

    /// The same request with this draw.
    #[must_use]
    pub const fn with_random(mut self, random: u64) -> Self {
        self.random = random;
        self
    }
}
