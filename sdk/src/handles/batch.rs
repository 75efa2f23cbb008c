//! Batches: many writes in one pipeline.

use archipelago_engine::{End, ListEdit, Mutation, Outcome};
use bytes::Bytes;
use serde::Serialize;

use super::{
    BatchAdd, BatchDelete, BatchRemove, BatchSet, BestScores, Codec, ExtremeRegister, Geo, Handle, Home, List, Map,
    SortedSet, Stream, counter, geo, sorted_set, stream,
};
use crate::{error::Error, geo::Position, store::Write};

/// Writes that go out together: one round trip for all, in order. Each is atomic by itself; the batch is not.
///
/// Its methods are those of the handles, by their names; where a name would stand for two, it says what it is about.
/// What has to see an answer before the next step (a stock, a claim, a decision about siblings) is no part of a batch.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let (views, tags) = (client.counter("views"), client.set("tags"));
/// let results = client.batch().add(&views, 1).add(&views, 1).add(&tags, "new").execute().await;
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

    fn push(self, handle: &Handle, mutation: Result<Mutation, Error>) -> Self {
        self.hold(mutation.map(|mutation| handle.to_write(mutation)))
    }

    fn hold(mut self, write: Result<Write, Error>) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds to a counter, a member to a set, or an element to a HyperLogLog.
    pub fn add<V>(self, handle: &impl BatchAdd<V>, what: V) -> Self {
        self.hold(Ok(handle.writing(handle.adding(what))))
    }

    /// Sets a register of any kind, a flag, or a counter.
    pub fn set<V: ?Sized>(self, handle: &impl BatchSet<V>, value: &V) -> Self {
        self.hold(handle.setting(value).map(|mutation| handle.writing(mutation)))
    }

    /// Submits a number to a register of the highest or the lowest.
    pub fn submit(self, register: &ExtremeRegister, value: f64) -> Self {
        self.push(&register.handle, sorted_set::insertion(Bytes::new(), value))
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

    /// Submits a score of a member to best scores.
    pub fn submit_score(self, board: &BestScores, member: impl Into<Bytes>, score: f64) -> Self {
        self.push(&board.handle, sorted_set::insertion(member, score))
    }

    /// Puts a member at a position.
    pub fn add_position(self, geo: &Geo, member: impl Into<Bytes>, position: Position) -> Self {
        self.push(&geo.handle, Ok(Mutation::assign([(member.into(), geo::payload(position))])))
    }

    /// Puts values at the front of a list, one by one.
    pub fn push_front<T, C: Codec, V: Serialize>(self, list: &List<T, C>, values: &[V]) -> Self {
        self.push_values(list, End::Front, values)
    }

    /// Puts values at the back of a list.
    pub fn push_back<T, C: Codec, V: Serialize>(self, list: &List<T, C>, values: &[V]) -> Self {
        self.push_values(list, End::Back, values)
    }

    fn push_values<T, C: Codec, V: Serialize>(self, list: &List<T, C>, end: End, values: &[V]) -> Self {
        let values: Result<Vec<Bytes>, Error> = values.iter().map(C::encode).collect();
        let push = values.map(|values| Mutation::List(ListEdit::Push { end, values, existing: false }));
        self.push(&list.handle, push)
    }

    /// Appends an entry to a stream, which gives it an id.
    pub fn append<F: Into<Bytes>, V: Into<Bytes>>(
        self,
        stream: &Stream,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Self {
        self.push(&stream.handle, Ok(stream::appending(fields, None)))
    }

    /// Removes a member of a set, sorted set or map, of best scores or of positions.
    pub fn remove(self, handle: &impl BatchRemove, member: impl Into<Bytes>) -> Self {
        self.hold(Ok(handle.writing(Mutation::Remove { members: vec![member.into()] })))
    }

    /// Deletes a key.
    pub fn delete(self, handle: &impl BatchDelete) -> Self {
        self.hold(Ok(handle.writing(Mutation::Clear { previous: false })))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use crate::{Client, Embedded, geo::Position};

    #[tokio::test]
    async fn every_handle_takes_part_and_leaves_what_its_own_methods_leave() {
        let regions = Embedded::builder().region("eu").build().unwrap();
        let client = Client::builder().embedded(&regions).local_region("eu").build().await.unwrap();
        let (register, first) = (client.register::<String>("register"), client.first_register::<u8>("first"));
        let (siblings, counter) = (client.siblings::<u8>("siblings"), client.counter("counter"));
        let (on, off) = (client.enable_wins_flag("on"), client.disable_wins_flag("off"));
        let (max, min) = (client.max_register("max"), client.min_register("min"));
        let (set, map, board) = (client.set("set"), client.map::<u8>("map"), client.sorted_set("board"));
        let (best, geo, visitors) = (client.high_scores("best"), client.geo("geo"), client.hyperloglog("visitors"));
        let (list, stream) = (client.list::<u8>("list"), client.stream("stream"));
        let rome = Position::new(12.5, 41.9).unwrap();
        let batch = client.batch().set(&register, "text").set(&first, &1).set(&first, &2).set(&siblings, &3);
        let batch = batch.set(&counter, &40).add(&counter, 2).set(&on, &true).set(&off, &false);
        let batch = batch.submit(&max, 5.0).submit(&max, 4.0).submit(&min, 5.0).submit(&min, 4.0);
        let batch = batch.add(&set, "a").add(&set, "b").remove(&set, "a").set_field(&map, "f", &1);
        let batch = batch.add_to_field(&map, "n", 7).remove(&map, "f").insert_score(&board, "ada", 1.0);
        let batch = batch.add_score(&board, "ada", 1.5).submit_score(&best, "ada", 9.0).submit_score(&best, "ada", 8.0);
        let batch = batch.add_position(&geo, "rome", rome).add(&visitors, "ada").add(&visitors, "ada");
        let batch = batch.push_back(&list, &[2, 3]).push_front(&list, &[1]).append(&stream, [("n", "1")]);
        let batch = batch.set(&client.register::<u8>("gone"), &1).delete(&client.register::<u8>("gone"));
        let results = batch.execute().await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(register.get().await.unwrap().as_deref(), Some("text"));
        assert_eq!((first.get().await.unwrap(), siblings.values().await.unwrap()), (Some(1), vec![3]));
        assert_eq!((counter.get().await.unwrap(), on.is_on().await.unwrap()), (42, true));
        assert_eq!(off.get().await.unwrap(), Some(false));
        assert_eq!((max.get().await.unwrap(), min.get().await.unwrap()), (Some(5.0), Some(4.0)));
        assert_eq!(set.members().await.unwrap().into_iter().collect::<Vec<_>>(), ["b"]);
        assert_eq!((map.get("f").await.unwrap(), map.count("n").await.unwrap()), (None, 7));
        assert_eq!((board.score("ada").await.unwrap(), best.score("ada").await.unwrap()), (Some(2.5), Some(9.0)));
        assert_eq!((geo.len().await.unwrap(), visitors.count().await.unwrap()), (1, 1));
        assert_eq!((list.range(0, -1).await.unwrap(), stream.len().await.unwrap()), (vec![1, 2, 3], 1));
        assert!(!client.register::<u8>("gone").exists().await.unwrap());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_an_error_of_its_own() {
        let regions = Embedded::builder().region("eu").build().unwrap();
        let client = Client::builder().embedded(&regions).local_region("eu").build().await.unwrap();
        let max = client.max_register("max");
        let results = client.batch().submit(&max, f64::NAN).submit(&max, 1.0).execute().await;
        assert!(results.first().is_some_and(Result::is_err) && results.last().is_some_and(Result::is_ok));
    }
}
