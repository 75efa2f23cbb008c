//! Reads and writes that ask for more than the local region; see [`strength`](crate::strength).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_engine::{Delta, Field, Key, KeyState, Outcome, Push, PushReply, RegionId, Standing, Version};
use futures_util::{
    StreamExt,
    future::join_all,
    stream::{FuturesOrdered, FuturesUnordered},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::merge::Merge;
use crate::{
    client::Keyspace,
    error::{Attempt, Error, ErrorKind},
    keyspace::partition_of,
    sessions::Session,
    store::{Excerpt, Read, Replication, Reply, Store, StoreError, Write},
    strength::{Found, Missed, Progress, Reach, ReadStrength, WriteStrength},
};

/// Between two questions to a region that has not what is needed: from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Beyond the deadline, for a primary to say which replicas have not confirmed.
const TELLING: Duration = Duration::from_secs(2);

/// One region's cells of a key, and where it stood.
type Answered = (KeyState, Standing);

/// Cells that a read is answered from.
pub(super) struct Looked {
    pub(super) state: KeyState,
    /// The time there.
    pub(super) now: Version,
    /// Of the regions that they are from.
    pub(super) standings: Vec<Standing>,
}

impl Keyspace {
    /// When a call that begins now has to end.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.strengths.deadline
    }

    /// The home region.
    fn home(&self) -> Result<&Arc<dyn Store>, Error> {
        let refuse = |what: String| Error::new(ErrorKind::Config, what);
        let keyspace = &self.island.keyspace;
        let home = self.strengths.home.as_ref().ok_or_else(|| {
            refuse(format!("keyspace {keyspace:?} has no home: set keyspaces.{keyspace}.home, or with_home"))
        })?;
        let store = self.island.stores.get(home);
        store.ok_or_else(|| refuse(format!("the home of keyspace {keyspace:?} is {home}: {}", self.why_unknown())))
    }

    /// Why this client has no way to a region.
    pub(super) fn why_unknown(&self) -> String {
        let (known, members) = (self.island.stores.len(), self.strengths.members);
        if known == 1 && members > 1 {
            return "this client was built for its local region alone (`Builder::local_only`)".to_owned();
        }
        "this client's configuration does not name it".to_owned()
    }

    /// Reads where the strength says, by the keyspace's deadline. The standings are of the regions that answered.
    pub(super) async fn look(&self, read: &Read) -> Result<(Reply, Vec<Standing>), Error> {
        match self.strengths.read {
            ReadStrength::Local => self.look_at(&self.store, read).await,
            ReadStrength::Home => {
                let home = self.home()?;
                let late = || Error::new(ErrorKind::Timeout, "no answer in time").at(home.region());
                timeout_at(self.until(), self.look_at(home, read)).await.unwrap_or_else(|_| Err(late()))
            }
            ReadStrength::Merged(_) | ReadStrength::Majority => {
                let answered = self.ask(&Excerpt::of_read(read)).await?;
                let merge = Merge::of(&read.key, &answered).ok_or_else(broken)?;
                let reply = merge.answer(read).map_err(|error| Error::of_read(error, self.store.region()))?;
                Ok((reply, answered.into_iter().map(|(_, standing)| standing).collect()))
            }
        }
    }

    /// The cells that such a read is answered from.
    pub(super) async fn look_into(&self, excerpt: &Excerpt) -> Result<Looked, Error> {
        let store = match self.strengths.read {
            ReadStrength::Local => &self.store,
            ReadStrength::Home => self.home()?,
            ReadStrength::Merged(_) | ReadStrength::Majority => {
                let answered = self.ask(excerpt).await?;
                let merge = Merge::of(&excerpt.key, &answered).ok_or_else(broken)?;
                let (state, now) = merge.into_state(&excerpt.key);
                let standings = answered.into_iter().map(|(_, standing)| standing).collect();
                return Ok(Looked { state, now, standings });
            }
        };
        let late = || Error::new(ErrorKind::Timeout, "no answer in time").at(store.region());
        let cells = timeout_at(self.until(), store.cells_and_stand(excerpt)).await.map_err(|_| late())?;
        let (state, standing) = cells.map_err(|error| Error::of_read(error, store.region()))?;
        Ok(Looked { state, now: standing.now, standings: vec![standing] })
    }

    async fn look_at(&self, store: &Arc<dyn Store>, read: &Read) -> Result<(Reply, Vec<Standing>), Error> {
        let answer = store.read_and_stand(read).await;
        let (reply, standing) = answer.map_err(|error| Error::of_read(error, store.region()))?;
        Ok((reply, vec![standing]))
    }

    /// Asks every region for its cells, until as many of one membership have answered as the strength says.
    async fn ask(&self, excerpt: &Excerpt) -> Result<Vec<Answered>, Error> {
        let need = self.quorum(self.strengths.read.quorum(self.strengths.members))?;
        let (began, until) = (Instant::now(), self.until());
        let mut asking: FuturesUnordered<_> =
            self.island.stores.values().map(|store| cells_of(store, excerpt, began, until)).collect();
        let (mut answered, mut failed) = (Vec::<Answered>::new(), Vec::new());
        while let Some(answer) = asking.next().await {
            match answer {
                Ok(answer) => answered.push(answer),
                Err(attempt) => failed.push(attempt),
            }
            // Regions of an older membership may not know of a member that the others count on.
            let epoch = answered.iter().map(|(_, standing)| standing.epoch).max();
            let counted = answered.iter().filter(|(_, standing)| Some(standing.epoch) == epoch);
            if counted.count() >= need {
                answered.retain(|(_, standing)| Some(standing.epoch) == epoch);
                self.repair(excerpt, &answered);
                return Ok(answered);
            }
        }
        let had: Vec<&str> = answered.iter().map(|(_, standing)| standing.origin.region.as_str()).collect();
        let had = if had.is_empty() { "none".to_owned() } else { had.join(", ") };
        let what = format!("a read of {need} of {} regions was answered by {had}", self.strengths.members);
        Err(Error::new(ErrorKind::TooFewAnswers, what).with_attempts(failed))
    }

    fn repair(&self, excerpt: &Excerpt, regions: &[Answered]) {
        let local = regions.iter().find(|(_, standing)| standing.origin.region == *self.store.region());
        if let Some(local) = local {
            let partition = partition_of(&excerpt.key.name, self.store.partitions());
            self.repairs.repair(&self.store, partition, &Found { excerpt, regions, local });
        }
    }

    /// A number of regions that there can be.
    fn quorum(&self, asked: Option<usize>) -> Result<usize, Error> {
        let (need, members) = (asked.unwrap_or(1), self.strengths.members);
        if need <= members {
            return Ok(need);
        }
        let keyspace = &self.island.keyspace;
        Err(Error::new(
            ErrorKind::Config,
            format!("{need} regions were asked for, and keyspace {keyspace:?} has {members}"),
        ))
    }

    /// Executes writes in the local region, until then if there is such a moment, and waits for its replicas if the
    /// strength says so. Besides the outcomes, what is wrong with those that were done.
    pub(super) async fn execute(
        &self,
        writes: &[Write],
        until: Option<Instant>,
    ) -> (Vec<Result<Outcome, StoreError>>, Option<Error>) {
        let WriteStrength::Replicated(replicas) = self.strengths.write else {
            let outcomes = match until {
                // A timer around it would not know what was done of a write in steps.
                Some(until) => self.store.write_all_within(writes, until.duration_since(Instant::now())).await,
                None => self.store.write_all(writes).await,
            };
            return (outcomes, None);
        };
        let written = self.store.write_replicated(writes, replicas, self.strengths.deadline);
        // Longer than the wait for replicas, whose shortfall says more than a timer.
        let Ok(done) = timeout_at(self.until() + TELLING, written).await else {
            let late = StoreError::NoAnswer("no answer in time".to_owned());
            return (vec![Err(late); writes.len()], None);
        };
        (done.outcomes, self.shortfall(replicas, done.replication))
    }

    /// What is wrong when too few replicas have confirmed.
    fn shortfall(&self, replicas: u16, replication: Result<Replication, StoreError>) -> Option<Error> {
        let region = self.store.region();
        let mut reach = Reach { has: vec![region.to_string()], ..Reach::default() };
        let what = match replication {
            Ok(Replication { confirmed, .. }) if confirmed >= u64::from(replicas) => return None,
            Ok(Replication { confirmed, behind }) => {
                let missed = |place| Missed { place, why: "it has not confirmed in time".to_owned() };
                reach.may_have = behind.into_iter().map(missed).collect();
                format!("applied, and {confirmed} of the {replicas} replicas asked for have it")
            }
            Err(error) => {
                format!("applied, and nobody knows how many of the {replicas} replicas asked for have it: {error}")
            }
        };
        Some(Error::new(ErrorKind::PartlyApplied, what).with_reach(reach).at(region))
    }

    /// The writes, with as many regions as the strength says. Also what changed nothing is pushed: whoever repeats a write
    /// that too few regions had finds it done in the local one.
    pub(super) async fn write_strongly(&self, writes: &[Write]) -> Vec<Result<Outcome, Error>> {
        let need = match self.quorum(self.strengths.write.quorum(self.strengths.members)) {
            Ok(need) => need,
            Err(error) => return writes.iter().map(|_| Err(error.clone())).collect(),
        };
        // A session may first wait for what its write is to follow.
        let ordered = self.session.as_ref().filter(|session| session.orders_writes());
        let until = self.until() + ordered.map_or(Duration::ZERO, Session::patience);
        let before = self.stand(writes, until).await;
        let before = match before {
            Ok(before) => before,
            Err(error) => return writes.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Box::pin(self.write_here(writes, Some(until))).await;
        let mut spreading: FuturesOrdered<_> = excerpts(writes, &results)
            .into_values()
            .map(|excerpt| {
                let before = before.get(&partition_of(&excerpt.key.name, self.store.partitions()));
                async move { (excerpt.key.clone(), self.spread(&excerpt, before, need, until).await) }
            })
            .collect();
        let mut failed: BTreeMap<Key, Error> = BTreeMap::new();
        while let Some((key, done)) = spreading.next().await {
            if let Err(error) = done {
                failed.insert(key, error);
            }
        }
        for (write, result) in writes.iter().zip(&mut results) {
            if let (Ok(_), Some(error)) = (&*result, failed.get(&write.key)) {
                *result = Err(error.clone());
            }
        }
        results
    }

    /// Where the partitions of these writes stand. Nothing was written yet.
    async fn stand(&self, writes: &[Write], until: Instant) -> Result<BTreeMap<u16, Standing>, Error> {
        let mut partitions: Vec<u16> =
            writes.iter().map(|write| partition_of(&write.key.name, self.store.partitions())).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let asked = partitions.into_iter().map(|partition| async move {
            let late =
                || StoreError::Unavailable("it did not say in time where it stands; nothing was written".to_owned());
            let standing = timeout_at(until, self.store.standing(partition)).await.unwrap_or_else(|_| Err(late()));
            // Without an answer to a question, nothing was written either.
            let standing = standing.map_err(|error| match error {
                StoreError::NoAnswer(what) => StoreError::Unavailable(what),
                error => error,
            });
            Ok((partition, standing.map_err(|error| Error::of_write(error, self.store.region()))?))
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Pushes what stands here to the other regions, until enough have it.
    async fn spread(
        &self,
        excerpt: &Excerpt,
        before: Option<&Standing>,
        need: usize,
        until: Instant,
    ) -> Result<(), Error> {
        let local = self.store.region();
        let push = self.read_back(excerpt, before, until).await?;
        let partition = partition_of(&excerpt.key.name, self.store.partitions());
        let mut reach = Reach { has: vec![local.to_string()], ..Reach::default() };
        let others = self.island.stores.values().filter(|store| store.region() != local);
        let mut pushing: FuturesUnordered<_> =
            others.map(|store| self.push_until(store, partition, &push, until)).collect();
        while reach.has.len() < need {
            match pushing.next().await {
                Some((region, None)) => reach.has.push(region),
                Some((region, Some(progress))) => progress.note(region, &mut reach),
                None => {
                    let (has, members) = (reach.has.len(), self.strengths.members);
                    let what =
                        format!("applied, and {has} of {members} regions have it in time; {need} were asked for");
                    return Err(Error::new(ErrorKind::PartlyApplied, what).with_reach(reach).at(local));
                }
            }
        }
        Ok(())
    }

    /// What was written, as it stands now. Of the same incarnation as before: else it may have been lost in between, and
    /// others would confirm what they have not. Without an answer it is in the local region, and nobody was sent it.
    async fn read_back(&self, excerpt: &Excerpt, before: Option<&Standing>, until: Instant) -> Result<Push, Error> {
        let local = self.store.region();
        let here_alone = |why: &str| {
            let others = self.island.stores.keys().filter(|region| *region != local);
            let unsent = |region: &RegionId| Missed { place: region.to_string(), why: "it was not sent there".into() };
            let reach =
                Reach { has: vec![local.to_string()], may_have: Vec::new(), lacks: others.map(unsent).collect() };
            let what = format!("applied, and then what to send to others could not be read: {why}");
            Error::new(ErrorKind::PartlyApplied, what).with_reach(reach).at(local)
        };
        let read = async {
            let (state, standing) = self.store.cells_and_stand(excerpt).await?;
            if excerpt.fields.is_none() || !state.fields.contains_key(&Field::Expiry) {
                return Ok((state, standing));
            }
            self.store.cells_and_stand(&Excerpt::whole(excerpt.key.clone())).await
        };
        let answer = timeout_at(until, read).await;
        let answer = answer.map_err(|_| here_alone("no answer in time"))?;
        let (state, standing): Answered = answer.map_err(|error| here_alone(&error.to_string()))?;
        if before.map(|before| &before.origin) != Some(&standing.origin) {
            let what = "the region's history broke right behind the write";
            return Err(Error::new(ErrorKind::MaybeApplied, what).at(local));
        }
        let delta = as_logged(excerpt.delta(&state), &standing);
        Ok(standing.push(vec![delta]))
    }

    /// Pushes to one region until it has what it is sent: `None`, or how far it came. A push may be repeated.
    async fn push_until(
        &self,
        store: &Arc<dyn Store>,
        partition: u16,
        push: &Push,
        until: Instant,
    ) -> (String, Option<Progress>) {
        let region = store.region().to_string();
        let mut progress = Progress::new();
        let mut pause = PAUSES.0;
        loop {
            let before = progress.clone();
            progress.sent();
            let Ok(answer) = timeout_at(until, self.island.conflicts.push(store.as_ref(), partition, push)).await
            else {
                break;
            };
            // A later incarnation of the sender stays later.
            let is_final = matches!(answer, Ok(PushReply::Closed));
            if progress.heard(&before, answer) {
                return (region, None);
            }
            if is_final || !rest(&mut pause, until).await {
                break;
            }
        }
        (region, Some(progress))
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Protocol, "the regions' cells do not fit together")
}

/// The excerpts of writes that were done, one for each key.
fn excerpts(writes: &[Write], results: &[Result<Outcome, Error>]) -> BTreeMap<Key, Excerpt> {
    let mut excerpts: BTreeMap<Key, Excerpt> = BTreeMap::new();
    for (write, _) in writes.iter().zip(results).filter(|(_, result)| result.is_ok()) {
        let excerpt = Excerpt::of_write(write);
        match excerpts.get_mut(&write.key) {
            Some(known) => known.absorb(excerpt),
            None => drop(excerpts.insert(write.key.clone(), excerpt)),
        }
    }
    excerpts
}

/// Whole cells of the region itself and what it observed of others, as its log would carry them: what others wrote is not
/// what was acknowledged here, and a region that has never heard of them could not take it.
fn as_logged(mut delta: Delta, standing: &Standing) -> Delta {
    for cells in delta.fields.values_mut() {
        let logged = cells.iter().filter_map(|(origin, cell)| {
            let cell = if *origin == standing.origin { cell.clone() } else { cell.observations() };
            (!cell.is_empty()).then(|| (origin.clone(), cell))
        });
        *cells = logged.collect();
    }
    delta.fields.retain(|_, cells| !cells.is_empty());
    delta
}

/// One region's cells, or what went wrong there. Asks again while there is time: a read may be repeated.
async fn cells_of(
    store: &Arc<dyn Store>,
    excerpt: &Excerpt,
    began: Instant,
    until: Instant,
) -> Result<Answered, Attempt> {
    let mut what = "no answer in time".to_owned();
    let mut pause = PAUSES.0;
    while let Ok(answer) = timeout_at(until, store.cells_and_stand(excerpt)).await {
        match answer {
            Ok(answered) => return Ok(answered),
            Err(error) => what = error.to_string(),
        }
        if !rest(&mut pause, until).await {
            break;
        }
    }
    Err(Attempt { node: store.region().to_string(), took: began.elapsed(), what })
}

/// A pause, if there is time for one.
async fn rest(pause: &mut Duration, until: Instant) -> bool {
    if Instant::now() + *pause >= until {
        return false;
    }
    sleep(*pause).await;
    *pause = (*pause * 2).min(PAUSES.1);
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use archipelago_engine::{Kind, Mutation};

    use super::*;
    use crate::{Client, Embedded};

    /// Confirmed by regions that were pushed what the new incarnation holds, a write would be acknowledged that is lost.
    #[tokio::test]
    async fn a_write_is_read_back_of_the_incarnation_that_took_it() {
        let regions = Embedded::builder().region("a").region("b").partitions(1).build().unwrap();
        let client = Client::builder().embedded(&regions).local_region("a").without_sync().build().await.unwrap();
        client.sync_until_idle(Duration::from_secs(30)).await.unwrap();
        let keyspace = client.keyspace("default").unwrap().with_write(WriteStrength::All);
        let write = Write { key: Key::new(Kind::String, "k"), mutation: Mutation::set("v"), exclusive: false };
        let excerpt = Excerpt::of_write(&write);
        let before = keyspace.store.standing(0).await.unwrap();
        keyspace.store.write(&write).await.unwrap();
        let read = keyspace.read_back(&excerpt, Some(&before), keyspace.until()).await.unwrap();
        assert_eq!(read.deltas[0].len(), 1);
        // Between the write and the look at what it wrote.
        regions.wipe("a").unwrap();
        let error = keyspace.read_back(&excerpt, Some(&before), keyspace.until()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MaybeApplied, "{error}");
        client.shut_down().await;
    }
}
