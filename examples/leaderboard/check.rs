//! The page, driven as a viewer drives it: what it promises, asserted.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use archipelago_examples::{
    Result,
    browser::{Browser, Events},
};
use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    boards::{MAX_NAME, PAGE, clear},
    changes::{Change, Picture, RegionChange},
    links::{self, Link},
    regions::World,
    serve,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Serves a world, checks all of it, and stops it.
pub async fn all(world: World) -> Result<()> {
    for region in &world.regions {
        clear(&region.client).await?;
    }
    let names = world.regions.iter().map(|region| region.name.clone()).collect();
    let can_break = world.can_break();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, world, 0, async { drop(stopped.await) }));
    let tour = Tour { at, names };
    tour.the_page_is_whole_and_takes_nothing_from_elsewhere().await?;
    tour.every_region_shows_what_was_played_in_any().await?;
    tour.pages_and_neighbourhoods().await?;
    tour.mistakes_are_answered().await?;
    tour.markup_is_inert().await?;
    match can_break {
        true => {
            tour.a_region_that_is_cut_off_differs_until_it_is_healed().await?;
            tour.one_cut_link_is_gone_around().await?;
            tour.a_killed_region_is_shown_and_the_others_go_on().await?;
        }
        false => tour.servers_are_not_ours_to_break().await?,
    }
    // Somebody looks until the end, and does not hold it up.
    let mut last = tour.watch("board=best").await?;
    drop(stop);
    while last.events.next().await?.is_some() {}
    tokio::time::timeout(PATIENCE, server).await??
}

/// A viewer's way around the page.
struct Tour {
    at: SocketAddr,
    names: Vec<String>,
}

/// What a viewer sees.
struct Viewer {
    events: Events,
    picture: Picture,
}

impl Viewer {
    /// Follows the stream until the picture is as it should be.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Picture) -> bool) -> Result<&Picture> {
        let began = Instant::now();
        while !is_so(&self.picture) {
            let left = PATIENCE.checked_sub(began.elapsed());
            let next = tokio::time::timeout(left.unwrap_or_default(), self.events.next()).await;
            let late = |_| format!("waited for {what} for {PATIENCE:?}; at the end: {:#?}", self.picture);
            let event = next.map_err(late)??.ok_or_else(|| format!("the stream ended before {what}"))?;
            let change: Change = serde_json::from_str(&event)?;
            assert!(is_all_news(&self.picture, &change), "told twice: {event}");
            self.picture.apply(&change);
        }
        Ok(&self.picture)
    }
}

/// Whether every line of a change differs from what a viewer has.
fn is_all_news(picture: &Picture, change: &Change) -> bool {
    let is_news = |change: &RegionChange| match change {
        RegionChange::Down { region, down } => {
            picture.regions.get(*region).and_then(|shown| shown.down.as_ref()) != Some(down)
        }
        RegionChange::Seen(change) => {
            let before = picture.regions.get(change.region).and_then(|shown| shown.seen.as_ref());
            let row = |line: usize| before.and_then(|seen| seen.rows.get(line));
            change.rows.iter().all(|(line, player, score)| row(*line) != Some(&(player.clone(), *score)))
        }
    };
    !change.is_empty() && change.regions.iter().all(is_news)
}

/// What a region shows of a player.
fn score(picture: &Picture, region: usize, player: &str) -> Option<f64> {
    let shown = picture.regions.get(region)?.seen.as_ref()?;
    shown.rows.iter().find(|(name, _)| name == player).map(|(_, score)| *score)
}

fn everywhere(picture: &Picture, player: &str, points: f64) -> bool {
    (0..3).all(|region| score(picture, region, player) == Some(points))
}

/// Whether nobody waits for anything.
fn in_step(picture: &Picture) -> bool {
    !picture.links.is_empty() && picture.links.iter().all(|link| !link.cut && link.queued == Some(0))
}

impl Tour {
    fn browser(&self) -> Browser {
        Browser::new(self.at)
    }

    fn name(&self, region: usize) -> &str {
        self.names.get(region).map(String::as_str).unwrap_or_default()
    }

