//! What a viewer is sent: what changed since they were last sent something, and nothing else.

use serde::{Deserialize, Serialize};

use crate::{boards::Seen, links::LinkState};

/// What one region answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Seen(Seen),
    /// It could not be reached, and why.
    Down(String),
}

/// What a viewer's page shows. The page has the same in `page.js`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    pub regions: Vec<Shown>,
    pub links: Vec<LinkState>,
}

/// What a viewer's page shows of one region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// What it said last.
    pub seen: Option<Seen>,
    /// Why it does not say more.
    pub down: Option<String>,
}

/// The data of one event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkChange>,
}

/// What changed in one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RegionChange {
    Down { region: usize, down: String },
    Seen(SeenChange),
}

/// What changed of what a region shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenChange {
    pub region: usize,
    pub players: u64,
    pub first: u64,
    pub absent: bool,
    /// How many lines there are now.
    pub lines: usize,
    /// The lines that are others than before: where, who, how many points.
    pub rows: Vec<(usize, String, f64)>,
}

/// How a link is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkChange {
    pub link: usize,
    pub cut: bool,
    pub queued: Option<u64>,
    pub waiting: u64,
}

impl Change {
    pub const fn is_empty(&self) -> bool {
        self.regions.is_empty() && self.links.is_empty()
    }
}

impl Picture {
    /// What leads from this picture to what is so now. An answer that is missing changes nothing.
    pub fn change(&self, answers: &[Option<Answer>], links: &[LinkState]) -> Change {
        let regions = answers.iter().enumerate().filter_map(|(region, answer)| {
            let shown = self.regions.get(region);
            match answer.as_ref()? {
                Answer::Down(why) => {
                    let is_news = shown.and_then(|shown| shown.down.as_ref()) != Some(why);
                    is_news.then(|| RegionChange::Down { region, down: why.clone() })
                }
                Answer::Seen(seen) => {
                    let before = shown.filter(|shown| shown.down.is_none()).and_then(|shown| shown.seen.as_ref());
                    let is_news = before != Some(seen);
                    is_news.then(|| RegionChange::Seen(SeenChange::between(region, shown, seen)))
                }
            }
        });
        let links = links.iter().enumerate().filter(|(link, state)| self.links.get(*link) != Some(state));
        let links = links.map(|(link, LinkState { cut, queued, waiting })| LinkChange {
            link,
            cut: *cut,
            queued: *queued,
            waiting: *waiting,
        });
        Change { regions: regions.collect(), links: links.collect() }
    }

    /// Follows a change.
    pub fn apply(&mut self, change: &Change) {
        for change in &change.regions {
            match change {
                RegionChange::Down { region, down } => at(&mut self.regions, *region).down = Some(down.clone()),
                RegionChange::Seen(change) => change.apply(at(&mut self.regions, change.region)),
            }
        }
        for LinkChange { link, cut, queued, waiting } in &change.links {
            *at(&mut self.links, *link) = LinkState { cut: *cut, queued: *queued, waiting: *waiting };
        }
    }
}

impl SeenChange {
    fn between(region: usize, shown: Option<&Shown>, now: &Seen) -> Self {
        let before = shown.and_then(|shown| shown.seen.as_ref());
        let is_news =
            |(line, row): &(usize, &(String, f64))| before.and_then(|seen| seen.rows.get(*line)) != Some(*row);
        let rows = now.rows.iter().enumerate().filter(is_news);
        let rows = rows.map(|(line, (player, score))| (line, player.clone(), *score)).collect();
        Self { region, players: now.players, first: now.first, absent: now.absent, lines: now.rows.len(), rows }
    }

    fn apply(&self, shown: &mut Shown) {
        let seen = shown.seen.get_or_insert_default();
        (seen.players, seen.first, seen.absent) = (self.players, self.first, self.absent);
        seen.rows.truncate(self.lines);
        for (line, player, score) in &self.rows {
            *at(&mut seen.rows, *line) = (player.clone(), *score);
        }
        shown.down = None;
    }
}

/// The place in a list, which grows up to it.
fn at<T: Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    // It was made just above.
    #[allow(clippy::indexing_slicing, reason = "the list reaches there")]
    &mut list[place]
}
