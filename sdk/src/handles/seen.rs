//! What a session has seen, around its calls on the active-active plane: the local region is asked along with each call
//! where it stands, and what becomes of a call is noted.
//!
//! A read and the standing are of one step ([`Store::read_and_stand`](crate::store::Store::read_and_stand)), so no round
//! trip is added while the region is not behind. A write learns its version in the same way.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use archipelago_engine::{Arrived, Key, KeyState, Outcome, Since, Standing, Version};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::{ending::Ending, merge::Merge, strong::Looked};
use crate::{
    client::Keyspace,
    error::{Error, ErrorKind},
    keyspace::partition_of,
    sessions::{KeyspaceId, Lack, Partition, Session, SourceId, WhenBehind},
    store::{Excerpt, Read, Reply, Store, StoreError, Write},
    strength::{ReadStrength, WriteStrength},
};

/// Between two questions to a region that is behind: from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// How long the regions have at least to say whether any of them has what is missing.
const QUESTION: Duration = Duration::from_millis(500);

/// A region of the keyspace, as sessions name it.
type Member<'k> = (SourceId, &'k Arc<dyn Store>);

impl Keyspace {
    pub(crate) async fn read(&self, read: &Read) -> Result<Reply, Error> {
        if let Some(session) = &self.session {
            let at = self.partition(&read.key.name);
            if session.reads_raise() || session.seeks(at) {
                // Boxed: the futures of handles stay as small as they are without a session.
                return Box::pin(Turn::new(self, session, at).read(read)).await;
            }
        }
        if self.strengths.read != ReadStrength::Local {
            return Box::pin(self.look(read)).await.map(|(reply, _)| reply);
        }
        self.store.read(read).await.map_err(|error| Error::of_read(error, self.store.region()))
    }

