//! Places: a sorted set whose scores are positions.

use archipelago_engine::{Mutation, Outcome};
use bytes::Bytes;

use super::{Handle, array, common_methods, number, optional, unexpected};
use crate::{
    error::{Error, ErrorKind},
    geo::{Position, Search, Unit, score_of},
    store::{Query, Reply},
};

/// Members with positions: who or what is near. A sorted set with the scores of Redis's GEOADD.
///
/// The latest position of a member wins. A position is exact to 0.6 m, a distance to 0.5 %; see [`geo`](crate::geo).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use archipelago::geo::{Position, Search, Unit};
///
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let drivers = client.geo("drivers");
/// drivers.add("ada", Position::new(13.361389, 38.115556)?).await?;
/// drivers.add("bob", Position::new(15.087269, 37.502669)?).await?;
/// assert_eq!(drivers.distance("ada", "bob", Unit::Metres).await?, Some(166_274.1516));
/// let here = Position::new(15.0, 37.0)?;
/// let near = drivers.search(&Search::around(here).within_radius(100.0, Unit::Kilometres).nearest(10)).await?;
/// assert_eq!(near.len(), 1);
/// assert_eq!((near[0].member.as_ref(), near[0].distance), (&b"bob"[..], 56.4413));
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Geo {
    pub(crate) handle: Handle,
}

/// A member that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The member.
    pub member: Bytes,
    /// Where it is.
    pub position: Position,
    /// How far from where was searched, in the search's unit, to four places.
    pub distance: f64,
}

impl Geo {
    /// Sets where a member is; says whether the member is new here.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn add(&self, member: impl Into<Bytes>, position: Position) -> Result<bool, Error> {
        Ok(self.add_all([(member, position)]).await? == 1)
    }

    /// Sets where members are; says how many are new here. At most 10,000 at once.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn add_all<M: Into<Bytes>>(
        &self,
        members: impl IntoIterator<Item = (M, Position)>,
    ) -> Result<u64, Error> {
        let entries = members.into_iter().map(|(member, position)| (member.into(), payload(position)));
        match self.handle.write(Mutation::assign(entries)).await? {
            Outcome::Assigned { added, .. } => Ok(added),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes a member; says whether it was there.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn remove(&self, member: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.handle.remove(vec![member.into()]).await? == 1)
    }

    /// Where a member is, to within 0.6 m of what was set; `None` when absent.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn position(&self, member: impl Into<Bytes>) -> Result<Option<Position>, Error> {
        let positions = array(self.handle.read(Query::Positions(vec![member.into()])).await?)?;
        match positions.into_iter().next() {
            None | Some(Reply::Nil) => Ok(None),
            Some(found) => Ok(Some(position(found)?)),
        }
    }

    /// How far two members are apart, to four places; `None` when one is absent.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn distance(
        &self,
        from: impl Into<Bytes>,
        to: impl Into<Bytes>,
        unit: Unit,
    ) -> Result<Option<f64>, Error> {
        let query = Query::Distance { from: from.into(), to: to.into(), unit };
        optional(self.handle.read(query).await?)?.as_ref().map(number).transpose()
    }

    /// The members that a search finds.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the member to search around is absent; else see [`ErrorKind`].
    pub async fn search(&self, search: &Search) -> Result<Vec<Place>, Error> {
        match self.handle.read(Query::Search(search.clone())).await? {
            Reply::Nil => Err(Error::new(ErrorKind::Refused, "the member to search around is absent")),
            found => array(found)?.into_iter().map(place).collect(),
        }
    }

    /// How many members there are.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn len(&self) -> Result<u64, Error> {
        self.handle.count().await
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

/// A position as the payload of a sorted set's member.
pub(crate) fn payload(position: Position) -> Bytes {
    archipelago_engine::number::show(score_of(position)).into()
}

fn position(reply: Reply) -> Result<Position, Error> {
    let [longitude, latitude] = parts(reply)?;
    let degrees = |reply| number(&optional(reply)?.unwrap_or_default());
    let position = Position::new(degrees(longitude)?, degrees(latitude)?);
    position.map_err(|error| Error::new(ErrorKind::Protocol, error.to_string()))
}

fn place(reply: Reply) -> Result<Place, Error> {
    let [member, distance, _, at] = parts(reply)?;
    let member = optional(member)?.unwrap_or_default();
    Ok(Place { member, position: position(at)?, distance: number(&optional(distance)?.unwrap_or_default())? })
}

fn parts<const N: usize>(reply: Reply) -> Result<[Reply; N], Error> {
    array(reply)?.try_into().map_err(|parts: Vec<Reply>| unexpected(&parts))
}

common_methods!(Geo);
