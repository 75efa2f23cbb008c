//! Writes that go in steps: clears of keys with many fields, and cuts of long lists. See the engine's [`ClearStep`].
//!
//! A store does at most one step at once, and refuses what would take more; nothing was changed then. Here is what both
//! stores do about it, below everybody who writes: they remove what they find in the key, step by step, and repeat the
//! write if it is not done with that.

use std::{collections::HashSet, time::Duration};

use archipelago_engine::{ClearStep, End, Expiry, Key, ListEdit, Mutation, MutationError, Outcome, Standing, window};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{Store, StoreError, Write};
use crate::keyspace::partition_of;

/// Members in one step. More would hold up everybody else for longer, fewer cost more round trips.
const STEP: usize = 500;

/// How long a write goes on in steps. What is left then is there for the next who tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much longer the answer to the last step is waited for, where the call has the time: it says how much is gone.
const LAST_STEP: Duration = Duration::from_secs(1);

/// How often a write is repeated whose key is too large again after it was cleared.
const ATTEMPTS: usize = 4;

/// Some of what a key holds.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Live members.
    pub(crate) members: Vec<Bytes>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<Bytes>,
}

/// What a store does at once.
#[async_trait]
pub(crate) trait Stepwise: Sync {
    /// One write, or its refusal.
    async fn attempt(&self, write: &Write) -> Result<Outcome, StoreError>;

    /// Some live members of a key, whether or not a reader sees them. From the empty place on until there is no next,
    /// every member is found that was live all the time.
    async fn page(&self, key: &Key, from: &Bytes) -> Result<Page, StoreError>;

    /// How many elements a list shows.
    async fn length(&self, key: &Key) -> Result<usize, StoreError>;
}

/// A store that takes many writes at once.
#[async_trait]
pub(crate) trait Pipelined: Stepwise {
    /// What became of each, in order; none goes in steps.
    async fn pipelined(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>>;
}

/// How long a write goes on in steps.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'l> {
    /// Whether it is too late for another step: asked before each.
    is_late: &'l (dyn Fn() -> bool + Send + Sync),
    /// When no answer is waited for any more.
    end: Instant,
}

/// When a write in steps ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    begin: Instant,
    end: Instant,
}

impl Patience {
    /// What a write gets whose caller did not say.
    pub(crate) fn usual() -> Self {
        Self::until(Instant::now() + PATIENCE)
    }

    /// No step begins behind that moment, and the answer to the last one is waited for.
    pub(crate) fn until(begin: Instant) -> Self {
        Self { begin, end: begin + LAST_STEP }
    }

    /// Everything ends at that moment.
    pub(crate) const fn strictly(until: Instant) -> Self {
        Self { begin: until, end: until }
    }
}

/// Whether a store refused a write only because it takes more than one step.
pub(crate) const fn is_for_steps(done: &Result<Outcome, StoreError>) -> bool {
    matches!(done, Err(StoreError::Refused(MutationError::TooManyFields)))
}

/// What became of a write, once it was done in steps where it takes several.
pub(crate) async fn finish(
    store: &dyn Stepwise,
    write: &Write,
    done: Result<Outcome, StoreError>,
) -> Result<Outcome, StoreError> {
    // Boxed: the futures of all other writes stay as small as they are.
    if !is_for_steps(&done) {
        return done;
    }
    Box::pin(in_steps_until(store, write, Patience::usual())).await
}

/// The same of writes that were pipelined.
///
/// One that a later write of the same key has passed is not done: it would come after that one.
pub(crate) async fn finish_all(
    store: &dyn Stepwise,
    writes: &[Write],
    mut results: Vec<Result<Outcome, StoreError>>,
    patience: Patience,
) -> Vec<Result<Outcome, StoreError>> {
    for (at, write) in writes.iter().enumerate() {
        if !results.get(at).is_some_and(is_for_steps) {
            continue;
        }
        let mut later = writes.iter().zip(&results).skip(at + 1);
        let done = if later.any(|(other, done)| other.key == write.key && done.is_ok()) {
            Err(StoreError::Server("the key is cleared in steps, and a later write has passed".to_owned()))
        } else {
            Box::pin(in_steps_until(store, write, patience)).await
        };
        if let Some(place) = results.get_mut(at) {
            *place = done;
        }
    }
    results
}