    /// Entries of a feed in the order of their arrival: the local region's own, whatever the strength of reads.
    pub(crate) async fn arrived(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, Error> {
        let failed = |error| Error::of_read(error, self.store.region());
        let at = self.partition(&key.name);
        if let Some(session) = self.session.as_ref().filter(|session| session.seeks(at)) {
            Box::pin(Turn::new(self, session, at).catch_up()).await?;
        }
        let arrived = self.store.arrived(key, since, limit).await.map_err(failed)?;
        if let Some(session) = self.session.as_ref().filter(|session| session.reads_raise()) {
            // Asked behind the read: it says more than what was read, never less.
            session.saw(at, &self.store.standing(at.number).await.map_err(failed)?);
        }
        Ok(arrived)
    }

    /// The cells that a read is answered from, and the time there.
    pub(crate) async fn cells(&self, excerpt: &Excerpt) -> Result<(KeyState, Version), Error> {
        let looked = match &self.session {
            Some(session) => {
                let at = self.partition(&excerpt.key.name);
                Box::pin(Turn::new(self, session, at).cells(excerpt)).await?
            }
            None => self.look_into(excerpt).await?,
        };
        Ok((looked.state, looked.now))
    }

    pub(crate) async fn write(&self, write: &Write) -> Result<Outcome, Error> {
        if self.strengths.write != WriteStrength::Local {
            let done = Box::pin(self.write_all(std::slice::from_ref(write))).await.pop();
            return done.unwrap_or_else(|| Err(Error::new(ErrorKind::Protocol, "an answer is missing")));
        }
        match &self.session {
            Some(session) => {
                let at = self.partition(&write.key.name);
                Box::pin(Turn::new(self, session, at).write(write)).await
            }
            None => self.store.write(write).await.map_err(|error| Error::of_write(error, self.store.region())),
        }
    }

    pub(crate) async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, Error>> {
        match self.strengths.write {
            WriteStrength::Local | WriteStrength::Replicated(_) => self.write_here(writes, None).await,
            WriteStrength::Regions(_) | WriteStrength::Majority | WriteStrength::All => {
                Box::pin(self.write_strongly(writes)).await
            }
        }
    }

    /// In the local region and, if that is asked for, at its replicas. It ends by then, if there is such a moment.
    pub(super) async fn write_here(&self, writes: &[Write], until: Option<Instant>) -> Vec<Result<Outcome, Error>> {
        match &self.session {
            Some(session) => Box::pin(self.write_all_seen(session, writes, until)).await,
            None => {
                let (outcomes, shortfall) = self.execute(writes, until).await;
                self.told(outcomes, shortfall.as_ref())
            }
        }
    }

    /// Outcomes as their callers hear of them: what was done and not confirmed as asked for is an error, too.
    fn told(
        &self,
        outcomes: Vec<Result<Outcome, StoreError>>,
        shortfall: Option<&Error>,
    ) -> Vec<Result<Outcome, Error>> {
        let told = outcomes.into_iter().map(|done| match (done, shortfall) {
            (Ok(_), Some(shortfall)) => Err(shortfall.clone()),
            (Ok(outcome), None) => Ok(outcome),
            (Err(error), _) => Err(Error::of_write(error, self.store.region())),
        });
        told.collect()
    }

    fn partition(&self, name: &[u8]) -> Partition {
        let keyspace = KeyspaceId::of(&self.island.keyspace);
        let of = self.store.partitions();
        Partition { keyspace, number: partition_of(name, of), of }
    }

    /// Behind the pipeline each partition is asked once where it stands: that covers all the writes that went there.
    async fn write_all_seen(
        &self,
        session: &Session,
        writes: &[Write],
        until: Option<Instant>,
    ) -> Vec<Result<Outcome, Error>> {
        let partition = |write: &Write| self.partition(&write.key.name);
        let partitions: BTreeSet<Partition> = writes.iter().map(partition).collect();
        let mut turns: Vec<Turn<'_>> = partitions.iter().map(|at| Turn::new(self, session, *at)).collect();
        for ready in join_all(turns.iter_mut().map(Turn::before_write)).await {
            if let Err(error) = ready {
                return writes.iter().map(|_| Err(error.clone())).collect();
            }
        }
        let begun: Vec<_> = turns.iter().map(|turn| turn.session.begin_write(turn.at, turn.here())).collect();
        let (outcomes, shortfall) = self.execute(writes, until).await;
        // Without an answer in time the session does not know how much is enough; what was written is known.
        let stand = |at: &Partition| {
            let standing = self.store.standing(at.number);
            async move {
                match until {
                    Some(until) => timeout_at(until, standing).await.ok()?.ok(),
                    None => standing.await.ok(),
                }
            }
        };
        let standings = join_all(partitions.iter().map(stand)).await;
        for ((writing, at), standing) in begun.into_iter().zip(&partitions).zip(standings) {
            let here = writes.iter().zip(&outcomes).filter(|(write, _)| partition(write) == *at);
            if let Some(end) = here.map(|(write, outcome)| Ending::of(&write.mutation, outcome)).max() {
                end.note(writing, standing.as_ref());
            }
        }
        self.told(outcomes, shortfall.as_ref())
    }
}

/// One call of a session.
struct Turn<'k> {
    keyspace: &'k Keyspace,
    session: &'k Session,
    at: Partition,
    members: Vec<Member<'k>>,
    until: Instant,
    /// Who has said in this call where they stand.
    asked: BTreeSet<SourceId>,
}

impl<'k> Turn<'k> {
    fn new(keyspace: &'k Keyspace, session: &'k Session, at: Partition) -> Self {
        let regions = keyspace.island.stores.iter();
        Self {
            keyspace,
            session,
            at,
            members: regions.map(|(region, store)| (SourceId::of(at.keyspace, region), store)).collect(),
            until: Instant::now() + session.patience(),
            asked: BTreeSet::new(),
        }
    }

