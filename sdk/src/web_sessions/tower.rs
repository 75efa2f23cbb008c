//! The store behind the middleware `tower-sessions`.

use archipelago_engine::{Expiry, limits};
use async_trait::async_trait;
use tower_sessions_core::{
    SessionStore as Contract,
    session::{Id, Record},
    session_store::{Error as Failure, Result as Contracted},
};

use super::{
    SessionStore,
    address::{Address, HomeTag},
    id::random,
};
use crate::{
    error::Error,
    handles::{Codec, Json},
};

/// A [`SessionStore`] for the middleware `tower-sessions` 0.15.
///
/// Its ids have 128 bits in all: 16 of them name the home, 112 are random. Creation replaces the record's id by such a
/// one. What goes for a [`SessionStore`] goes for it: a home that cannot be reached is an error (the middleware keeps the
/// cookie), and saving a session that was revoked or expired does nothing, so that a request which was under way does not
/// bring it back.
///
/// Put no `CachingSessionStore` before it: that would serve revoked sessions.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use archipelago::{Client, Embedded, web_sessions::{SessionStore, TowerStore}};
/// use tower_sessions_core::Session;
///
/// let regions = Embedded::builder().region("eu").region("us").build()?;
/// let client = Client::builder().embedded(&regions).local_region("eu").build().await?;
/// // An application gives it to the middleware: `SessionManagerLayer::new(store)`.
/// let store = TowerStore::new(SessionStore::new(&client, "default")?);
/// let session = Session::new(None, Arc::new(store), None);
/// session.insert("user", "ada").await?;
/// session.save().await?;
/// assert_eq!(session.get::<String>("user").await?.as_deref(), Some("ada"));
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TowerStore {
    sessions: SessionStore,
}

impl TowerStore {
    /// The middleware's view of a store.
    #[must_use]
    pub const fn new(sessions: SessionStore) -> Self {
        Self { sessions }
    }
}

/// How many of an id's bits are random: the rest, above them, name the home.
const SECRET_BITS: u32 = 112;

fn draw(home: HomeTag) -> Result<Id, Error> {
    let secret = random()? >> (u128::BITS - SECRET_BITS);
    let bits = u128::from(home.0) << SECRET_BITS | secret;
    Ok(Id(i128::from_be_bytes(bits.to_be_bytes())))
}

fn address(id: &Id) -> Address {
    let bytes = id.0.to_be_bytes();
    let [a, b, ..] = bytes;
    Address::new(HomeTag(u16::from_be_bytes([a, b])), "tower", &bytes)
}

/// The id is a secret, and is not stored.
fn encode(record: &Record) -> Result<bytes::Bytes, Error> {
    Json::encode(&Record { id: Id(0), ..record.clone() })
}

/// By the region's clock. A date past all that can be represented means the last that can.
fn expiry(record: &Record) -> Expiry {
    let millis = record.expiry_date.unix_timestamp_nanos() / 1_000_000;
    Expiry::At(i64::try_from(millis).unwrap_or(limits::EXPIRE_AT).clamp(0, limits::EXPIRE_AT))
}

fn failed(error: &Error) -> Failure {
    Failure::Backend(error.to_string())
}

#[async_trait]
impl Contract for TowerStore {
    /// Replaces the id by one that names this region as home, and that is free.
    async fn create(&self, record: &mut Record) -> Contracted<()> {
        let data = encode(record).map_err(|error| Failure::Encode(error.to_string()))?;
        let home = self.sessions.home();
        let id = self.sessions.insert_drawn(&data, expiry(record), || draw(home), address).await;
        record.id = id.map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn save(&self, record: &Record) -> Contracted<()> {
        let data = encode(record).map_err(|error| Failure::Encode(error.to_string()))?;
        let saved = self.sessions.replace(&address(&record.id), data, expiry(record)).await;
        saved.map(drop).map_err(|error| failed(&error))
    }

    async fn load(&self, id: &Id) -> Contracted<Option<Record>> {
        let data = self.sessions.data(&address(id)).await.map_err(|error| failed(&error))?;
        let record = data.map(|data| Json::decode::<Record>(&data)).transpose();
        let record = record.map_err(|error| Failure::Decode(error.to_string()))?;
        Ok(record.map(|record| Record { id: *id, ..record }))
    }

    /// A revocation: nothing brings the session back.
    async fn delete(&self, id: &Id) -> Contracted<()> {
        self.sessions.revoke_at(&address(id)).await.map_err(|error| failed(&error))
    }
}
