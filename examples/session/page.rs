//! The page. Whatever a visitor typed is escaped: `maud` escapes all but what is marked as markup.

use std::time::Duration;

use archipelago::sessions::axum::SessionToken;
use axum::{http::StatusCode, response::Html};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    cart::{Cart, Reading},
    failure::Failure,
    shop::AppServer,
    visitor::{ADDRESSES, Visitor},
};

const STYLE: &str = "
:root { color-scheme: light dark; --line: light-dark(#ccd3dc, #3a4350); --soft: light-dark(#f4f6f9, #1b2027); --muted: light-dark(#57606a, #9aa5b1);
  --strong: light-dark(#0b5cad, #7fb8f5); --near: light-dark(#116329, #7ee2a0); --far: light-dark(#8a4b00, #f0b46a); }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0 0; } h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
section { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 1rem 0; }
dl { display: grid; grid-template-columns: minmax(8rem, auto) 1fr; gap: .3rem 1rem; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
form { display: inline-flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin: .75rem .5rem 0 0; }
label { display: grid; gap: .2rem; } input, select, button { font: inherit; padding: .4rem .7rem; border-radius: .4rem;
  border: 1px solid var(--line); background: var(--soft); color: inherit; }
button { cursor: pointer; } button.main { background: var(--strong); color: Canvas; border-color: var(--strong); }
:focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .5rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td form { margin: 0; }
.near { color: var(--near); font-weight: 600; } .far { color: var(--far); font-weight: 600; }
pre { overflow-x: auto; background: var(--soft); padding: .6rem; border-radius: .4rem; }
";

/// The page of the shop; without a cart for who is not logged in.
pub fn shop(visitor: &Visitor, token: &SessionToken, cart: Option<&Cart>) -> Result<Html<String>, Failure> {
    let server = visitor.server()?;
    let user = visitor.login.as_ref().map(|login| login.user.as_str());
    Ok(whole(
        "One shop, two regions",
        &html! {
            (place(visitor, server))
            @match (user, cart) {
                (Some(user), Some(cart)) => { (goods(user, cart)) (reading(token, &cart.reading)) (leaving()) }
                _ => (entrance(visitor.id.is_some())),
            }
        },
    ))
}

/// A page that says what went wrong.
pub fn failure(status: StatusCode, what: &str) -> Html<String> {
    whole(
        status.canonical_reason().unwrap_or("Something went wrong"),
        &html! {
            section role="alert" {
                p { (what) }
                p { a href="/" { "Back to the shop" } }
            }
        },
    )
}

fn whole(title: &str, content: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (title) } }
                main { (content) }
            }
        }
    };
    Html(page.into_string())
}

fn place(visitor: &Visitor, server: &AppServer) -> Markup {
    let others = visitor.shop.servers.iter().filter(|other| other.region != server.region);
    html! {
        section aria-labelledby="place" {
            h2 id="place" { "Where you are" }
            dl {
                dt { "Served by" }
                dd {
                    strong id="region" { (server.region) } " "
                    span id="why-region" { @if visitor.has_switched { "because you switched" } @else { "because it is your home" } }
                }
                dt { "Your home" }
                dd {
                    strong id="home" { (visitor.home) }
                    details { summary { "Why" } pre id="why-home" { (visitor.why_home) } }
                }
                dt { "Your address" }
                dd { span id="address" { (visitor.address) } " (" span id="source" { (visitor.source) } ")" }
            }
            @for other in others {
                form method="post" action="/region" {
                    input type="hidden" name="region" value=(other.region);
                    button { "Switch region to " (other.region) }
                }
            }
            form method="post" action="/address" {
                label { "Pretend to come from"
                    select name="address" {
                        @for (address, what) in ADDRESSES {
                            option value=(address) selected[visitor.address.to_string() == address] {
                                (what) @if !address.is_empty() { " (" (address) ")" }
                            }
                        }
                    }
                }
                button { "Come from there" }
            }
        }
    }
}

fn entrance(had_session: bool) -> Markup {
    html! {
        section aria-labelledby="entrance" {
            h2 id="entrance" { "Log in" }
            @if had_session { p role="status" id="ended" { "Your session has ended: you logged out, here or elsewhere, or it expired." } }
            form method="post" action="/login" {
                label { "Your name (any will do)" input name="user" required maxlength="32" autocomplete="username" autofocus; }
                button class="main" { "Log in" }
            }
        }
    }
}

fn goods(user: &str, cart: &Cart) -> Markup {
    html! {
        section aria-labelledby="goods" {
            h2 id="goods" { "The cart of " span id="user" { (user) } }
            @if cart.items.is_empty() { p id="empty" { "Nothing in it yet." } } @else {
                table {
                    thead { tr { th scope="col" { "Item" } th scope="col" { "Count" } th scope="col" { "Change" } } }
                    tbody {
                        @for (item, count) in &cart.items {
                            tr {
                                td { (item) }
                                td { (count) }
                                td { form method="post" action="/cart/remove" {
                                    input type="hidden" name="item" value=(item);
                                    button aria-label={ "Remove " (item) } { "Remove" }
                                } }
                            }
                        }
                    }
                }
            }
            form method="post" action="/cart/add" {
                label { "Item" input name="item" required maxlength="64"; }
                button class="main" { "Put into the cart" }
            }
        }
    }
}

fn reading(token: &SessionToken, reading: &Reading) -> Markup {
    let text = token.session.token();
    let short: String = text.chars().take(12).collect();
    html! {
        section aria-labelledby="reading" {
            h2 id="reading" { "How this cart was read" }
            dl {
                dt { "From" }
                dd {
                    @if reading.is_local { span class="near" id="way" { "here" } } @else { span class="far" id="way" { "far away" } }
                    ": " span id="node" { (reading.node) } ", in " (reading.stands_in) ", in " (human(reading.took))
                }
                dt { "Why there" }
                dd id="why-node" { (reading.why) }
                dt { "Copies" }
                dd {
                    @for (name, behind) in &reading.copies {
                        div { (name) ": " @match behind {
                            Some(behind) => { (human(*behind)) " behind at most" }
                            None => "nobody knows how far behind",
                        } }
                    }
                }
                dt { "Your token" }
                dd { code id="token" { (short) } "… (" (text.len()) " characters): " span id="arrival" { (token.arrival) } }
            }
        }
    }
}

fn leaving() -> Markup {
    html! {
        section aria-labelledby="leaving" {
            h2 id="leaving" { "Leave" }
            form method="post" action="/logout" { button { "Log out" } }
            form method="post" action="/logout-everywhere" { button { "Log out everywhere" } }
        }
    }
}

fn human(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        seconds => format!("{seconds:.1} s"),
    }
}
