//! Claims: an element of a list or stream taken once, by asking its home.
//!
//! Candidates are what a read here sees, in order; each is asked for at its [home](Homes), which decides in one step.
//! What was taken is hidden here at once by a push: the home's log would bring the removal a moment later.

use std::{collections::BTreeMap, sync::Arc};

use archipelago_engine::{
    Claim, End, EntryId, Homes, Key, Kind, Mutation, Outcome, PushReply, RegionId, Standing, position,
};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{array, ending::Ending, optional, unexpected};
use crate::{
    client::Keyspace,
    error::{Attempt, Error, ErrorKind},
    keyspace::partition_of,
    sessions::{KeyspaceId, Partition, SourceId},
    store::{Query, Read, Store, StoreError, Write},
};

/// How many elements are looked at first, and how many at a time when none of those could be taken.
const WINDOWS: (u64, u64) = (64, 1000);

/// An element that was claimed: nobody else gets it by a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed<T> {
    /// What it held.
    pub value: T,
    /// The region that made it, and gave it away.
    pub home: RegionId,
}

/// A home that could not be asked.
struct Away {
    why: String,
    waiting: usize,
    began: Instant,
}

/// One search for an element to take.
struct Search<'k> {
    keyspace: &'k Keyspace,
    key: &'k Key,
    end: End,
    until: Instant,
    away: BTreeMap<String, Away>,
}

impl Keyspace {
    /// Takes the first element from an end whose home gives it away: its position or id, and what it held.
    pub(crate) async fn claim(&self, key: &Key, end: End) -> Result<Option<Claimed<(Bytes, Bytes)>>, Error> {
        let search = Search { keyspace: self, key, end, until: self.until(), away: BTreeMap::new() };
        // Boxed: the futures of handles stay small.
        let found = Box::pin(search.run()).await?;
        Ok(found.map(|(claim, home)| Claimed { value: (claim.member, claim.value), home }))
    }
}

impl<'k> Search<'k> {
    async fn run(mut self) -> Result<Option<(Claim, RegionId)>, Error> {
        let (mut behind, mut window) = (None, WINDOWS.0);
        loop {
            let (members, homes) = self.look(behind.as_ref(), window).await?;
            let Some(last) = members.last().cloned() else { return self.give_up(true) };
            for (home, candidates) in self.by_home(members, &homes) {
                if let Some(claim) = self.ask(home.as_ref(), candidates).await? {
                    return Ok(home.map(|home| (claim, home)));
                }
            }
            if Instant::now() >= self.until {
                return self.give_up(false);
            }
            (behind, window) = (Some(last), WINDOWS.1);
        }
    }

    /// The elements behind one, in order, and what is known of homes where they were read.
    async fn look(&self, behind: Option<&Bytes>, limit: u64) -> Result<(Vec<Bytes>, Homes), Error> {
        let reverse = self.end == End::Back;
        let (from, to) = match behind {
            None => (Bytes::new(), None),
            Some(last) if reverse => (Bytes::new(), Some(self.split(last)?.0)),
            Some(last) => ([last, &b"\0"[..]].concat().into(), None),
        };
        let query = Query::Between { from, to, reverse, limit: Some(limit) };
        let (reply, standings) = self.keyspace.look(&Read { key: self.key.clone(), query }).await?;
        let members = array(reply)?.into_iter().map(|member| Ok(optional(member)?.unwrap_or_default()));
        Ok((members.collect::<Result<_, Error>>()?, Homes::known_to(&standings)))
    }

    /// Position or id, and what is held there.
    fn split(&self, member: &Bytes) -> Result<(Bytes, Bytes), Error> {
        let split = match self.key.kind {
            Kind::Stream => EntryId::split(member).map(|(id, payload)| (id.to_bytes(), payload)),
            _ => position::split(member),
        };
        split.ok_or_else(|| unexpected(&"no element"))
    }

    /// The positions or ids by their homes, the first element's home first.
    fn by_home(&self, members: Vec<Bytes>, homes: &Homes) -> Vec<(Option<RegionId>, Vec<Bytes>)> {
        let mut groups: Vec<(Option<RegionId>, Vec<Bytes>)> = Vec::new();
        for (member, _) in members.iter().filter_map(|member| self.split(member).ok()) {
            let home = homes.of(self.key.kind, &member).cloned();
            match groups.iter_mut().find(|(known, _)| *known == home) {
                Some((_, candidates)) => candidates.push(member),
                None => groups.push((home, vec![member])),
            }
        }
        groups
    }

