//! Where IP addresses are: MaxMind DB files, read into memory and exchanged while in use.

mod cached;
mod check;
mod file;
mod record;

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use maxminddb::{MaxMindDbError, Reader};
use thiserror::Error;
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::cached::CachedDatabase;
use self::{
    check::checked,
    file::{File, Look},
    record::Record,
};
use super::{DatabaseConfig, Lookup, address::canonical};

/// Places of IP addresses, from a MaxMind DB file.
///
/// Understands City and Country databases of MaxMind and DB-IP, and flat layouts such as ip-location-db's, which have
/// `country_code`, `latitude` and `longitude` at the top. Other fields are ignored; a record without a country is one
/// whose country is unknown. MaxMind's `registered_country` does not count: it is where a network's owner has its
/// papers.
///
/// The file is read into memory, all of it: 5 to 10 MB for countries, over 100 for cities. A new file is picked up
/// without restart: a task looks at its time, length and inode, and ends with the last clone. Replace the file by
/// renaming another over it. One that is written in place may be read half: it is then refused like every broken file,
/// the old contents stay in use, [`Database::status`] and a `tracing` warning say so, and the next change is tried
/// again. Every record is checked before
/// the contents are used, on a blocking thread; that takes about a second for each 100 MB.
///
/// With [`DatabaseConfig::mapped`] (feature `homes-mmap`) the file is mapped instead. Then it must not be written in place,
/// ever: see there.
///
/// Clones share contents and task.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
    /// Stops with the last clone.
    _watch: Option<Arc<AbortOnDropHandle<()>>>,
}

/// What the handles and the task share.
struct Shared {
    contents: ArcSwap<Contents>,
    status: Mutex<Changes>,
    /// `None` when the contents came as bytes. Locked over a reload, so that two of them do not cross.
    file: Option<tokio::sync::Mutex<File>>,
}

/// One version of the data.
struct Contents {
    reader: Reader<Bytes>,
    /// Counts up; answers of another one are outdated.
    generation: u64,
}

/// What happened since the start.
#[derive(Clone, Debug, Default)]
struct Changes {
    generation: u64,
    last_error: Option<String>,
}

/// What a database is, and whether its file could be read the last time it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// What it calls itself, such as `GeoLite2-City`.
    pub kind: String,
    /// When its maker built it.
    pub built: Option<SystemTime>,
    /// How many times the contents were exchanged.
    pub exchanged: u64,
    /// Why the present file is not in use; `None` when it is.
    pub last_error: Option<String>,
}

/// Why a database cannot be used.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file was written to while it was read.
    #[error("{path} changed while it was read; replace it by renaming")]
    Changing {
        /// The file.
        path: String,
    },
    /// The contents are damaged, or something else.
    #[error("not a usable MaxMind DB: {0}")]
    Broken(String),
    /// None of its records says where anything is: a database of networks' owners, say.
    #[error("{kind} is no database of places: no record has a known country, a continent or coordinates")]
    NoPlaces {
        /// What it calls itself.
        kind: String,
    },
    /// There is no file to reload.
    #[error("the database was given as bytes: there is no file to reload")]
    NoFile,
}

