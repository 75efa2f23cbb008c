//! GEOADD, GEOPOS, GEODIST, GEOHASH, GEOSEARCH: sorted sets whose scores are positions.

use archipelago_engine::{Assignment, Kind, Mutation, Outcome, Presence};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, unexpected},
    parse::{SYNTAX, float, integer, is},
    reply::ExecReply,
};
use crate::{
    geo::{Area, Center, Order, Position, Search, Unit},
    handles::geo_payload,
    store::{Query, Reply},
};

pub(super) async fn geoadd(call: Call<'_>) -> Answer {
    let [name, words @ ..] = call.args else { return Err(call.wrong_arity()) };
    let options = words.iter().take_while(|word| ["NX", "XX", "CH"].iter().any(|option| is(word, option)));
    let (options, places) = words.split_at(options.count());
    let has = |option: &str| options.iter().any(|word| is(word, option));
    let (places @ [_, ..], []) = places.as_chunks::<3>() else { return Err(SYNTAX.into()) };
    let presence = match (has("NX"), has("XX")) {
        (true, true) => return Err(SYNTAX.into()),
        (true, false) => Presence::Absent,
        (false, true) => Presence::Present,
        (false, false) => Presence::Any,
    };
    let entry = |[longitude, latitude, member]: &[Bytes; 3]| {
        Ok((member.clone(), geo_payload(position(float(longitude)?, float(latitude)?)?)))
    };
    let entries = places.iter().map(entry).collect::<Result<_, Failure>>()?;
    let assignment = Mutation::Assign(Assignment { entries, presence, ..Assignment::default() });
    match call.write(Kind::SortedSet, name, assignment).await? {
        Outcome::Assigned { changed, .. } if has("CH") => Ok(ExecReply::count(changed)),
        Outcome::Assigned { added, .. } => Ok(ExecReply::count(added)),
        _ => Err(unexpected()),
    }
}

fn position(longitude: f64, latitude: f64) -> Result<Position, Failure> {
    Position::new(longitude, latitude)
        .map_err(|_| format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into())
}

pub(super) async fn geopos(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    if members.is_empty() {
        call.read(Kind::SortedSet, name, Query::Count).await?;
        return Ok(ExecReply::Array(Vec::new()));
    }
    Ok(call.read(Kind::SortedSet, name, Query::Positions(members.to_vec())).await?.into())
}

pub(super) async fn geohash(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    if members.is_empty() {
        call.read(Kind::SortedSet, name, Query::Count).await?;
        return Ok(ExecReply::Array(Vec::new()));
    }
    Ok(call.read(Kind::SortedSet, name, Query::GeoHashes(members.to_vec())).await?.into())
}

pub(super) async fn geodist(call: Call<'_>) -> Answer {
    let (name, from, to, unit) = match call.args {
        [name, from, to] => (name, from, to, Unit::default()),
        [name, from, to, word] => (name, from, to, unit(word)?),
        _ => return Err(SYNTAX.into()),
    };
    let query = Query::Distance { from: from.clone(), to: to.clone(), unit };
    Ok(call.read(Kind::SortedSet, name, query).await?.into())
}

fn unit(word: &[u8]) -> Result<Unit, Failure> {
    let unit = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    unit.ok_or_else(|| "ERR unsupported unit provided. please use M, KM, FT, MI".into())
}

/// Without ASC, DESC and COUNT the order is nobody's promise, as in Redis.
pub(super) async fn geosearch(call: Call<'_>) -> Answer {
    let [name, words @ ..] = call.args else { return Err(call.wrong_arity()) };
    let options = Options::parse(words)?;
    match call.read(Kind::SortedSet, name, Query::Search(options.search()?)).await? {
        Reply::Nil => Err("ERR could not decode requested zset member".into()),
        Reply::Array(found) => {
            found.into_iter().map(|place| options.shown(place)).collect::<Result<_, _>>().map(ExecReply::Array)
        }
        Reply::Int(_) | Reply::Bytes(_) => Err(unexpected()),
    }
}

