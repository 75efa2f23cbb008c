//! Homes that stay, on servers: the [protocol](super::assignment) with connections around it.

mod commands;
mod connection;
#[cfg(all(test, feature = "testing"))]
mod differential;
mod home;
mod known;
mod moving;
mod region;
mod scripts;
mod user;

use std::{fmt, sync::Arc, time::Duration};

use archipelago_engine::RegionId;
use tokio::time::Instant;

pub use self::{
    connection::HomeConnection,
    home::{Home, HomeReason},
};
use self::{known::Known, region::Region, user::User};
use super::{
    HomeRequest, HomeResolver,
    assignment::{Assignment, owner_of},
};
use crate::{
    error::{Error, ErrorKind},
    routed::{Connection, Plane, RoutedKeyspace},
    routing::{HomeRegion, Profile, RegionInfo, RoutingConfig},
    sessions::SessionKind,
};

/// How long a migration may take, unless the caller says otherwise.
const MIGRATION: Duration = Duration::from_secs(30);

/// The homes of users: assigned once, the same in every process, and moved without losing a write.
///
/// From [`Client::homes`](crate::Client::homes), for a routed keyspace with `policy = "home-region"`. Cheap to clone. Needs
/// the feature `homes`, a `[homes]` table in the configuration (an empty one will do) and real servers: embedded regions run
/// no scripts.
///
/// ```no_run
/// # async fn visit(client: archipelago::Client, address: std::net::IpAddr) -> Result<(), Box<dyn std::error::Error>> {
/// use archipelago::homes::HomeRequest;
/// use redis::AsyncCommands;
///
/// let homes = client.homes("profiles")?;
/// // Decided at the first visit, by the rules of `[homes]`; the same answer in every process from then on.
/// let home = homes.home_of("user:7", &HomeRequest::new().with_address(address)).await?;
/// println!("{home}");
///
/// let mut user = homes.connection("user:7")?;                     // follows the user wherever they live
/// let visits: i64 = user.incr(user.key("visits"), 1).await?;      // the key is {user:7}:visits
///
/// homes.migrate_home("user:7", "eu-west-1").await?;
/// assert!(user.incr::<_, _, i64>(user.key("visits"), 1).await? > visits);
/// # Ok(()) }
/// ```
///
/// # Which keys are a user's
/// All keyspaces with `policy = "home-region"` share them, and the users' homes: data stay where the `residency` of every
/// one of these keyspaces allows, and a command at a home outside is refused until the user is moved.
///
/// A user's keys are those with the user's id as their hash tag, `{user:7}:cart` or `cart:{user:7}`, **that were written through
/// [`Homes::connection`]**: that is how a region knows which keys to move. Bytes of the id that are not printable ASCII, and
/// `{`, `}` and `%`, are written as `%XX`; [`HomeConnection::key`] does so. An id has 1 to 256 bytes, a user at most
/// 1000 keys with 8 MiB in all. In a Redis Cluster all of a user's keys are in one slot.
///
/// Beside them a region keeps `archipelago:gate:{ID}` and `archipelago:held:{ID}`, and the owner region
/// `archipelago:home:{ID}`. They must not be evicted, and nobody else may write them.
///
/// # Guarantees
/// - A user has one home at every moment, in the record of the [owner region](Homes::owner_of), and at every moment at most
///   one region executes their commands: each runs in one script with the look at the region's gate.
/// - Nothing that was acknowledged is lost by a migration, whoever dies during it. Values and their expiry times are moved
///   as they are, by DUMP and RESTORE.
/// - Whoever finds a migration given up goes on with it ([`Homes::resume_migration`]) or ends it
///   ([`Homes::roll_back_migration`]). A user whose commands wait for it is not locked out: after [`Homes::PATIENCE`] the
///   process that waits rolls it back.
/// - While the owner region cannot be reached, users whose gate is open live on where this process knows them to.
///
/// # Not promised
/// - Bounds on how many records there are: each id that is asked for gets one, for good. Ask for users, not for whatever a
///   visitor's cookie says.
/// - Anything for keys written by other ways, or when a region loses what it acknowledged.
/// - Moves between servers where one cannot RESTORE what the other DUMPs: from a newer version to an older one. Such a
///   migration fails, and is rolled back.
/// - Expiry times to less than the difference of the two servers' clocks.
/// - One home while processes disagree about names or weights of regions, from which the owner follows.
///
/// # Access rights
/// Besides the rights to the application's own commands and keys: `+evalsha +eval +get +set +del +unlink +exists +hget +hset
/// +hsetnx +hdel +hlen +hkeys +hexists +dump +restore +pttl +pexpiretime +time +memory|usage
/// ~archipelago:gate:* ~archipelago:held:* ~archipelago:home:*`.
#[derive(Clone)]
pub struct Homes {
    registry: Arc<Registry>,
    residency: Residency,
    migration: Duration,
}