    async fn watch(&self, query: &str) -> Result<Viewer> {
        let events = self.browser().listen(&format!("/events?{query}")).await?;
        Ok(Viewer { events, picture: Picture::default() })
    }

    async fn post(&self, path: &str, body: serde_json::Value) -> Result<StatusCode> {
        let answer = self.browser().post(path, body.to_string()).await?;
        let said: serde_json::Value = serde_json::from_str(&answer.text)?;
        let is_error = !answer.status.is_success();
        assert_eq!(is_error, said["error"].as_str().is_some_and(|what| !what.is_empty()), "{said}");
        Ok(answer.status)
    }

    async fn play(&self, region: usize, player: &str, points: f64) -> Result<StatusCode> {
        self.post("/points", json!({ "region": self.name(region), "player": player, "points": points })).await
    }

    async fn played(&self, region: usize, player: &str, points: f64) -> Result<()> {
        assert_eq!(self.play(region, player, points).await?, StatusCode::OK, "{player}");
        Ok(())
    }

    async fn set_cut(&self, from: usize, to: usize, cut: bool) -> Result<()> {
        let body = json!({ "from": self.name(from), "to": self.name(to), "cut": cut });
        assert_eq!(self.post("/link", body).await?, StatusCode::OK);
        Ok(())
    }

    async fn set_fate(&self, region: usize, fate: &str) -> Result<()> {
        let body = json!({ "region": self.name(region), "fate": fate });
        assert_eq!(self.post("/region", body).await?, StatusCode::OK);
        Ok(())
    }

