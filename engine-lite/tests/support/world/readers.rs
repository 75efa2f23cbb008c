//! Readers of feeds: one at each region, outside of it. What a region loses, its reader's place outlives.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_engine::{EntryId, Key, Kind, Place, Since, View};

use super::{Site, World};

/// How a reader remembers how far it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// As it should.
    Place,
    /// By the highest id: it misses what arrives late.
    Id,
    /// By a number of whatever line: it misses what got a number that was given before a loss.
    Number,
}

#[derive(Clone, Default)]
struct Reader {
    places: BTreeMap<Key, Place>,
    highest: BTreeMap<Key, EntryId>,
    seen: BTreeSet<(Key, EntryId)>,
}

/// One reader for each region; none in a world that is about something else.
#[derive(Default)]
pub struct Readers {
    by: Option<By>,
    readers: BTreeMap<usize, Reader>,
    pub delivered: u64,
    pub restarts: u64,
}

/// Every feed that is ever written.
fn feeds() -> [Key; 2] {
    ["k", "l"].map(|name| Key::new(Kind::Feed, name))
}

impl Readers {
    pub fn new(by: By) -> Self {
        Self { by: Some(by), ..Self::default() }
    }

    pub const fn are_reading(&self) -> bool {
        self.by.is_some()
    }

    /// One read of one feed; answers how many entries came.
    fn read(&mut self, i: usize, site: &Site, now: archipelago_engine::Version, key: &Key, limit: usize) -> usize {
        let reader = self.readers.entry(i).or_default();
        if self.by == Some(By::Id) {
            let View::Ordered(entries) = site.partition.view(key, now) else { return 0 };
            let ids = entries.iter().map(|(id, _)| EntryId::split(id).unwrap().0);
            let last = reader.highest.get(key).copied().unwrap_or(EntryId::ZERO);
            let new: Vec<EntryId> = ids.filter(|id| *id > last).take(limit).collect();
            reader.highest.extend(new.last().map(|id| (key.clone(), *id)));
            reader.seen.extend(new.iter().map(|id| (key.clone(), *id)));
            return new.len();
        }
        let mut since = reader.places.get(key).map_or(Since::Start, |place| Since::Place(*place));
        if let (Since::Place(place), Some(By::Number)) = (&mut since, self.by) {
            // A server that was left behind answers nobody.
            let Ok(current) = site.partition.arrived(&site.history, now, key, Since::Start, 0) else { return 0 };
            place.line = current.place.line;
        }
        let Ok(arrived) = site.partition.arrived(&site.history, now, key, since, limit) else { return 0 };
        reader.places.insert(key.clone(), arrived.place);
        reader.seen.extend(arrived.entries.iter().map(|(id, _)| (key.clone(), *id)));
        self.delivered += arrived.entries.len() as u64;
        self.restarts += u64::from(arrived.restarted);
        arrived.entries.len()
    }
}

impl World {
    /// A reader reads on, or forgets its last steps: it died before it wrote its place down.
    pub(super) fn read_feed(&mut self) {
        let i = self.any();
        let key = self.rng.pick(&feeds()).clone();
        let limit = self.rng.below(5);
        let remembered = self.readers.readers.get(&i).map(|reader| reader.places.clone());
        let ghost = if self.rng.one_in(2) { self.ghosts[i].take() } else { None };
        match ghost {
            Some(ghost) => {
                self.readers.read(i, &ghost, self.site_now(&ghost), &key, limit);
                self.ghosts[i] = Some(ghost);
            }
            None => {
                self.ensure_open(i);
                let (mut readers, now) = (std::mem::take(&mut self.readers), self.now(i));
                readers.read(i, &self.sites[i], now, &key, limit);
                self.readers = readers;
            }
        }
        if self.rng.one_in(6)
            && let (Some(reader), Some(places)) = (self.readers.readers.get_mut(&i), remembered)
        {
            reader.places = places;
        }
    }

    /// Lets every reader read to the end, and looks whether it has seen all that is there.
    pub(super) fn check_readers(&mut self) {
        let mut readers = std::mem::take(&mut self.readers);
        for (i, site) in self.sites.iter().enumerate() {
            let now = self.now(i);
            for key in feeds() {
                while readers.read(i, site, now, &key, 3) > 0 {}
                let View::Ordered(entries) = site.partition.view(&key, now) else { continue };
                for (id, _) in entries {
                    let (id, _) = EntryId::split(&id).unwrap();
                    let has_seen = readers.readers[&i].seen.contains(&(key.clone(), id));
                    assert!(has_seen, "the reader at region {i} was never given entry {id} of {key:?}");
                }
            }
        }
        self.readers = readers;
    }
}