/// In pipelines, and in steps where one takes several.
pub(crate) async fn write_all(
    store: &impl Pipelined,
    writes: &[Write],
    until: Option<Instant>,
) -> Vec<Result<Outcome, StoreError>> {
    let mut results = Vec::with_capacity(writes.len());
    for run in runs(writes) {
        let done = in_time(run, until, store.pipelined(run)).await;
        let patience = until.map_or_else(Patience::usual, Patience::strictly);
        results.extend(finish_all(store, run, done, patience).await);
    }
    results
}

/// Cuts a batch behind each write that may take steps and that another of the same key follows: in one pipeline the
/// second would pass the first.
pub(crate) fn runs(mut writes: &[Write]) -> Vec<&[Write]> {
    let mut runs = Vec::new();
    let mut begun: HashSet<&Key> = HashSet::new();
    let mut length = 0;
    while let Some(write) = writes.get(length) {
        if begun.contains(&write.key) {
            let (run, rest) = writes.split_at(length);
            runs.push(run);
            (writes, length) = (rest, 0);
            begun.clear();
        }
        if takes_steps(&write.mutation) {
            begun.insert(&write.key);
        }
        length += 1;
    }
    runs.push(writes);
    runs
}

/// Whether a write may take steps although its key is alive.
const fn takes_steps(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Clear { .. } | Mutation::Expire(_) | Mutation::Sweep { .. } => true,
        Mutation::List(edit) => matches!(edit, ListEdit::Trim { .. } | ListEdit::Remove { .. }),
        Mutation::Assign(_)
        | Mutation::Add { .. }
        | Mutation::Resolve { .. }
        | Mutation::Remove { .. }
        | Mutation::Observe { .. }
        | Mutation::ClearStep(_)
        | Mutation::Append(_)
        | Mutation::Evict(_)
        | Mutation::Claim { .. }
        | Mutation::Stock(_) => false,
    }
}

/// The same of a write that also says where its partition stood: right behind the last step.
pub(crate) async fn finish_and_stand<S: Stepwise + Store>(
    store: &S,
    write: &Write,
    (done, standing): (Result<Outcome, StoreError>, Option<Standing>),
) -> (Result<Outcome, StoreError>, Option<Standing>) {
    if !is_for_steps(&done) {
        return (done, standing);
    }
    let done = Box::pin(in_steps_until(store, write, Patience::usual())).await;
    (done, store.standing(partition_of(&write.key.name, store.partitions())).await.ok())
}

/// The answers to writes that were pipelined, or what is known of them when none come until then.
async fn in_time(
    writes: &[Write],
    until: Option<Instant>,
    pipelined: impl Future<Output = Vec<Result<Outcome, StoreError>>>,
) -> Vec<Result<Outcome, StoreError>> {
    let Some(until) = until else { return pipelined.await };
    if Instant::now() >= until {
        return vec![
            Err(StoreError::Unavailable("its turn did not come in time: nothing was sent".into()));
            writes.len()
        ];
    }
    timeout_at(until, pipelined).await.unwrap_or_else(|_| vec![Err(late()); writes.len()])
}

fn late() -> StoreError {
    StoreError::NoAnswer("no answer in time".to_owned())
}

async fn in_steps_until(
    store: &dyn Stepwise,
    write: &Write,
    Patience { begin, end }: Patience,
) -> Result<Outcome, StoreError> {
    in_steps(store, write, Limit { is_late: &|| Instant::now() >= begin, end }).await
}

/// Does in steps what was refused in one.
async fn in_steps(store: &dyn Stepwise, write: &Write, limit: Limit<'_>) -> Result<Outcome, StoreError> {
    let steps = Steps { store, key: &write.key, limit };
    match &write.mutation {
        Mutation::Clear { .. } => {
            let removed = steps.clear(None).await.map_err(Unfinished::of_removal)?;
            Ok(Outcome::Cleared { existed: removed.is_some_and(|n| n > 0), previous: None })
        }
        Mutation::Sweep { grace } => {
            let removed = steps.clear(Some(*grace)).await.map_err(Unfinished::of_removal)?;
            Ok(Outcome::Cleared { existed: removed.is_some(), previous: None })
        }
        mutation => steps.make_room(write, mutation).await,
    }
}

/// One write in steps.
struct Steps<'s> {
    store: &'s dyn Stepwise,
    key: &'s Key,
    limit: Limit<'s>,
}

/// Why steps ended before their end, and how many members they had removed.
struct Unfinished {
    removed: u64,
    error: StoreError,
}

