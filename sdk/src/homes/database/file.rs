//! The file of a database, and whether it changed since the last look.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use maxminddb::Reader;

use super::{DatabaseError, checked};

/// A file, and how it was at the last look.
pub(super) struct File {
    path: PathBuf,
    mapped: bool,
    seen: Option<Fingerprint>,
}

/// What is seen of a file.
pub(super) enum Look {
    /// What was seen before, be it usable or not.
    Same,
    /// Something new, and usable.
    Changed(Reader<Bytes>),
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    modified: Option<SystemTime>,
    len: u64,
    /// Renaming may keep time and length, as copies do that are made to look alike.
    inode: u64,
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), len: metadata.len(), inode }
    }
}

impl File {
    pub(super) fn new(path: &Path, mapped: bool) -> Self {
        Self { path: path.to_owned(), mapped, seen: None }
    }

    /// Reads the file if it changed. A broken one is reported once, not at every look.
    pub(super) async fn look(&mut self) -> Result<Look, DatabaseError> {
        let (path, mapped, seen) = (self.path.clone(), self.mapped, self.seen);
        let (seen, look) = tokio::task::spawn_blocking(move || look_at(&path, mapped, seen))
            .await
            .unwrap_or_else(|error| (seen, Err(DatabaseError::Broken(error.to_string()))));
        self.seen = seen;
        look
    }
}

/// What there is to see, and how it looked.
fn look_at(path: &Path, mapped: bool, seen: Option<Fingerprint>) -> (Option<Fingerprint>, Result<Look, DatabaseError>) {
    let shown = || path.display().to_string();
    let unreadable = |error| DatabaseError::Read { path: shown(), error };
    // Of the open file: another may be renamed over the path at any moment.
    let opened = fs::File::open(path).and_then(|file| Ok((fingerprint(&file)?, file)));
    let (before, file) = match opened {
        Ok((before, _)) if Some(before) == seen => return (seen, Ok(Look::Same)),
        Ok(opened) => opened,
        Err(error) => return (None, Err(unreadable(error))),
    };
    let contents = if mapped { map(&file) } else { read(&file) };
    match contents.and_then(|bytes| Ok((bytes, fingerprint(&file)?))) {
        // Not as seen: it may be whole at the next look, and look the same from outside.
        Ok((_, after)) if after != before => (seen, Err(DatabaseError::Changing { path: shown() })),
        Ok((bytes, _)) => (Some(before), checked(bytes).map(Look::Changed)),
        Err(error) => (seen, Err(unreadable(error))),
    }
}

fn read(mut file: &fs::File) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// The file's pages, as the system brings them in and drops them.
#[cfg(feature = "homes-mmap")]
fn map(file: &fs::File) -> io::Result<Bytes> {
    // SAFETY: nobody may write to the file in place. That is the promise of whoever sets `mapped`, as its documentation
    // asks for; what is renamed over the path is another file, and leaves this one as it is.
    #[allow(unsafe_code, reason = "there is no safe way to map a file that others can write to")]
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}

/// The configuration does not get so far.
#[cfg(not(feature = "homes-mmap"))]
fn map(_file: &fs::File) -> io::Result<Bytes> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this build maps no files; it needs the feature `homes-mmap`"))
}

fn fingerprint(file: &fs::File) -> io::Result<Fingerprint> {
    file.metadata().map(|metadata| Fingerprint::of(&metadata))
}
