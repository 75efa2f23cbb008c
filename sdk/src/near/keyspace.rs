//! The near cache of one keyspace: what is held, where it comes from, and whether changes are told at present.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use archipelago_engine::{Key, Kind};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    cache::{Cache, Facet, FacetId},
    counts::{NearStats, Tracking},
    line::Line,
    source::{Answer, Ask, Left, Source, bit, view_of},
    turns::Turns,
};
use crate::{
    config::NearConfig,
    error::{Error, ErrorKind},
    store::embedded::Listener,
};

/// How long a watcher believes what was read while nobody tells what changes.
const GLANCE: Duration = Duration::from_secs(1);

/// The near cache of one keyspace.
pub(super) struct NearKeyspace {
    pub(super) name: String,
    pub(super) cache: Arc<Cache>,
    pub(super) source: Source,
    pub(super) turns: Turns<(Bytes, FacetId), Result<Facet, Error>>,
    state: ArcSwap<State>,
    /// The kinds that were asked for so far.
    wanted: watch::Sender<u32>,
    pub(super) stop: CancellationToken,
}

/// Whether changes are told.
enum State {
    On(Arc<Line>),
    Off(String),
    Refused(String),
}

/// What was read, and what it is worth.
pub(super) struct Told {
    pub(super) answer: Answer,
    /// Until when it is believed.
    pub(super) deadline: Instant,
    /// Whether it may be kept.
    pub(super) is_kept: bool,
}

impl NearKeyspace {
    pub(super) fn new(name: &str, config: &NearConfig, source: Source, stop: CancellationToken) -> Self {
        let state = match &source {
            Source::Embedded(_) => State::On(Arc::new(Line::embedded())),
            Source::Region { .. } | Source::Routed(_) => State::Off("nothing was read yet".to_owned()),
        };
        Self {
            name: name.to_owned(),
            cache: Arc::new(Cache::new(config)),
            source,
            turns: Turns::default(),
            state: ArcSwap::from_pointee(state),
            wanted: watch::Sender::new(0),
            stop,
        }
    }

    /// Somebody is going to read these kinds.
    pub(super) fn want(&self, kinds: u32) {
        self.wanted.send_if_modified(|wanted| {
            let before = std::mem::replace(wanted, *wanted | kinds);
            before != *wanted
        });
    }

    pub(super) fn wanted(&self) -> watch::Receiver<u32> {
        self.wanted.subscribe()
    }

    /// The name under which a view is held.
    pub(super) fn view(&self, key: &Key) -> Option<Bytes> {
        self.source.partitions().map(|partitions| view_of(&self.name, partitions, key))
    }

    /// Reads, on the line if there is one. Its ticket must have been taken before.
    pub(super) async fn read(&self, ask: &Ask) -> Result<Told, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "the client was shut down"));
        }
        let began = Instant::now();
        let state = self.state.load_full();
        let (answer, is_kept) = match &*state {
            State::On(line) if line.tracks(ask.kind()) => match line.read(&self.source, ask).await {
                Some(answer) => (answer, true),
                None => (self.source.read(ask).await?, false),
            },
            State::On(_) | State::Off(_) => (self.source.read(ask).await?, false),
            State::Refused(_) => (self.source.read(ask).await?, true),
        };
        let bound = if is_kept { self.cache.ttl() } else { GLANCE };
        let lifetime = match answer.left {
            Left::Forever => bound,
            Left::For(left) => left.min(bound),
        };
        // By the time of the question: the answer is older than its arrival.
        Ok(Told { answer, deadline: began + lifetime, is_kept })
    }

    /// Whether what is worked out now may be kept.
    pub(super) fn keeps(&self, ask: &Ask) -> bool {
        match &**self.state.load() {
            State::On(line) => line.tracks(ask.kind()),
            State::Refused(_) => true,
            State::Off(_) => false,
        }
    }

    /// Changes are told from now on.
    pub(super) fn turn_on(&self, line: Arc<Line>) {
        self.state.store(Arc::new(State::On(line)));
        // Who watches reads again: what it knows was read when nobody told of changes.
        self.cache.invalidate_all();
    }

    /// Nobody tells of changes any more. The line first, what was read on it afterwards: a ticket of the new epoch must not
    /// find the old line.
    pub(super) fn turn_off(&self, why: String) {
        let before = self.state.swap(Arc::new(State::Off(why)));
        if !matches!(&*before, State::Off(_)) {
            self.cache.invalidate_all();
        }
    }

    /// The server does not allow it: the time to live has to do. Says whether that is news.
    pub(super) fn refuse(&self, why: String) -> bool {
        let before = self.state.swap(Arc::new(State::Refused(why)));
        let is_news = !matches!(&*before, State::Refused(_));
        if is_news {
            self.cache.invalidate_all();
        }
        is_news
    }

    pub(super) fn stats(&self) -> NearStats {
        let tracking = match &**self.state.load() {
            State::On(line) if line.tracks(*self.wanted.borrow()) => Tracking::On,
            State::On(_) => Tracking::Off { why: "another type was asked for just now".to_owned() },
            State::Off(why) => Tracking::Off { why: why.clone() },
            State::Refused(why) => Tracking::Refused { why: why.clone() },
        };
        let counts = &self.cache.counts;
        let (keys, bytes) = self.cache.size();
        NearStats {
            tracking,
            hits: self.cache.hits(),
            misses: counts.misses.get(),
            stale: counts.stale.get(),
            evictions: counts.evictions.get(),
            invalidations: counts.invalidations.get(),
            keys,
            bytes,
        }
    }

    /// A type's bit, once it is wanted.
    pub(super) fn want_kind(&self, kind: Kind) {
        self.want(bit(kind));
    }
}

/// Of an embedded region.
impl Listener for NearKeyspace {
    fn changed(&self, keyspace: &str, key: &Key) {
        if keyspace == self.name
            && let Some(view) = self.view(key)
        {
            self.cache.invalidate(&view);
        }
    }

    fn all_changed(&self) {
        self.cache.invalidate_all();
    }
}

impl fmt::Debug for NearKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearKeyspace").field("name", &self.name).field("cache", &self.cache).finish_non_exhaustive()
    }
}