impl Unfinished {
    /// Of a write that is done when everything is removed. A step without an answer may be done.
    fn of_removal(self) -> StoreError {
        let Self { removed, error } = self;
        match error {
            StoreError::NoAnswer(why) if removed == 0 => StoreError::NoAnswer(format!(
                "up to {STEP} members may be removed and the rest stands, the same call goes on with it: {why}"
            )),
            StoreError::NoAnswer(why) => StoreError::Partly(format!(
                "{removed} members are removed, up to {STEP} more may be, and the rest stands, the same call goes on \
                 with it: {why}"
            )),
            error if removed == 0 => error,
            error => StoreError::Partly(format!(
                "{removed} members are removed and the rest stands, the same call goes on with it: {error}"
            )),
        }
    }

    /// Of a write that was to follow.
    fn of_room(self) -> StoreError {
        let what = "the key expired, and has too many members to be cleared at once";
        StoreError::Unavailable(format!("{what}; some are gone, repeat the write to go on: {}", self.error))
    }
}

impl Steps<'_> {
    /// Clears a key that is past its expiry, and then writes.
    async fn make_room(&self, write: &Write, mutation: &Mutation) -> Result<Outcome, StoreError> {
        for _ in 0..ATTEMPTS {
            let was_over = self.clear(Some(0)).await.map_err(Unfinished::of_room)?.is_some();
            match self.in_time(self.store.attempt(write)).await {
                Err(StoreError::Refused(MutationError::TooManyFields)) if was_over => {}
                Err(StoreError::Refused(MutationError::TooManyFields)) => return self.remove(mutation).await,
                done => return done,
            }
        }
        Err(StoreError::Unavailable("the key expires again and again while it is cleared".to_owned()))
    }

    /// What takes steps although the key is alive.
    async fn remove(&self, mutation: &Mutation) -> Result<Outcome, StoreError> {
        match mutation {
            // An expiry that is over: else it would not have been refused.
            Mutation::Expire(Expiry::In(_) | Expiry::At(_)) => {
                let removed = self.clear(None).await.map_err(Unfinished::of_removal)?;
                Ok(Outcome::Expiry(removed.is_some_and(|n| n > 0)))
            }
            Mutation::List(ListEdit::Trim { start, stop }) => self.trim(*start, *stop).await,
            Mutation::List(ListEdit::Remove { value, count }) => self.remove_value(value, *count).await,
            _ => Err(MutationError::TooManyFields.into()),
        }
    }

    /// Removes what stands in the key, page by page, and its expiry with the last. `None`: the key was not past its expiry
    /// (any more).
    async fn clear(&self, grace: Option<u64>) -> Result<Option<u64>, Unfinished> {
        let (mut removed, mut from) = (0, Bytes::new());
        let fail = |removed| move |error| Unfinished { removed, error };
        if grace.is_some() && self.step(&[], grace, false).await.map_err(fail(0))?.is_none() {
            return Ok(None);
        }
        loop {
            let page = self.look(self.store.page(self.key, &from)).await;
            let Page { members, next } = page.map_err(fail(removed))?;
            let mut pieces = members.chunks(STEP).peekable();
            // The last step goes also where nothing is left: it takes the expiry along.
            while let Some(some) = pieces.next().or_else(|| next.is_none().then_some(&[])) {
                let is_last = next.is_none() && pieces.peek().is_none();
                match self.step(some, grace, is_last).await.map_err(fail(removed))? {
                    Some(went) => removed += went,
                    None => return Ok(None),
                }
                if is_last {
                    return Ok(Some(removed));
                }
            }
            from = next.unwrap_or_default();
        }
    }

    async fn step(&self, members: &[Bytes], grace: Option<u64>, is_last: bool) -> Result<Option<u64>, StoreError> {
        let step = ClearStep { members: members.to_vec(), grace, is_last };
        match self.attempt(Mutation::ClearStep(step)).await? {
            Outcome::Stepped(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }

    /// Cuts the ends off, as they stand at each step: the outermost first.
    async fn trim(&self, start: i64, stop: i64) -> Result<Outcome, StoreError> {
        let length = self.look(self.store.length(self.key)).await?;
        let (skip, take) = window(start, stop, length);
        let (front, back) = if take == 0 { (0, length) } else { (skip, length.saturating_sub(skip + take)) };
        let mut removed = 0;
        for (end, mut left) in [(End::Back, back), (End::Front, front)] {
            while left > 0 {
                let some = left.min(STEP);
                let cut = i64::try_from(some).unwrap_or(i64::MAX);
                let (start, stop) = if end == End::Back { (0, -cut - 1) } else { (cut, -1) };
                let went = self.take_out(ListEdit::Trim { start, stop }, removed).await?;
                removed += went;
                left = if went == 0 { 0 } else { left - some };
            }
        }
        Ok(Outcome::Removed(removed))
    }

    async fn remove_value(&self, value: &Bytes, count: i64) -> Result<Outcome, StoreError> {
        let wanted = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let mut removed = 0;
        while removed < wanted {
            let some = i64::try_from((wanted - removed).min(STEP as u64)).unwrap_or(i64::MAX);
            let count = if count < 0 { -some } else { some };
            let went = self.take_out(ListEdit::Remove { value: value.clone(), count }, removed).await?;
            removed += went;
            if went < some.unsigned_abs() {
                break;
            }
        }
        Ok(Outcome::Removed(removed))
    }

    async fn take_out(&self, edit: ListEdit, removed: u64) -> Result<u64, StoreError> {
        let failed = |error| Unfinished { removed, error }.of_removal();
        match self.attempt(Mutation::List(edit)).await.map_err(failed)? {
            Outcome::Removed(went) => Ok(went),
            other => Err(unexpected(&other)),
        }
    }

    async fn attempt(&self, mutation: Mutation) -> Result<Outcome, StoreError> {
        if (self.limit.is_late)() {
            return Err(StoreError::Unavailable("the time for it is over".to_owned()));
        }
        let write = Write { key: self.key.clone(), mutation, exclusive: false };
        self.in_time(self.store.attempt(&write)).await
    }

    /// A read: without an answer to it nothing was done.
    async fn look<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.in_time(read).await.map_err(|error| match error {
            StoreError::NoAnswer(what) => StoreError::Unavailable(what),
            error => error,
        })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        timeout_at(self.limit.end, answer).await.unwrap_or_else(|_| Err(late()))
    }
}

