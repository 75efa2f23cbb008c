//! GEOSEARCH: its words, and its error that is an answer.

use redis::Cmd;

use crate::{
    geo::{Area, Center, Order, Search},
    store::{Query, Read, Reply, StoreError},
};

/// What Redis and what Valkey says when the member to search around is absent.
fn says_no_such_member(text: &str) -> bool {
    text.contains("could not decode requested zset member")
        || (text.contains("member ") && text.ends_with(" does not exist"))
}

/// The words behind the key.
pub(super) fn add_to(cmd: &mut Cmd, search: &Search) {
    // With an exponent: a double has up to 300 digits without one.
    let number = |n: f64| format!("{n:e}");
    match &search.center {
        Center::Member(member) => cmd.arg("FROMMEMBER").arg(member.as_ref()),
        Center::Position(at) => cmd.arg("FROMLONLAT").arg(number(at.longitude())).arg(number(at.latitude())),
    };
    match search.area {
        Area::Radius(radius) => cmd.arg("BYRADIUS").arg(number(radius)),
        Area::Box { width, height } => cmd.arg("BYBOX").arg(number(width)).arg(number(height)),
    };
    cmd.arg(search.unit.word());
    match search.order {
        Some(Order::NearestFirst) => drop(cmd.arg("ASC")),
        Some(Order::FarthestFirst) => drop(cmd.arg("DESC")),
        None => {}
    }
    if let Some(count) = search.count {
        cmd.arg("COUNT").arg(count);
        if search.any {
            cmd.arg("ANY");
        }
    }
    cmd.arg("WITHCOORD").arg("WITHDIST").arg("WITHHASH");
}

/// An absent member is nil, as elsewhere.
pub(super) fn absent_is_nil(read: &Read, reply: Result<Reply, StoreError>) -> Result<Reply, StoreError> {
    match reply {
        Err(StoreError::Server(text)) if matches!(read.query, Query::Search(_)) && says_no_such_member(&text) => {
            Ok(Reply::Nil)
        }
        other => other,
    }
}
