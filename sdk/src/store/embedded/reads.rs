//! Reads of a view, each with the semantics of its native command.

use archipelago_engine::{
    Cells, Field, Key, KeyState, Kind, MutationError, Native, Partition, Registers, Version, View, number, window,
};
use bytes::Bytes;

use crate::{
    geo::{self, Position, Unit},
    store::{Bound, Query, Reply, StoreError},
};

/// What a query answers in a partition at a time.
pub(crate) fn answer(partition: &Partition, now: Version, read: &crate::store::Read) -> Result<Reply, StoreError> {
    let looking = Looking { partition, now, key: &read.key };
    looking.check_kind(&read.query)?;
    Ok(match &read.query {
        Query::Value => looking.value(&Bytes::new()),
        Query::Exists => Reply::Int(i64::from(looking.exists())),
        Query::TimeToLive => Reply::Int(looking.time_to_live()),
        Query::Members | Query::All => Reply::Array(looking.all()),
        Query::Contains(member) | Query::HasField(member) => Reply::Int(i64::from(looking.cells(member).is_some())),
        Query::Count => Reply::Int(length(looking.count())),
        Query::Cardinality => {
            Reply::Int(looking.registers().map_or(0, |r| i64::try_from(r.count()).unwrap_or(i64::MAX)))
        }
        Query::Field(field) => looking.value(field),
        Query::Fields(fields) => Reply::Array(fields.iter().map(|field| looking.value(field)).collect()),
        Query::Score(member) => looking.score(member),
        Query::Rank { member, reverse } => looking.rank(member, *reverse),
        Query::RangeByRank { start, stop, reverse } => {
            let scores = looking.scores(*reverse);
            let (skip, take) = window(*start, *stop, scores.len());
            flat(scores.into_iter().skip(skip).take(take))
        }
        Query::Range { start, stop } => {
            let elements = looking.elements();
            let (skip, take) = window(*start, *stop, elements.len());
            Reply::Array(elements.into_iter().skip(skip).take(take).map(Reply::Bytes).collect())
        }
        Query::Between { from, to, reverse, limit } => {
            let within = |member: &Bytes| member >= from && to.as_ref().is_none_or(|to| member < to);
            let mut elements: Vec<Bytes> = looking.elements().into_iter().filter(within).collect();
            if *reverse {
                elements.reverse();
            }
            let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            Reply::Array(elements.into_iter().take(limit).map(Reply::Bytes).collect())
        }
        Query::RangeByScore { min, max, reverse, limit } => {
            let within = looking.scores(*reverse).into_iter().filter(|(_, score)| is_within(*score, *min, *max));
            let (skip, take) = page(*limit);
            flat(within.skip(skip).take(take))
        }
        Query::Positions(members) => looking.of_each(members, |score| position(geo::position_of(score))),
        Query::GeoHashes(members) => looking.of_each(members, |score| Reply::Bytes(geo::geohash(score).into())),
        Query::Distance { from, to, unit } => match (looking.points(from), looking.points(to)) {
            (Some(from), Some(to)) => distance(geo::metres(geo::position_of(from), geo::position_of(to)), *unit),
            (None, _) | (_, None) => Reply::Nil,
        },
        Query::Search(search) => looking.search(search),
        Query::CountByScore { min, max } => {
            let scores = looking.scores(false);
            Reply::Int(length(scores.iter().filter(|(_, score)| is_within(*score, *min, *max)).count()))
        }
    })
}

/// Whether a reader sees anything of the key: EXISTS.
pub(super) fn exists(partition: &Partition, now: Version, key: &Key) -> bool {
    Looking { partition, now, key }.exists()
}

struct Looking<'a> {
    partition: &'a Partition,
    now: Version,
    key: &'a Key,
}

