//! The page. It is filled by `assets/page.js`, which sets texts and never markup: what a player typed stays text.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use crate::{
    boards::{MAX_NAME, MAX_POINTS, PAGE},
    links,
    regions::World,
};

/// The page of a world.
pub fn page(world: &World) -> Html<String> {
    let names: Vec<&str> = world.regions.iter().map(|region| region.name.as_str()).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Leaderboard in three regions" }
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/style.css";
                script src="/page.js" defer {}
            }
            body {
                header {
                    div {
                        h1 { "One leaderboard, three regions" }
                        p { "Each region writes its own copy at once. Links carry what changed; the copies agree." }
                    }
                    (controls())
                }
                p #notice role="status" aria-live="polite" {}
                @if !world.can_break() {
                    p.hint { "These regions are servers of your own: their links and processes are not this page's to break." }
                }
                main #stage data-page=(PAGE) {
                    (lines())
                    @for (at, name) in names.iter().enumerate() { (card(at, name, world.can_break())) }
                    @for (at, [a, b]) in pairs(&names).into_iter().enumerate() { (link(at, a, b, world)) }
                }
                footer {
                    p { "Cut one link, and after some seconds its writes go round by the third region. Cut both links of a region, or "
                        "kill it, and it is alone until you heal them." }
                    @if world.can_break() { button #heal { "Heal everything" } }
                }
            }
        }
    };
    Html(page.into_string())
}

/// An end of a link: a region's position and name.
type End<'n> = (usize, &'n str);

/// Each pair of regions once.
fn pairs<'n>(names: &[&'n str]) -> Vec<[End<'n>; 2]> {
    let numbered = || names.iter().copied().enumerate();
    numbered().flat_map(|a| numbered().filter(move |b| a.0 < b.0).map(move |b| [a, b])).collect()
}

fn controls() -> Markup {
    html! {
        nav aria-label="What to look at" {
            div.group role="group" aria-label="Board" {
                button.board #best data-board="best" aria-pressed="true" { "Best score" }
                button.board #sum data-board="sum" aria-pressed="false" { "Sum of points" }
            }
            div.group role="group" aria-label="Page" {
                button #previous disabled aria-label="Previous page" { "‹" }
                output #place { "1 – " (PAGE) }
                button #next aria-label="Next page" { "›" }
            }
            form #around.group {
                input name="player" aria-label="Player to look around" placeholder="Around player…" maxlength=(MAX_NAME) required;
                button { "Find" }
                button #top type="button" disabled { "Top" }
            }
        }
    }
}

/// The links as lines, behind the cards. Where there is no room for a map they are not drawn.
fn lines() -> Markup {
    html! {
        svg #lines viewBox="0 0 1240 620" preserveAspectRatio="none" aria-hidden="true" {
            path data-pair="0" d="M 110 280 C 110 120, 230 90, 490 90" {}
            path data-pair="1" d="M 290 470 C 420 570, 820 570, 950 470" {}
            path data-pair="2" d="M 750 90 C 1010 90, 1130 120, 1130 280" {}
        }
    }
}

fn card(at: usize, name: &str, can_break: bool) -> Markup {
    html! {
        article class={ "card at-" (at) } data-region=(name) aria-labelledby={ "name-" (at) } {
            header {
                h2 id={ "name-" (at) } { (name) }
                p.state { "connecting…" }
                @if can_break { button.fate data-fate="kill" { "Kill" } }
            }
            table {
                thead { tr { th scope="col" { "#" } th scope="col" { "Player" } th scope="col" { "Points" } } }
                tbody { @for _ in 0..PAGE { tr { td {} td { bdi {} } td {} } } }
            }
            form.points {
                input name="player" aria-label={ "Player in " (name) } placeholder="Player" maxlength=(MAX_NAME) required autocomplete="off";
                input name="points" type="number" aria-label={ "Points in " (name) } value="100" step="any" min=(-MAX_POINTS) max=(MAX_POINTS) required;
                button { "Add" }
            }
        }
    }
}

fn link(pair: usize, a: End<'_>, b: End<'_>, world: &World) -> Markup {
    let order: Vec<links::Link> = links::all(world.regions.len()).collect();
    let number = |from, to| order.iter().position(|link| link.from == from && link.to == to).unwrap_or_default();
    html! {
        section class={ "link pair-" (pair) } data-pair=(pair) aria-label={ "Links between " (a.1) " and " (b.1) } {
            @for (from, to) in [(a, b), (b, a)] {
                div.way data-link=(number(from.0, to.0)) data-from=(from.1) data-to=(to.1) {
                    span.route { span { (short(from.1)) } " → " span { (short(to.1)) } }
                    span.lag { "…" }
                    @if world.can_break() {
                        button.cut aria-label={ "Cut " (from.1) " to " (to.1) } { "Cut" }
                    }
                }
            }
            @if world.can_break() { button.both data-a=(a.1) data-b=(b.1) { "Cut both ways" } }
        }
    }
}

/// A region's name, short enough for a label.
fn short(name: &str) -> &str {
    name.split(['-', '_', '.']).next().unwrap_or(name)
}
