//! The two boards: what a round of the game writes, and what a page of a board reads.

use archipelago::{BestScores, Client, Error, SortedSet};
use archipelago_examples::quoted;
use serde::Serialize;

use crate::failure::Failure;

/// Lines on a page.
pub const PAGE: u32 = 10;

/// The last page that can be asked for.
const LAST_PAGE: u32 = 99_999;

/// Characters in a player's name.
pub const MAX_NAME: usize = 32;

/// Points of one round. A board sums up to 2^53 of them exactly.
pub const MAX_POINTS: f64 = 1_000_000.0;

const BEST: &str = "leaderboard:best";
const SUM: &str = "leaderboard:sum";

/// Which board: they answer the same questions and merge by different rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Board {
    /// The best round of each player; of two submitted at the same time the better stays.
    Best,
    /// All points of each player; what is added anywhere counts.
    Sum,
}

/// Which lines of a board.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Page(u32),
    Around(String),
}

/// What a viewer looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    pub board: Board,
    pub place: Place,
}

/// What one region shows of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    /// On the whole board.
    pub players: u64,
    /// The rank of the first line, 0 being the best.
    pub first: u64,
    /// Whether the player whose neighbourhood it is has no score here yet.
    pub absent: bool,
    /// Players with their scores, best first.
    pub rows: Vec<(String, f64)>,
}

impl View {
    /// What a viewer asked for, checked.
    pub fn parse(board: &str, page: Option<&str>, around: Option<&str>) -> Result<Self, Failure> {
        let board = match board {
            "best" => Board::Best,
            "sum" => Board::Sum,
            other => {
                return Err(Failure::not_found(format!("There is no board {:?}: take best or sum.", quoted(other))));
            }
        };
        let place = match (page, around) {
            (Some(_), Some(_)) => return Err(Failure::input("Give a page or a player, not both.")),
            (None, Some(player)) => Place::Around(checked_name(player)?.to_owned()),
            (None, None) => Place::Page(0),
            (Some(page), None) => {
                let number = page.parse().ok().filter(|page| *page <= LAST_PAGE);
                let wrong = || Failure::input(format!("A page is a number from 0 to {LAST_PAGE}."));
                Place::Page(number.ok_or_else(wrong)?)
            }
        };
        Ok(Self { board, place })
    }
}

/// A name that a player typed: not empty, not long, nothing that moves a cursor.
pub fn checked_name(name: &str) -> Result<&str, Failure> {
    let name = name.trim();
    let is_fine = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    is_fine.then_some(name).ok_or_else(|| Failure::input(format!("A player's name has 1 to {MAX_NAME} characters.")))
}

/// Points that can be won in one round. Points may be lost, too: they sum up all the same.
pub fn checked_points(points: f64) -> Result<f64, Failure> {
    let is_fine = points.is_finite() && points.abs() <= MAX_POINTS;
    let wrong = || Failure::input(format!("A round is worth {} to {MAX_POINTS} points.", -MAX_POINTS));
    // Without its sign, a zero that has one.
    is_fine.then_some(points + 0.0).ok_or_else(wrong)
}

fn best(client: &Client) -> BestScores {
    client.high_scores(BEST)
}

fn sum(client: &Client) -> SortedSet {
    client.sorted_set(SUM)
}

/// One round of the game, written where it was played. Two keys, two writes: one of them may fail alone.
pub async fn play(client: &Client, player: &str, points: f64) -> Result<(), Error> {
    let (best, sum) = (best(client), sum(client));
    // Calls that begin together are sent together.
    let (submitted, added) = tokio::join!(best.submit(player.to_owned(), points), sum.add(player.to_owned(), points));
    submitted?;
    added?;
    Ok(())
}

/// What a region shows at present. Three reads, so a player may move in between: the next look shows it.
pub async fn look(client: &Client, view: &View) -> Result<Seen, Error> {
    let (players, first) = match &view.place {
        Place::Page(page) => (count(client, view.board).await?, Some(page * PAGE)),
        Place::Around(player) => {
            let (players, rank) = tokio::join!(count(client, view.board), rank(client, view.board, player));
            (players?, rank?.map(above))
        }
    };
    let Some(first) = first else { return Ok(Seen { players, absent: true, ..Seen::default() }) };
    let rows = match view.board {
        Board::Best => best(client).page(first, PAGE).await?,
        Board::Sum => sum(client).page(first, PAGE).await?,
    };
    // Any program may have written here, and a name need not be text.
    let rows = rows.into_iter().map(|(player, score)| (String::from_utf8_lossy(&player).into_owned(), score)).collect();
    Ok(Seen { players, first: u64::from(first), absent: false, rows })
}

/// Where the neighbourhood of a rank begins.
fn above(rank: u64) -> u32 {
    u32::try_from(rank).unwrap_or(u32::MAX).saturating_sub(PAGE / 2)
}

async fn count(client: &Client, board: Board) -> Result<u64, Error> {
    match board {
        Board::Best => best(client).len().await,
        Board::Sum => sum(client).len().await,
    }
}

async fn rank(client: &Client, board: Board, player: &str) -> Result<Option<u64>, Error> {
    match board {
        Board::Best => best(client).rank(player.to_owned()).await,
        Board::Sum => sum(client).rank(player.to_owned()).await,
    }
}

/// So that a check can run twice on the same servers.
pub async fn clear(client: &Client) -> Result<(), Error> {
    best(client).delete().await?;
    sum(client).delete().await?;
    Ok(())
}