fn unexpected(outcome: &Outcome) -> StoreError {
    StoreError::Protocol(format!("{outcome:?}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::SystemTime,
    };

    use archipelago_engine::{Field, Kind, RegionId};

    use super::*;
    use crate::{
        Embedded,
        store::{Query, Read, Reply},
    };

    const MANY: usize = 2_500;

    /// A store that is gone after some steps.
    struct Frail {
        store: Arc<dyn Store>,
        left: AtomicUsize,
        /// Whether it then says so, or nothing.
        is_silent: bool,
    }

    #[async_trait]
    impl Stepwise for Frail {
        async fn attempt(&self, write: &Write) -> Result<Outcome, StoreError> {
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
                return if self.is_silent { pending().await } else { Err(StoreError::Unavailable("gone".to_owned())) };
            }
            self.store.write(write).await
        }

        async fn page(&self, key: &Key, from: &Bytes) -> Result<Page, StoreError> {
            let state = self.store.inspect(key).await?.state.unwrap_or_default();
            let live = state.fields.iter().filter(|(_, stamped)| stamped.cells.is_live());
            let members = live.filter_map(|(field, _)| match field {
                Field::Member(member) => Some(member.clone()),
                Field::Expiry => None,
            });
            let members: Vec<Bytes> = members.filter(|member| member > from).take(700).collect();
            let next = members.last().cloned().filter(|_| members.len() == 700);
            Ok(Page { members, next })
        }

        async fn length(&self, _: &Key) -> Result<usize, StoreError> {
            Ok(0)
        }
    }

    async fn large(expiry: Option<Expiry>) -> (Embedded, Frail, Key) {
        let regions = Embedded::builder().region("a").partitions(1).manual_clock(SystemTime::now()).build().unwrap();
        let a: RegionId = "a".parse().unwrap();
        let store = regions.store(&a, &a, "default").unwrap();
        let key = Key::new(Kind::Set, "s");
        let all = (0..MANY).map(|n| (Bytes::from(format!("{n:05}")), Bytes::new()));
        let of = |mutation| Write { key: key.clone(), mutation, exclusive: false };
        store.write(&of(Mutation::assign(all))).await.unwrap();
        if let Some(expiry) = expiry {
            store.write(&of(Mutation::Expire(expiry))).await.unwrap();
        }
        (regions, Frail { store, left: AtomicUsize::new(usize::MAX), is_silent: false }, key)
    }

    fn ample() -> Limit<'static> {
        Limit { is_late: &|| false, end: Instant::now() + PATIENCE }
    }

    fn clear(key: &Key) -> Write {
        Write { key: key.clone(), mutation: Mutation::Clear { previous: false }, exclusive: false }
    }

    async fn count(frail: &Frail, key: &Key) -> Reply {
        frail.store.read(&Read { key: key.clone(), query: Query::Count }).await.unwrap()
    }

    #[tokio::test]
    async fn a_clear_ends_by_its_deadline_says_how_far_it_came_and_goes_on() {
        let (_regions, frail, key) = large(None).await;
        let asked = AtomicUsize::new(0);
        let is_late = || asked.fetch_add(1, Ordering::Relaxed) == 3;
        let limit = Limit { is_late: &is_late, ..ample() };
        let Err(StoreError::Partly(what)) = in_steps(&frail, &clear(&key), limit).await else { panic!("not partly") };
        assert!(what.starts_with("1200 members are removed"), "{what}");
        assert_eq!(count(&frail, &key).await, Reply::Int(1300));
        let done = in_steps(&frail, &clear(&key), ample()).await.unwrap();
        assert_eq!(done, Outcome::Cleared { existed: true, previous: None });
        assert_eq!(count(&frail, &key).await, Reply::Int(0));
    }

    #[tokio::test]
    async fn what_ended_a_clear_is_said() {
        let (_regions, frail, key) = large(None).await;
        frail.left.store(0, Ordering::Relaxed);
        let done = in_steps(&frail, &clear(&key), ample()).await;
        assert!(matches!(done, Err(StoreError::Unavailable(_))), "nothing is removed: {done:?}");
        frail.left.store(1, Ordering::Relaxed);
        let done = in_steps(&frail, &clear(&key), ample()).await;
        assert!(matches!(&done, Err(StoreError::Partly(what)) if what.ends_with("gone")), "{done:?}");
    }

    /// A step without an answer is cut at the end of the time. What the ones before it removed is known all the same.
    #[tokio::test]
    async fn a_clear_whose_last_step_is_not_answered_says_what_is_certain() {
        let (_regions, mut frail, key) = large(None).await;
        frail.is_silent = true;
        let soon = || Limit { end: Instant::now() + Duration::from_millis(100), ..ample() };
        frail.left.store(0, Ordering::Relaxed);
        let done = in_steps(&frail, &clear(&key), soon()).await;
        assert!(matches!(&done, Err(StoreError::NoAnswer(what)) if what.starts_with("up to 500")), "{done:?}");
        frail.left.store(2, Ordering::Relaxed);
        let Err(StoreError::Partly(what)) = in_steps(&frail, &clear(&key), soon()).await else { panic!("not partly") };
        assert!(what.starts_with("700 members are removed, up to 500 more may be"), "{what}");
        assert_eq!(count(&frail, &key).await, Reply::Int(1800));
    }

    /// Nothing of the write itself was done, and nothing that anybody could see: it may be repeated.
    #[tokio::test]
    async fn a_write_that_finds_no_room_was_not_done() {
        let (regions, frail, key) = large(Some(Expiry::In(1000))).await;
        regions.advance(Duration::from_secs(2));
        frail.left.store(3, Ordering::Relaxed);
        let add = Mutation::assign([(Bytes::from_static(b"new"), Bytes::new())]);
        let add = Write { key: key.clone(), mutation: add, exclusive: false };
        let done = in_steps(&frail, &add, ample()).await;
        assert!(matches!(done, Err(StoreError::Unavailable(_))), "{done:?}");
        assert_eq!(count(&frail, &key).await, Reply::Int(0), "what still stands is not seen");
        frail.left.store(usize::MAX, Ordering::Relaxed);
        let done = in_steps(&frail, &add, ample()).await.unwrap();
        assert!(matches!(done, Outcome::Assigned { added: 1, .. }), "{done:?}");
        assert_eq!(count(&frail, &key).await, Reply::Int(1));
    }

    #[test]
    fn a_batch_is_cut_where_a_write_would_pass_one_in_steps() {
        let of = |name: &'static str, mutation| Write { key: Key::new(Kind::Set, name), mutation, exclusive: false };
        let add = || Mutation::assign([(Bytes::from_static(b"m"), Bytes::new())]);
        let clear = || Mutation::Clear { previous: false };
        let lengths = |writes: &[Write]| runs(writes).iter().map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&[of("a", add()), of("a", add()), of("a", clear()), of("b", add())]), [4]);
        assert_eq!(lengths(&[of("a", clear()), of("b", clear()), of("a", add()), of("b", add())]), [2, 2]);
        assert_eq!(lengths(&[of("a", clear()), of("a", clear()), of("a", clear())]), [1, 1, 1]);
    }
}
