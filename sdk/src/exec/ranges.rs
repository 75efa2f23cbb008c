//! ZRANGE in its forms, ZRANK, ZREVRANK, ZCOUNT.

use archipelago_engine::Kind;
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, unexpected},
    parse::{SYNTAX, bound, integer, is},
    reply::ExecReply,
    sorted_sets::shown,
};
use crate::store::{Query, Reply};

pub(super) async fn zrange(call: Call<'_>) -> Answer {
    let [name, first, last, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let options = Options::parse(options)?;
    let query = options.query(first, last)?;
    let Reply::Array(flat) = call.read(Kind::SortedSet, name, query).await? else { return Err(unexpected()) };
    let items = flat.into_iter().enumerate().filter_map(|(at, item)| match at % 2 {
        0 => Some(item.into()),
        _ => options.with_scores.then(|| shown(item)),
    });
    Ok(ExecReply::Array(items.collect()))
}

/// What the two ends of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What follows the ends of a range.
struct Options {
    by: By,
    reverse: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

impl Options {
    fn parse(mut words: &[Bytes]) -> Result<Self, Failure> {
        let mut options = Self { by: By::Rank, reverse: false, with_scores: false, limit: None };
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            if is(word, "WITHSCORES") {
                options.with_scores = true;
            } else if let (true, [offset, count, rest @ ..]) = (is(word, "LIMIT"), words) {
                options.limit = Some((integer(offset)?, integer(count)?));
                words = rest;
            } else if is(word, "REV") && !options.reverse {
                options.reverse = true;
            } else if is(word, "BYSCORE") && options.by == By::Rank {
                options.by = By::Score;
            } else if is(word, "BYLEX") && options.by == By::Rank {
                options.by = By::Lex;
            } else {
                return Err(SYNTAX.into());
            }
        }
        // To Redis a count of -1 is the same as no LIMIT at all.
        if options.by == By::Rank && options.limit.is_some_and(|(_, count)| count != -1) {
            return Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into());
        }
        if options.by == By::Lex && options.with_scores {
            return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
        }
        Ok(options)
    }

    fn query(&self, first: &[u8], last: &[u8]) -> Result<Query, Failure> {
        let reverse = self.reverse;
        match self.by {
            By::Rank => Ok(Query::RangeByRank { start: integer(first)?, stop: integer(last)?, reverse }),
            By::Score => {
                // From the highest down, the range is said from the highest, too.
                let (min, max) = if reverse { (last, first) } else { (first, last) };
                Ok(Query::RangeByScore { min: bound(min)?, max: bound(max)?, reverse, limit: self.limit })
            }
            By::Lex => Err("ERR BYLEX is not supported, use BYSCORE or ranks".into()),
        }
    }
}

/// ZRANK and ZREVRANK.
pub(super) async fn rank(call: Call<'_>, reverse: bool) -> Answer {
    let [name, member] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::SortedSet, name, Query::Rank { member: member.clone(), reverse }).await?.into())
}

pub(super) async fn zcount(call: Call<'_>) -> Answer {
    let [name, min, max] = call.args else { return Err(call.wrong_arity()) };
    let query = Query::CountByScore { min: bound(min)?, max: bound(max)? };
    Ok(call.read(Kind::SortedSet, name, query).await?.into())
}