/// What the [`Homes`] of all keyspaces of a client share: the same keys, and so the same gates.
pub(crate) struct Registry {
    resolver: Arc<HomeResolver>,
    /// In the order of the topology, which decides who owns what.
    infos: Vec<RegionInfo>,
    regions: Vec<Region>,
    known: Known,
    deadline: Duration,
    plane: Arc<Plane>,
}

impl Homes {
    /// For so long a process uses a home that it knows without asking the owner region again. Commands do not depend on
    /// it: the region's gate sends them on.
    pub const FRESH: Duration = known::FRESH;

    /// For so long a process lets its commands find the gate shut during one migration, before it takes it for given up
    /// and rolls it back. A mover that lives needs a few round trips.
    pub const PATIENCE: Duration = moving::PATIENCE;

    pub(crate) fn new(registry: Arc<Registry>, residency: Option<Vec<String>>) -> Self {
        Self { registry, residency: Residency(residency.map(Into::into)), migration: MIGRATION }
    }

    /// The same, with so long for a migration; 30 s by default.
    #[must_use]
    pub fn with_migration_deadline(mut self, deadline: Duration) -> Self {
        self.migration = deadline;
        self
    }

    /// The region that keeps the record of a user: by [`owner_of`], of the id as it is written in keys.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for an id that is empty or longer than 256 bytes.
    pub fn owner_of(&self, user: impl AsRef<[u8]>) -> Result<RegionId, Error> {
        let user = User::new(user.as_ref())?;
        self.registry.owner(&user).map(|owner| owner.id.clone())
    }

    /// Where a user lives. At first sight this is decided, by the rules of `[homes]` and what the request says; it is
    /// written down at the owner region, and is the answer from then on, in every process, whatever later requests say.
    ///
    /// Served from memory for [`Homes::FRESH`], else one round trip to the owner region, two at first sight. While that
    /// cannot be reached, what is remembered is the answer, however old; of a user who is not, what the rules say, as
    /// [`HomeReason::Unassigned`].
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a bad id, [`ErrorKind::Config`] when the rules name a region where the keyspace's data may
    /// not be; else see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropped, it may have assigned the home.
    pub async fn home_of(&self, user: impl AsRef<[u8]>, request: &HomeRequest<'_>) -> Result<Home, Error> {
        let user = User::new(user.as_ref())?;
        if let Some(record) = self.registry.known.fresh(&user) {
            return Ok(Home::remembered(&record));
        }
        let deadline = Instant::now() + self.registry.deadline;
        // Boxed, so that a caller's own future does not grow beyond what the compiler lays out by default.
        match Box::pin(self.recorded_or_assigned(&user, request, deadline)).await {
            Err(error) if is_away(&error) => Ok(match self.registry.known.get(&user) {
                Some(record) => Home::remembered(&record),
                None => Home::unassigned(&self.registry.resolver.resolve(request), &error),
            }),
            answer => answer,
        }
    }

    async fn recorded_or_assigned(
        &self,
        user: &User,
        request: &HomeRequest<'_>,
        deadline: Instant,
    ) -> Result<Home, Error> {
        if let Some(record) = self.registry.record(user, deadline).await? {
            return Ok(Home::recorded(&record));
        }
        let decision = self.registry.resolver.resolve(request);
        self.residency.check(decision.region())?;
        let first = Assignment::new(decision.region().clone());
        match self.registry.swap(user, None, &first, deadline).await? {
            (true, _) => Ok(Home::assigned(&decision)),
            (false, Some(record)) => Ok(Home::recorded(&record)),
            (false, None) => Err(Error::new(ErrorKind::Protocol, "no home, and none could be assigned")),
        }
    }