impl<'a> Looking<'a> {
    /// The key's cells, unless it is past its expiry: point reads need not build the whole view.
    fn state(&self) -> Option<&'a KeyState> {
        let over = |state: &&KeyState| state.deadline().is_some_and(|deadline| deadline.is_past(self.now));
        self.partition.key(self.key).filter(|state| !over(state))
    }

    fn exists(&self) -> bool {
        self.state().is_some_and(|state| state.has_data(self.key.kind))
    }

    /// The cells of a member that a reader sees.
    fn cells(&self, member: &Bytes) -> Option<&'a Cells> {
        let stamped = self.state()?.fields.get(&Field::Member(member.clone()))?;
        Some(&stamped.cells).filter(|cells| cells.shows(self.key.kind))
    }

    fn value(&self, member: &Bytes) -> Reply {
        if self.key.kind == Kind::Stock {
            return match self.partition.view(self.key, self.now) {
                View::String(left) => Reply::Bytes(left),
                View::Absent
                | View::Set(_)
                | View::Hash(_)
                | View::SortedSet(_)
                | View::Ordered(_)
                | View::HyperLogLog(_) => Reply::Nil,
            };
        }
        self.cells(member).and_then(|cells| cells.value(self.key.kind)).map_or(Reply::Nil, Reply::Bytes)
    }

    fn score(&self, member: &Bytes) -> Reply {
        self.points(member).map_or(Reply::Nil, shown)
    }

    fn registers(&self) -> Option<Registers> {
        self.cells(&Bytes::new()).and_then(Cells::registers)
    }

    fn count(&self) -> usize {
        let fields = self.state().into_iter().flat_map(|state| &state.fields);
        fields.filter(|(field, stamped)| **field != Field::Expiry && stamped.cells.shows(self.key.kind)).count()
    }

    fn time_to_live(&self) -> i64 {
        if !self.exists() {
            return -2;
        }
        match self.partition.expires_at(self.key) {
            None => -1,
            Some(at) => i64::try_from(at.saturating_sub(self.now.as_millis())).unwrap_or(i64::MAX),
        }
    }

    fn all(&self) -> Vec<Reply> {
        match self.partition.view(self.key, self.now) {
            View::Set(members) => members.into_iter().map(Reply::Bytes).collect(),
            View::Hash(fields) => fields.into_iter().flat_map(|(f, v)| [Reply::Bytes(f), Reply::Bytes(v)]).collect(),
            View::Absent | View::String(_) | View::SortedSet(_) | View::Ordered(_) | View::HyperLogLog(_) => Vec::new(),
        }
    }

    /// Lowest first, or highest first with equal scores from the last member to the first.
    fn scores(&self, reverse: bool) -> Vec<(Bytes, f64)> {
        let View::SortedSet(mut scores) = self.partition.view(self.key, self.now) else {
            return Vec::new();
        };
        if reverse {
            scores.reverse();
        }
        scores
    }

    /// Positions with the value behind each, in order.
    fn elements(&self) -> Vec<Bytes> {
        let View::Ordered(elements) = self.partition.view(self.key, self.now) else {
            return Vec::new();
        };
        elements.into_iter().map(|(position, value)| [position, value].concat().into()).collect()
    }

    fn rank(&self, member: &Bytes, reverse: bool) -> Reply {
        let at = self.scores(reverse).iter().position(|(other, _)| other == member);
        at.map_or(Reply::Nil, |rank| Reply::Int(length(rank)))
    }

    fn points(&self, member: &Bytes) -> Option<f64> {
        self.cells(member)?.points(self.key.kind)
    }

    fn of_each(&self, members: &[Bytes], shown: impl Fn(f64) -> Reply) -> Reply {
        Reply::Array(members.iter().map(|member| self.points(member).map_or(Reply::Nil, &shown)).collect())
    }

    /// Where there is no key at all, nothing is found around any member.
    fn search(&self, search: &geo::Search) -> Reply {
        if !self.exists() {
            return Reply::Array(Vec::new());
        }
        let Some(found) = geo::find(self.scores(false), search) else { return Reply::Nil };
        let place = |found: geo::Found| {
            #[allow(clippy::cast_possible_truncation, reason = "scores of positions are whole numbers of 52 bits")]
            let score = found.score as i64;
            let parts = [Reply::Bytes(found.member), distance(found.metres, search.unit), Reply::Int(score)];
            Reply::Array(parts.into_iter().chain([position(found.position)]).collect())
        };
        Reply::Array(found.into_iter().map(place).collect())
    }

    /// A query for another type gets what the server answers; where there is nothing, every type is empty.
    fn check_kind(&self, query: &Query) -> Result<(), StoreError> {
        let native = self.key.kind.native();
        let fits = match query {
            Query::Exists | Query::TimeToLive => true,
            Query::Cardinality => self.key.kind == Kind::HyperLogLog,
            Query::Value => native == Native::String,
            Query::Members | Query::Contains(_) => native == Native::Set,
            Query::Count => native != Native::String,
            Query::Field(_) | Query::Fields(_) | Query::All | Query::HasField(_) => native == Native::Hash,
            Query::Score(_)
            | Query::Rank { .. }
            | Query::RangeByRank { .. }
            | Query::RangeByScore { .. }
            | Query::Positions(_)
            | Query::GeoHashes(_)
            | Query::Distance { .. }
            | Query::Search(_)
            | Query::CountByScore { .. } => native == Native::SortedSet,
            Query::Range { .. } | Query::Between { .. } => native == Native::Ordered,
        };
        if fits || !self.exists() { Ok(()) } else { Err(StoreError::Refused(MutationError::WrongType)) }
    }
}

/// LIMIT: a negative offset finds nothing, a negative count means all.
fn page(limit: Option<(i64, i64)>) -> (usize, usize) {
    let Some((offset, count)) = limit else {
        return (0, usize::MAX);
    };
    (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(count).unwrap_or(usize::MAX))
}

fn is_within(score: f64, min: Bound, max: Bound) -> bool {
    let above = if min.exclusive { score > min.score } else { score >= min.score };
    let below = if max.exclusive { score < max.score } else { score <= max.score };
    above && below
}

fn flat(scores: impl Iterator<Item = (Bytes, f64)>) -> Reply {
    Reply::Array(scores.flat_map(|(member, score)| [Reply::Bytes(member), shown(score)]).collect())
}

fn position(position: Position) -> Reply {
    let degrees = [position.longitude(), position.latitude()];
    Reply::Array(degrees.map(|degrees| Reply::Bytes(geo::shown(degrees).into())).into())
}

fn distance(metres: f64, unit: Unit) -> Reply {
    Reply::Bytes(format!("{:.4}", metres / unit.metres()).into())
}

fn shown(score: f64) -> Reply {
    Reply::Bytes(number::show(score).into())
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_pages_as_in_redis() {
        assert_eq!(page(Some((1, 2))), (1, 2));
        assert_eq!(page(Some((1, -5))), (1, usize::MAX));
        assert_eq!(page(Some((-1, 2))).0, usize::MAX);
    }

    #[test]
    fn bounds_may_leave_the_score_itself_out() {
        let open = |score| Bound { score, exclusive: true };
        assert!(is_within(1.0, Bound::inclusive(1.0), Bound::inclusive(1.0)));
        assert!(!is_within(1.0, open(1.0), Bound::inclusive(2.0)));
        assert!(!is_within(2.0, Bound::inclusive(1.0), open(2.0)));
        assert!(is_within(f64::INFINITY, open(1.0), Bound::inclusive(f64::INFINITY)));
    }
}
