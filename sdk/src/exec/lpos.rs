//! LPOS.

use archipelago_engine::Find;
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure},
    lists::values,
    parse::{SYNTAX, integer, is},
    reply::ExecReply,
};

const ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
                    start from the end of the list";

pub(super) async fn lpos(call: Call<'_>) -> Answer {
    let [name, value, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let options = Options::parse(options)?;
    let found = options.find.among(&values(call, name, 0, options.find.last()).await?, value);
    let mut found = found.into_iter().map(ExecReply::count);
    Ok(if options.is_counted { ExecReply::Array(found.collect()) } else { found.next().unwrap_or(ExecReply::Nil) })
}

struct Options {
    find: Find,
    /// An array is asked for, be it empty.
    is_counted: bool,
}

impl Options {
    fn parse(mut words: &[Bytes]) -> Result<Self, Failure> {
        let mut options = Self { find: Find { count: 1, ..Find::default() }, is_counted: false };
        while let [word, rest @ ..] = words {
            let [number, rest @ ..] = rest else { return Err(SYNTAX.into()) };
            if is(word, "RANK") {
                options.find.rank = rank(integer(number)?)?;
            } else if is(word, "COUNT") {
                options.find.count = not_negative(number, "ERR COUNT can't be negative")?;
                options.is_counted = true;
            } else if is(word, "MAXLEN") {
                options.find.most = not_negative(number, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(SYNTAX.into());
            }
            words = rest;
        }
        Ok(options)
    }
}

/// Redis says the same of what is no number at all.
fn not_negative(text: &[u8], refusal: &'static str) -> Result<u64, Failure> {
    integer(text).ok().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| refusal.into())
}

fn rank(rank: i64) -> Result<i64, Failure> {
    match rank {
        0 => Err(ZERO.into()),
        // Its negative would be no number of 64 bits.
        i64::MIN => {
            Err("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807".into())
        }
        rank => Ok(rank),
    }
}