impl Database {
    /// Opens a file, and watches it unless `reload_secs` is zero. Within a tokio runtime.
    ///
    /// # Errors
    /// [`DatabaseError`] when it cannot be read now; later, the old contents are kept instead.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let file = File::new(&config.path, config.mapped);
        Self::watching(file, Duration::from_secs(config.reload_secs)).await
    }

    /// As [`Database::open`], read into memory, with any time between two looks; zero for no looks.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn open_every(path: impl AsRef<Path>, interval: Duration) -> Result<Self, DatabaseError> {
        Self::watching(File::new(path.as_ref(), false), interval).await
    }

    async fn watching(mut file: File, interval: Duration) -> Result<Self, DatabaseError> {
        let reader = match file.look().await? {
            Look::Changed(reader) => reader,
            // A new file has not been looked at, so there is something new to see.
            Look::Same => return Err(DatabaseError::NoFile),
        };
        let shared = Arc::new(Shared::new(reader, Some(file)));
        let watch = (!interval.is_zero()).then(|| {
            let task = tokio::spawn(watch(Arc::clone(&shared), interval));
            Arc::new(AbortOnDropHandle::new(task))
        });
        Ok(Self { shared, _watch: watch })
    }

    /// A database in memory, such as one built into the program.
    ///
    /// # Errors
    /// [`DatabaseError::Broken`], [`DatabaseError::NoPlaces`].
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, DatabaseError> {
        let reader = checked(bytes.into())?;
        Ok(Self { shared: Arc::new(Shared::new(reader, None)), _watch: None })
    }

    /// Exchanges the contents for these. Lookups under way end on the old ones.
    ///
    /// # Errors
    /// [`DatabaseError::Broken`], [`DatabaseError::NoPlaces`]; the old contents are kept.
    pub fn replace(&self, bytes: impl Into<Bytes>) -> Result<(), DatabaseError> {
        self.shared.exchange(checked(bytes.into())?);
        Ok(())
    }

    /// Looks at the file now: whether it changed and its new contents are in use.
    ///
    /// # Errors
    /// [`DatabaseError`] when the new contents are not usable; the old ones are kept.
    ///
    /// # Cancel safety
    /// A look that is dropped has changed nothing, or has exchanged the contents.
    pub async fn reload(&self) -> Result<bool, DatabaseError> {
        self.shared.reload().await
    }

    /// What it is, and how its last reload went.
    #[must_use]
    pub fn status(&self) -> DatabaseStatus {
        let contents = self.shared.contents.load();
        let metadata = contents.reader.metadata();
        let changes = self.shared.changes().clone();
        DatabaseStatus {
            kind: metadata.database_type.clone(),
            built: metadata.build_time().ok(),
            exchanged: changes.generation,
            last_error: changes.last_error,
        }
    }

    /// Where an address is.
    ///
    /// IPv4 in IPv6 notation is looked up as IPv4. Does not look at what the address is for; see
    /// [`SpecialUse`](super::SpecialUse).
    #[must_use]
    pub fn look_up(&self, address: IpAddr) -> Lookup {
        self.shared.contents.load().look_up(canonical(address))
    }
}

impl Shared {
    fn new(reader: Reader<Bytes>, file: Option<File>) -> Self {
        Self {
            contents: ArcSwap::from_pointee(Contents { reader, generation: 0 }),
            status: Mutex::default(),
            file: file.map(tokio::sync::Mutex::new),
        }
    }

    fn exchange(&self, reader: Reader<Bytes>) {
        // Under the lock, so that of two exchanges the one with the greater generation is the one in use.
        let mut changes = self.changes();
        changes.generation += 1;
        changes.last_error = None;
        self.contents.store(Arc::new(Contents { reader, generation: changes.generation }));
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, Changes> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reload(&self) -> Result<bool, DatabaseError> {
        let mut file = self.file.as_ref().ok_or(DatabaseError::NoFile)?.lock().await;
        match file.look().await {
            Ok(Look::Changed(reader)) => {
                self.exchange(reader);
                Ok(true)
            }
            Ok(Look::Same) => Ok(false),
            Err(error) => {
                self.changes().last_error = Some(error.to_string());
                Err(error)
            }
        }
    }
}

impl Contents {
    fn look_up(&self, address: IpAddr) -> Lookup {
        let found = match self.reader.lookup(address) {
            Ok(found) => found,
            Err(MaxMindDbError::InvalidInput { .. }) => return Lookup::NotCovered,
            Err(_) => return Lookup::Damaged,
        };
        match found.decode::<Record<'_>>() {
            Ok(Some(record)) => match record.place() {
                place if place.is_unknown() => Lookup::Unknown,
                place => Lookup::Found(place),
            },
            Ok(None) => Lookup::Unknown,
            Err(_) => Lookup::Damaged,
        }
    }
}

async fn watch(shared: Arc<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let known = shared.changes().last_error.clone();
        match shared.reload().await {
            Ok(true) => tracing::info!("the database of homes was exchanged for a new file"),
            Ok(false) => {}
            // A file that is away, at every look: said once.
            Err(error) if Some(error.to_string()) == known => {}
            Err(error) => tracing::warn!(%error, "the new database of homes is not usable; the old one is kept"),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}
