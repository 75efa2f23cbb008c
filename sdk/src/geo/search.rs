//! The search of embedded regions: over all members, where Redis looks only into the cells around.
//!
//! So it also finds a member at exactly 180 degrees east or at the northern limit, which servers miss: the score of such
//! a position lies behind the last cell.

use bytes::Bytes;

use super::{Area, Center, Order, Position, Search, distance::metres_north, metres, position_of};

/// A member that was found.
pub(crate) struct Found {
    pub(crate) member: Bytes,
    pub(crate) metres: f64,
    pub(crate) score: f64,
    pub(crate) position: Position,
}

/// What a search finds among members with scores; `None` when the member to search around is not there.
pub(crate) fn find(scores: Vec<(Bytes, f64)>, search: &Search) -> Option<Vec<Found>> {
    let center = match &search.center {
        Center::Position(position) => *position,
        Center::Member(member) => position_of(scores.iter().find(|(other, _)| other == member)?.1),
    };
    let count = usize::try_from(search.count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let mut found: Vec<Found> = scores
        .into_iter()
        .map(|(member, score)| (member, score, position_of(score)))
        .filter(|(.., position)| covers(search, center, *position))
        .map(|(member, score, position)| Found { member, metres: metres(center, position), score, position })
        .take(if search.any { count } else { usize::MAX })
        .collect();
    let order = search.order.or_else(|| (search.count.is_some() && !search.any).then_some(Order::NearestFirst));
    match order {
        Some(Order::NearestFirst) => found.sort_by(|a, b| a.metres.total_cmp(&b.metres)),
        Some(Order::FarthestFirst) => found.sort_by(|a, b| b.metres.total_cmp(&a.metres)),
        None => {}
    }
    found.truncate(count);
    Some(found)
}

fn covers(search: &Search, center: Position, position: Position) -> bool {
    let unit = search.unit.metres();
    match search.area {
        Area::Radius(radius) => metres(center, position) <= radius * unit,
        Area::Box { width, height } => {
            let abeam = Position { longitude: center.longitude, ..position };
            metres_north(position.latitude, center.latitude) <= height * unit / 2.0
                && metres(position, abeam) <= width * unit / 2.0
        }
    }
}
