//! Batches: many writes in one pipeline.

use archipelago_engine::{Mutation, Outcome, Presence, Retention};
use bytes::Bytes;
use serde::Serialize;

use super::{Codec, Counter, Handle, Home, Map, Register, Set, SortedSet, counter, register, set, sorted_set};
use crate::{error::Error, store::Write};

/// Writes that go out together: one round trip for all, in order. Each is atomic by itself; the batch is not.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let (views, tags) = (client.counter("views"), client.set("tags"));
/// let results = client.batch().add(&views, 1).add(&views, 1).insert(&tags, "new").execute().await;
/// assert!(results.iter().all(Result::is_ok));
/// assert_eq!(views.get().await?, 2);
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing until it is executed"]
pub struct Batch {
    home: Home,
    writes: Vec<Result<Write, Error>>,
}

impl Batch {
    pub(crate) const fn new(home: Home) -> Self {
        Self { home, writes: Vec::new() }
    }

    fn push(mut self, handle: &Handle, mutation: Result<Mutation, Error>) -> Self {
        self.writes.push(mutation.map(|mutation| handle.to_write(mutation)));
        self
    }

    /// Adds to a counter.
    pub fn add(self, counter: &Counter, amount: i64) -> Self {
        self.push(&counter.handle, Ok(counter::addition(Bytes::new(), amount)))
    }

    /// Sets a register.
    pub fn set<T, C: Codec, V: Serialize + ?Sized>(self, register: &Register<T, C>, value: &V) -> Self {
        let mutation = C::encode(value).map(|value| register::assignment(value, Presence::Any, Retention::Clear));
        self.push(&register.handle, mutation)
    }

    /// Adds a member to a set.
    pub fn insert(self, set: &Set, member: impl Into<Bytes>) -> Self {
        self.push(&set.handle, Ok(set::addition([member])))
    }

    /// Sets a field of a map.
    pub fn set_field<T, C: Codec, V: Serialize + ?Sized>(
        self,
        map: &Map<T, C>,
        field: impl Into<Bytes>,
        value: &V,
    ) -> Self {
        let mutation = C::encode(value).map(|value| Mutation::assign([(field.into(), value)]));
        self.push(&map.handle, mutation)
    }

    /// Adds to a counter field of a map.
    pub fn add_to_field<T, C>(self, map: &Map<T, C>, field: impl Into<Bytes>, amount: i64) -> Self {
        self.push(&map.handle, Ok(counter::addition(field.into(), amount)))
    }

    /// Adds to the score of a member of a sorted set.
    pub fn add_score(self, board: &SortedSet, member: impl Into<Bytes>, amount: f64) -> Self {
        self.push(&board.handle, Ok(sorted_set::addition(member, amount)))
    }

    /// Sets the score of a member of a sorted set.
    pub fn insert_score(self, board: &SortedSet, member: impl Into<Bytes>, score: f64) -> Self {
        self.push(&board.handle, sorted_set::insertion(member, score))
    }

    /// How many writes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Sends the writes; one result for each, in order. A failure of one does not stop the next.
    ///
    /// For a [session](crate::sessions) it takes a second round trip, which asks where the region stands behind all of them.
    /// If the session's writes are ordered and the region is behind, nothing is sent.
    ///
    /// Cancel safety: dropping the future abandons the wait; what was sent may be applied.
    pub async fn execute(self) -> Vec<Result<(), Error>> {
        let (mut writes, mut results) = (Vec::with_capacity(self.writes.len()), Vec::with_capacity(self.writes.len()));
        for write in self.writes {
            results.push(write.map(|write| writes.push(write)));
        }
        let keyspace = match self.home {
            Ok(keyspace) => keyspace,
            Err(error) => return results.into_iter().map(|result| result.and(Err(error.clone()))).collect(),
        };
        let mut outcomes = keyspace.write_all(&writes).await.into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            if let Some(Err(error)) = outcomes.next().map(|outcome| outcome.map(|_: Outcome| ())) {
                *result = Err(error);
            }
        }
        results
    }
}