/// What GEOSEARCH was asked.
#[derive(Default)]
struct Options {
    center: Option<Center>,
    area: Option<(Area, Unit)>,
    order: Option<Order>,
    count: Option<u64>,
    any: bool,
    with_position: bool,
    with_distance: bool,
    with_score: bool,
}

impl Options {
    fn parse(mut words: &[Bytes]) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let [option, rest @ ..] = words {
            let around_member = matches!(options.center, Some(Center::Member(_)));
            let around_position = matches!(options.center, Some(Center::Position(_)));
            let in_radius = matches!(options.area, Some((Area::Radius(_), _)));
            let in_box = matches!(options.area, Some((Area::Box { .. }, _)));
            words = match rest {
                _ if options.flag(option) => rest,
                [count, rest @ ..] if is(option, "COUNT") => {
                    options.count = Some(positive(count)?);
                    rest
                }
                [member, rest @ ..] if is(option, "FROMMEMBER") && !around_position => {
                    options.center = Some(Center::Member(member.clone()));
                    rest
                }
                [longitude, latitude, rest @ ..] if is(option, "FROMLONLAT") && !around_member => {
                    options.center = Some(Center::Position(position(float(longitude)?, float(latitude)?)?));
                    rest
                }
                [radius, word, rest @ ..] if is(option, "BYRADIUS") && !in_box => {
                    let radius = length(radius, "ERR need numeric radius", "ERR radius cannot be negative")?;
                    options.area = Some((Area::Radius(radius), unit(word)?));
                    rest
                }
                [width, height, word, rest @ ..] if is(option, "BYBOX") && !in_radius => {
                    let negative = "ERR height or width cannot be negative";
                    let width = length(width, "ERR need numeric width", negative)?;
                    let height = length(height, "ERR need numeric height", negative)?;
                    options.area = Some((Area::Box { width, height }, unit(word)?));
                    rest
                }
                _ => return Err(SYNTAX.into()),
            };
        }
        Ok(options)
    }

    /// Notes an option that is one word; says whether it is one.
    fn flag(&mut self, option: &[u8]) -> bool {
        match option {
            _ if is(option, "WITHDIST") => self.with_distance = true,
            _ if is(option, "WITHHASH") => self.with_score = true,
            _ if is(option, "WITHCOORD") => self.with_position = true,
            _ if is(option, "ANY") => self.any = true,
            _ if is(option, "ASC") => self.order = Some(Order::NearestFirst),
            _ if is(option, "DESC") => self.order = Some(Order::FarthestFirst),
            _ => return false,
        }
        true
    }

    fn search(&self) -> Result<Search, Failure> {
        let exactly = |what: &str| format!("ERR exactly one of {what} can be specified for geosearch");
        let center = self.center.clone().ok_or_else(|| exactly("FROMMEMBER or FROMLONLAT"))?;
        let (area, unit) = self.area.ok_or_else(|| exactly("BYRADIUS and BYBOX"))?;
        if self.any && self.count.is_none() {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(Search { center, area, unit, order: self.order, count: self.count, any: self.any })
    }

    /// What was asked for of a place found: the member alone, or with what was asked for.
    fn shown(&self, place: Reply) -> Answer {
        let Reply::Array(parts) = place else { return Err(unexpected()) };
        let [member, distance, score, position] = parts.try_into().map_err(|_| unexpected())?;
        if !(self.with_distance || self.with_score || self.with_position) {
            return Ok(member.into());
        }
        let asked =
            [(true, member), (self.with_distance, distance), (self.with_score, score), (self.with_position, position)];
        Ok(ExecReply::Array(asked.into_iter().filter(|(asked, _)| *asked).map(|(_, part)| part.into()).collect()))
    }
}

fn positive(count: &[u8]) -> Result<u64, Failure> {
    let count = integer(count)?;
    u64::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| "ERR COUNT must be > 0".into())
}

fn length(text: &[u8], not_a_number: &'static str, negative: &'static str) -> Result<f64, Failure> {
    let length = float(text).map_err(|_| not_a_number)?;
    if length < 0.0 { Err(negative.into()) } else { Ok(length) }
}