    /// A connection for the commands of one user, which run where the user lives; see [`HomeConnection`].
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for an id that is empty or longer than 256 bytes.
    pub fn connection(&self, user: impl AsRef<[u8]>) -> Result<HomeConnection, Error> {
        Ok(HomeConnection::new(self.registry.clone(), User::new(user.as_ref())?, self.residency.clone()))
    }
}

/// The regions where the data of users with homes may be; `None` for all.
#[derive(Clone, Debug)]
struct Residency(Option<Arc<[String]>>);

impl Residency {
    fn check(&self, region: &RegionId) -> Result<(), Error> {
        match &self.0 {
            Some(allowed) if !allowed.iter().any(|allowed| allowed == region.as_str()) => {
                let text = format!("{region} is outside the residency of keyspaces with homes: {}", allowed.join(", "));
                Err(Error::new(ErrorKind::Config, text))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Registry {
    pub(crate) fn new(plane: &Arc<Plane>, resolver: Arc<HomeResolver>) -> Self {
        let infos = plane.core.topology.load().regions().to_vec();
        // Its own policy, which nobody swaps: a seal that goes to another region than it is for loses what it was to keep.
        let keyspace = RoutedKeyspace::new(
            plane.clone(),
            Profile::new(HomeRegion),
            SessionKind::default(),
            RoutingConfig::default(),
        );
        let connection = Connection::new(Arc::new(keyspace));
        let regions = infos.iter().map(|info| Region::new(info.id.clone(), &connection)).collect();
        let deadline = plane.core.config.deadline;
        Self { resolver, infos, regions, known: Known::new(), deadline, plane: plane.clone() }
    }

    fn owner(&self, user: &User) -> Result<&Region, Error> {
        let owner = owner_of(user.tag().as_bytes(), &self.infos).and_then(|owner| self.regions.get(owner.as_usize()));
        owner.ok_or_else(|| Error::new(ErrorKind::Config, "no region"))
    }

    fn region(&self, name: &str) -> Result<&Region, Error> {
        self.regions.iter().find(|region| region.id.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = self.regions.iter().map(|region| region.id.as_str()).collect();
            Error::new(ErrorKind::Config, format!("unknown region {name:?}, known: {}", known.join(", ")))
        })
    }

    /// What the owner has on record, and remembers it.
    async fn record(&self, user: &User, deadline: Instant) -> Result<Option<Assignment>, Error> {
        let record = self.owner(user)?.record(user, deadline).await?;
        record.iter().for_each(|record| self.known.learn(user, record));
        Ok(record)
    }

    /// What the owner has on record about a user who has to have a home.
    async fn home(&self, user: &User, deadline: Instant) -> Result<Assignment, Error> {
        let missing = || {
            // What is remembered would be the answer of `home_of`, which then wrote nothing down.
            self.known.forget(user);
            Error::new(ErrorKind::Refused, "the user has no home yet: ask for it with `home_of` first")
        };
        self.record(user, deadline).await?.ok_or_else(missing)
    }

    /// Changes the record, if it is as it was seen; remembers what it is then.
    async fn swap(
        &self,
        user: &User,
        was: Option<&Assignment>,
        new: &Assignment,
        deadline: Instant,
    ) -> Result<(bool, Option<Assignment>), Error> {
        let (changed, now) = self.owner(user)?.swap(user, was, new, deadline).await?;
        now.iter().for_each(|now| self.known.learn(user, now));
        Ok((changed, now))
    }
}

/// Whether a region gave no answer, so that nobody knows.
fn is_away(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::MaybeApplied | ErrorKind::Timeout => true,
        ErrorKind::Config
        | ErrorKind::PartlyApplied
        | ErrorKind::TooFewAnswers
        | ErrorKind::Refused
        | ErrorKind::Server
        | ErrorKind::Serialization
        | ErrorKind::Load
        | ErrorKind::Behind
        | ErrorKind::Lost
        | ErrorKind::NotConverged
        | ErrorKind::Protocol => false,
    }
}

impl fmt::Debug for Homes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homes")
            .field("registry", &self.registry)
            .field("residency", &self.residency)
            .finish_non_exhaustive()
    }
}

/// Without the users: who they are has no place in a log.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("regions", &self.infos).finish_non_exhaustive()
    }
}