    fn local(&self) -> &'k Arc<dyn Store> {
        &self.keyspace.store
    }

    /// The local region's writes.
    fn here(&self) -> SourceId {
        SourceId::of(self.at.keyspace, self.local().region())
    }

    /// The regions of these sources, but for the local one.
    fn others(&self, sources: &BTreeSet<SourceId>) -> Vec<Member<'k>> {
        let here = self.here();
        let is_meant = |(source, _): &&Member<'_>| *source != here && sources.contains(source);
        self.members.iter().filter(is_meant).copied().collect()
    }

    /// What these regions lack together. Who was asked in this call has said all that there is.
    fn lack(&self, standings: &[&Standing]) -> Lack {
        let members: Vec<SourceId> = self.members.iter().map(|(source, _)| *source).collect();
        let mut lack = self.session.lack(self.at, &members, standings);
        lack.vague.retain(|source| !self.asked.contains(source));
        lack
    }

    async fn read(&mut self, read: &Read) -> Result<Reply, Error> {
        let mut pause = PAUSES.0;
        loop {
            let doubts = self.session.doubts();
            let (reply, standings) = self.keyspace.look(read).await?;
            let standings: Vec<&Standing> = standings.iter().collect();
            let lack = self.lack_once_asked(&standings, doubts).await;
            if lack.is_empty() {
                return Ok(self.taken(reply, &standings));
            }
            if let Some(reply) = self.read_elsewhere(read, &lack).await {
                return Ok(reply);
            }
            self.pause(&mut pause, &lack).await?;
        }
    }

    /// Cells of regions that have together what was seen. No region is asked for them in the others' place.
    async fn cells(&mut self, excerpt: &Excerpt) -> Result<Looked, Error> {
        let mut pause = PAUSES.0;
        loop {
            let doubts = self.session.doubts();
            let looked = self.keyspace.look_into(excerpt).await?;
            let standings: Vec<&Standing> = looked.standings.iter().collect();
            let lack = self.lack_once_asked(&standings, doubts).await;
            if lack.is_empty() {
                if self.session.reads_raise() {
                    standings.iter().for_each(|standing| self.session.saw(self.at, standing));
                }
                return Ok(looked);
            }
            self.pause(&mut pause, &lack).await?;
        }
    }

    /// An answer that follows from what these regions hold together.
    fn taken(&self, reply: Reply, standings: &[&Standing]) -> Reply {
        if self.session.reads_raise() {
            standings.iter().for_each(|standing| self.session.saw(self.at, standing));
        }
        reply
    }

    async fn read_elsewhere(&self, read: &Read, lack: &Lack) -> Option<Reply> {
        match self.session.when_behind() {
            WhenBehind::Wait => None,
            WhenBehind::AskOrigin => {
                for (_, store) in self.others(&lack.sources()) {
                    if let Ok(Ok((reply, standing))) = timeout_at(self.until, store.read_and_stand(read)).await
                        && self.lack(&[&standing]).is_empty()
                    {
                        return Some(self.taken(reply, &[&standing]));
                    }
                }
                None
            }
            WhenBehind::Merge => {
                let others = self.others(&lack.sources());
                let stores = others.into_iter().map(|(_, store)| store).chain([self.local()]);
                let excerpt = Excerpt::of_read(read);
                let cells = join_all(stores.map(|store| timeout_at(self.until, store.cells_and_stand(&excerpt)))).await;
                let cells: Vec<_> = cells.into_iter().filter_map(Result::ok).filter_map(Result::ok).collect();
                let standings: Vec<&Standing> = cells.iter().map(|(_, standing)| standing).collect();
                if !self.lack(&standings).is_empty() {
                    return None;
                }
                let reply = Merge::of(&read.key, &cells)?.answer(read).ok()?;
                Some(self.taken(reply, &standings))
            }
        }
    }

    /// What the regions that answered lack together, once the others have said what nobody knows: each is asked once in a
    /// call. `doubts` are those from before they said where they stand.
    async fn lack_once_asked(&mut self, answered: &[&Standing], doubts: u64) -> Lack {
        let lack = self.lack(answered);
        if lack.vague.is_empty() {
            return lack;
        }
        for standing in answered {
            let source = SourceId::of(self.at.keyspace, &standing.origin.region);
            if lack.vague.contains(&source) {
                self.session.learn(self.at, standing, doubts);
                self.asked.insert(source);
            }
        }
        let is_open = |(source, _): &&Member<'_>| lack.vague.contains(source) && !self.asked.contains(source);
        let others: Vec<Member<'_>> = self.members.iter().filter(is_open).copied().collect();
        let (until, number) = (self.until, self.at.number);
        let asked = others.into_iter().map(|(source, store)| async move {
            let standing = timeout_at(until, store.standing(number)).await.ok()?.ok()?;
            Some((source, standing))
        });
        for (source, standing) in join_all(asked).await.into_iter().flatten() {
            self.session.learn(self.at, &standing, doubts);
            self.asked.insert(source);
        }
        self.lack(answered)
    }

    /// Waits a moment, or says what is missing when the time is over.
    async fn pause(&self, pause: &mut Duration, lack: &Lack) -> Result<(), Error> {
        if Instant::now() + *pause >= self.until {
            return Err(self.give_up(lack).await);
        }
        sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
        Ok(())
    }

    /// What every region has been asked for, and none has, is not asked for again.
    async fn give_up(&self, lack: &Lack) -> Error {
        let by = Instant::now() + self.session.patience().max(QUESTION);
        let asked = self.members.iter().map(|(_, store)| timeout_at(by, store.standing(self.at.number)));
        let standings: Vec<Option<Standing>> =
            join_all(asked).await.into_iter().map(|said| said.ok().and_then(Result::ok)).collect();
        let known: Vec<&Standing> = standings.iter().flatten().collect();
        let left = self.lack(&known);
        let lost: Vec<_> = lack.sights.iter().copied().filter(|sight| left.sights.contains(sight)).collect();
        let (bound, region) = (self.session.patience(), self.local().region());
        if known.len() == standings.len() && left.vague.is_empty() && !lost.is_empty() {
            self.session.forget(&lost);
            let what = "no region has all that this session has seen: a region lost what it had acknowledged, or the \
                        token is not of this system; it is not asked for again";
            return Error::new(ErrorKind::Lost, what).at(region);
        }
        let what = format!("it has not yet what this session has seen, after {bound:?}; is a link down?");
        Error::new(ErrorKind::Behind, what).at(region)
    }

    async fn write(&mut self, write: &Write) -> Result<Outcome, Error> {
        self.before_write().await?;
        let writing = self.session.begin_write(self.at, self.here());
        let (outcome, standing) = self.local().write_and_stand(write).await;
        let is_read = outcome.is_ok() && self.session.reads_raise();
        Ending::of(&write.mutation, &outcome).note(writing, standing.as_ref());
        // What it answers is read, too: a sum, whether a member was there, what stood there before.
        if let Some(standing) = standing.filter(|_| is_read) {
            self.session.saw(self.at, &standing);
        }
        outcome.map_err(|error| Error::of_write(error, self.local().region()))
    }

    /// Waits until the local region has what was seen before, if the session's writes are to follow that.
    ///
    /// The question comes before the write, not with it: a region that had it then still has it when the write is done.
    async fn before_write(&mut self) -> Result<(), Error> {
        if !self.session.orders_writes() || !self.session.seeks(self.at) {
            return Ok(());
        }
        self.catch_up().await
    }

    /// Waits until the local region has what was seen.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let mut pause = PAUSES.0;
        loop {
            let doubts = self.session.doubts();
            let standing = self.local().standing(self.at.number).await;
            let standing = standing.map_err(|error| Error::of_read(error, self.local().region()))?;
            let lack = self.lack_once_asked(&[&standing], doubts).await;
            if lack.is_empty() {
                return Ok(());
            }
            self.pause(&mut pause, &lack).await?;
        }
    }
}