    /// Asks a home for the first of these that is there. What certainly was not given away is noted, what may have been
    /// is an error: nobody else may be asked for it.
    #[deny(clippy::wildcard_enum_match_arm)] // a new failure must be classified, not inherited
    async fn ask(&mut self, home: Option<&RegionId>, candidates: Vec<Bytes>) -> Result<Option<Claim>, Error> {
        let (began, waiting) = (Instant::now(), candidates.len());
        let name = home.map_or_else(|| "no home".to_owned(), ToString::to_string);
        if let Some(away) = self.away.get_mut(&name) {
            away.waiting += waiting;
            return Ok(None);
        }
        let why = match home.map(|home| self.keyspace.island.stores.get(home)) {
            None => "their ids were chosen by who appended them, so that no region decides".to_owned(),
            Some(None) => self.keyspace.why_unknown(),
            Some(Some(_)) if began >= self.until => "no time was left to ask it".to_owned(),
            Some(Some(store)) => match self.claim_at(store, candidates).await {
                Ok(claim) => return Ok(claim),
                // Nothing was sent, or nothing was done.
                Err(error @ (StoreError::Unavailable(_) | StoreError::Stale(_) | StoreError::Server(_))) => {
                    error.to_string()
                }
                Err(StoreError::NoAnswer(what)) => {
                    let what = format!("one of {waiting} elements may have been claimed: {what}");
                    return Err(Error::of_write(StoreError::NoAnswer(what), store.region()));
                }
                Err(error @ (StoreError::Refused(_) | StoreError::Partly(_) | StoreError::Protocol(_))) => {
                    return Err(Error::of_write(error, store.region()));
                }
            },
        };
        self.away.insert(name, Away { why, waiting, began });
        Ok(None)
    }

    async fn claim_at(&self, home: &Arc<dyn Store>, candidates: Vec<Bytes>) -> Result<Option<Claim>, StoreError> {
        let mutation = Mutation::Claim { candidates };
        let write = Write { key: self.key.clone(), mutation, exclusive: false };
        let of = home.partitions();
        let keyspace = KeyspaceId::of(&self.keyspace.island.keyspace);
        let at = Partition { keyspace, number: partition_of(&self.key.name, of), of };
        let session = self.keyspace.session.as_ref();
        let writing = session.map(|session| session.begin_write(at, SourceId::of(keyspace, home.region())));
        let done = timeout_at(self.until, home.write_and_stand(&write)).await;
        let late = || (Err(StoreError::NoAnswer("no answer in time".to_owned())), None);
        let (outcome, standing) = done.unwrap_or_else(|_| late());
        if let Some(writing) = writing {
            Ending::of(&write.mutation, &outcome).note(writing, standing.as_ref());
        }
        match outcome? {
            Outcome::Claimed(claim) => {
                if let (Some(claim), Some(standing)) = (&claim, &standing)
                    && home.region() != self.keyspace.store.region()
                {
                    self.receive(claim, standing).await;
                }
                Ok(claim)
            }
            _ => Err(StoreError::Protocol("not what a claim answers".to_owned())),
        }
    }

    /// Hides here what was taken elsewhere. A link does the same a moment later.
    async fn receive(&self, claim: &Claim, home: &Standing) {
        let local = &self.keyspace.store;
        let partition = partition_of(&self.key.name, local.partitions());
        let push = home.push(vec![claim.delta(self.key)]);
        let done = timeout_at(self.until, local.push(partition, &push)).await;
        if !matches!(done, Ok(Ok(PushReply::Joined { .. }))) {
            tracing::debug!(region = %local.region(), "what was claimed elsewhere is still shown until a link hides it");
        }
    }

    /// What could not be asked for, when nothing was taken of all that there is, or of what there was time to look at.
    fn give_up(self, is_all: bool) -> Result<Option<(Claim, RegionId)>, Error> {
        if is_all && self.away.is_empty() {
            return Ok(None);
        }
        let waiting: usize = self.away.values().map(|away| away.waiting).sum();
        let attempt = |(node, Away { why, waiting, began }): (String, Away)| Attempt {
            node,
            took: began.elapsed(),
            what: format!("{waiting} elements wait there: {why}"),
        };
        let left = if is_all { "nothing else is left to claim" } else { "no time was left to look at more" };
        let what = format!("{waiting} elements wait for their homes, and {left}");
        let attempts = self.away.into_iter().map(attempt).collect();
        Err(Error::new(ErrorKind::Unavailable, what).with_attempts(attempts))
    }
}