    async fn the_page_is_whole_and_takes_nothing_from_elsewhere(&self) -> Result<()> {
        let mut browser = self.browser();
        let page = browser.open("/").await?;
        assert_eq!(page.status, StatusCode::OK);
        assert!(self.names.iter().all(|name| page.shows(name)));
        let policy = page.headers.get("content-security-policy").ok_or("no policy")?.to_str()?;
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!page.shows("://") && !page.shows(" style=") && !page.shows("<script>"), "{}", page.text);
        for path in ["/style.css", "/page.js", "/map.svg", "/icon.svg"] {
            let asset = browser.open(path).await?;
            assert!(asset.status == StatusCode::OK && page.shows(path) | (path == "/map.svg"), "{path}");
            assert!(asset.headers.contains_key("content-security-policy"), "{path}");
        }
        Ok(())
    }

    async fn every_region_shows_what_was_played_in_any(&self) -> Result<()> {
        let (mut best, mut sum) = (self.watch("board=best").await?, self.watch("board=sum").await?);
        for (region, points) in [(0, 30.0), (1, 50.0), (2, 20.0)] {
            self.played(region, "ada", points).await?;
        }
        best.until("ada's best round", |picture| everywhere(picture, "ada", 50.0)).await?;
        sum.until("the sum of ada's points", |picture| everywhere(picture, "ada", 100.0)).await?;
        sum.until("links in step", in_step).await?;
        Ok(())
    }

    async fn pages_and_neighbourhoods(&self) -> Result<()> {
        for number in 1..=25 {
            self.played(number % 3, &format!("p{number:02}"), 1000.0 - f64::from(u8::try_from(number)?)).await?;
        }
        let mut third = self.watch("board=best&page=2").await?;
        // Ada is on the third page as soon as twenty are ahead of her: that is not yet all.
        let all_came = |picture: &Picture| {
            let seen = |region: usize| picture.regions.get(region)?.seen.as_ref();
            everywhere(picture, "ada", 50.0) && (0..3).all(|region| seen(region).is_some_and(|seen| seen.players == 26))
        };
        let picture = third.until("the third page", all_came).await?;
        for region in &picture.regions {
            let seen = region.seen.as_ref().ok_or("nothing seen")?;
            assert_eq!((seen.players, seen.first, seen.rows.len()), (26, 20, 6));
            assert_eq!(seen.rows.first(), Some(&("p21".to_owned(), 979.0)));
        }
        let mut around = self.watch("board=sum&around=p13").await?;
        let picture = around.until("a neighbourhood", |picture| everywhere(picture, "p13", 987.0)).await?;
        let seen = picture.regions.first().and_then(|region| region.seen.as_ref()).ok_or("nothing seen")?;
        assert_eq!((seen.first, seen.rows.len()), (12 - u64::from(PAGE / 2), PAGE as usize));
        // A player who moves takes the neighbourhood along.
        self.played(0, "p13", 5_000.0).await?;
        let leads = |picture: &Picture| {
            everywhere(picture, "p13", 5_987.0)
                && picture.regions.iter().all(|region| region.seen.as_ref().is_some_and(|seen| seen.first == 0))
        };
        around.until("p13 in the lead", leads).await?;
        let absent = |picture: &Picture| {
            let seen = |region: usize| picture.regions.get(region)?.seen.as_ref();
            (0..3).all(|region| seen(region).is_some_and(|seen| seen.absent && seen.rows.is_empty()))
        };
        self.watch("board=sum&around=nobody").await?.until("nobody", absent).await?;
        Ok(())
    }

    async fn mistakes_are_answered(&self) -> Result<()> {
        let (here, long) = (self.name(0), "x".repeat(MAX_NAME + 1));
        for query in [
            "board=worst",
            "board=best&page=-1",
            "board=best&page=1e9",
            "board=best&page=x",
            "board=best&page=99999999999",
            "board=best&around=",
            "board=best&page=1&around=ada",
            "page=1",
            "",
            &format!("board=sum&around={long}"),
            "board=sum&around=%00",
            "board=sum&around=%ff%fe%00",
        ] {
            for path in ["/events", &format!("/board?region={here}")] {
                let address = if path.contains('?') { format!("{path}&{query}") } else { format!("{path}?{query}") };
                let answer = self.browser().open(&address).await?;
                assert!(answer.status.is_client_error() && answer.shows("\"error\":\""), "{address}: {}", answer.text);
            }
        }
        for (path, body) in [
            ("/points", json!({ "region": "mars", "player": "bob", "points": 1 })),
            ("/points", json!({ "region": here, "player": "", "points": 1 })),
            ("/points", json!({ "region": here, "player": "  ", "points": 1 })),
            ("/points", json!({ "region": here, "player": long, "points": 1 })),
            ("/points", json!({ "region": here, "player": "a\u{7}b", "points": 1 })),
            ("/points", json!({ "region": here, "player": "bob", "points": 1e300 })),
            ("/points", json!({ "region": here, "player": "bob", "points": -1e7 })),
            ("/points", json!({ "region": here, "player": "bob", "points": null })),
            ("/points", json!({ "region": here, "player": "bob", "points": "NaN" })),
            ("/points", json!({ "region": here, "player": "x".repeat(5000), "points": 1 })),
            ("/link", json!({ "from": here, "to": "mars", "cut": true })),
            ("/link", json!({ "from": here, "to": here, "cut": true })),
            ("/region", json!({ "region": "mars", "fate": "kill" })),
            ("/region", json!({ "region": here, "fate": "explode" })),
            ("/nowhere", json!({})),
            ("/board", json!({})),
        ] {
            let status = self.post(path, body.clone()).await?;
            assert!(status.is_client_error(), "{path} {body}: {status}");
        }
        for text in ["{\"region\":\"us\",\"player\":\"bob\",\"points\":1e999}", "NaN", "", "[]"] {
            let answer = self.browser().post("/points", text).await?;
            assert!(answer.status.is_client_error() && answer.shows("\"error\":\""), "{text}: {}", answer.text);
        }
        // What another site's form could send without asking.
        let form = self.browser().submit("/region", &[("region", here), ("fate", "kill")]).await?;
        assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        Ok(())
    }

    /// In an answer a name is data; that the page shows it as text is for the browser to say.
    async fn markup_is_inert(&self) -> Result<()> {
        let name = "<img src=x onerror=boo>";
        self.played(0, name, 1.0).await?;
        let address = format!("/board?region={}&board=best&page=2", self.name(0));
        let answer = self.browser().open(&address).await?;
        let seen: serde_json::Value = serde_json::from_str(&answer.text)?;
        assert!(seen["rows"].as_array().is_some_and(|rows| rows.iter().any(|row| row[0] == name)), "{seen}");
        assert_eq!(answer.headers.get("content-type").ok_or("no type")?, "application/json");
        assert!(!self.browser().open("/").await?.shows("onerror"));
        Ok(())
    }

    /// The second region, cut off: it goes on alone, and so do the others.
    async fn a_region_that_is_cut_off_differs_until_it_is_healed(&self) -> Result<()> {
        let mut viewer = self.watch("board=sum").await?;
        viewer.until("links in step", in_step).await?;
        let ways: Vec<Link> = links::all(3).collect();
        let touches = |link: &Link| link.from == 1 || link.to == 1;
        for link in ways.iter().filter(|link| touches(link)) {
            self.set_cut(link.from, link.to, true).await?;
        }
        self.played(0, "cut-off", 7_000.0).await?;
        self.played(1, "cut-off", 8_000.0).await?;
        let differ = |picture: &Picture| {
            let seen = [0, 1, 2].map(|region| score(picture, region, "cut-off"));
            let waits = |(link, state): (&Link, &links::LinkState)| {
                state.cut == touches(link) && (!state.cut || state.queued.is_some_and(|queued| queued > 0))
            };
            seen == [Some(7_000.0), Some(8_000.0), Some(7_000.0)] && ways.iter().zip(&picture.links).all(waits)
        };
        viewer.until("boards that differ, and deltas that wait", differ).await?;
        for link in ways.iter().filter(|link| touches(link)) {
            self.set_cut(link.from, link.to, false).await?;
        }
        viewer.until("boards that agree", |picture| everywhere(picture, "cut-off", 15_000.0)).await?;
        viewer.until("links in step", in_step).await?;
        Ok(())
    }

    async fn one_cut_link_is_gone_around(&self) -> Result<()> {
        let mut viewer = self.watch("board=best").await?;
        self.set_cut(0, 1, true).await?;
        self.set_cut(1, 0, true).await?;
        self.played(0, "around", 9_000.0).await?;
        let lacks = |picture: &Picture| {
            score(picture, 2, "around") == Some(9_000.0)
                && score(picture, 1, "around").is_none()
                && picture.links.first().is_some_and(|link| link.cut)
        };
        viewer.until("the third region ahead of the second", lacks).await?;
        viewer.until("the way by the third region", |picture| everywhere(picture, "around", 9_000.0)).await?;
        self.set_cut(0, 1, false).await?;
        self.set_cut(1, 0, false).await?;
        viewer.until("links in step", in_step).await?;
        Ok(())
    }

    async fn a_killed_region_is_shown_and_the_others_go_on(&self) -> Result<()> {
        let mut viewer = self.watch("board=sum").await?;
        viewer.until("every board", |picture| everywhere(picture, "cut-off", 15_000.0)).await?;
        self.set_fate(2, "kill").await?;
        let is_down = |picture: &Picture| picture.regions.get(2).is_some_and(|region| region.down.is_some());
        viewer.until("the killed region", is_down).await?;
        assert_eq!(self.play(2, "lost", 1.0).await?, StatusCode::SERVICE_UNAVAILABLE);
        self.played(0, "alive", 20_000.0).await?;
        self.played(1, "alive", 1_000.0).await?;
        let go_on = |picture: &Picture| {
            is_down(picture) && [0, 1].iter().all(|region| score(picture, *region, "alive") == Some(21_000.0))
        };
        viewer.until("the others", go_on).await?;
        self.set_fate(2, "restart").await?;
        let is_back = |picture: &Picture| !is_down(picture) && everywhere(picture, "alive", 21_000.0);
        viewer.until("the restarted region", is_back).await?;
        viewer.until("links in step", in_step).await?;
        Ok(())
    }

    async fn servers_are_not_ours_to_break(&self) -> Result<()> {
        let (one, other) = (self.name(0), self.name(1));
        let cut = self.post("/link", json!({ "from": one, "to": other, "cut": true })).await?;
        let kill = self.post("/region", json!({ "region": one, "fate": "kill" })).await?;
        assert_eq!((cut, kill), (StatusCode::CONFLICT, StatusCode::CONFLICT));
        assert!(self.browser().open("/").await?.shows("servers of your own"));
        Ok(())
    }
}
