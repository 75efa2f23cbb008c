//! The same promises on real servers, the page in a real browser, and what the streams owe their viewers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use archipelago::testing::servers::{Options, Server};
use archipelago_examples::{Result, serving};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    boards::{Seen, View, checked_name, checked_points, play},
    changes::{Answer, Change, Picture},
    check,
    chromium::{Chromium, installed},
    links::LinkState,
    regions::World,
    serve,
    stream::Hub,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_embedded_regions() {
    check::all(World::embedded().await.unwrap()).await.unwrap();
}

/// A world on three servers, in the order of its regions.
async fn on_servers() -> (World, Vec<Server>) {
    let mut servers = Vec::new();
    let mut text = String::from("[keyspaces.default]\nmode = \"active-active\"\n");
    for name in ["ap", "eu", "us"] {
        let server = Server::redis(Options::default()).await.unwrap();
        text += &format!("[regions.{name}]\nurl = \"{}\"\n", server.url());
        servers.push(server);
    }
    (World::configured(text.parse().unwrap()).await.unwrap(), servers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_real_servers() {
    let (world, _servers) = on_servers().await;
    check::all(world).await.unwrap();
}

/// Follows a stream until the picture is as it should be; says how many events that took.
async fn follow(
    changes: &mut (impl Stream<Item = Change> + Unpin),
    picture: &mut Picture,
    is_so: impl Fn(&Picture) -> bool,
) -> usize {
    let following = async {
        let mut events = 0;
        while !is_so(picture) {
            picture.apply(&changes.next().await.unwrap());
            events += 1;
        }
        events
    };
    tokio::time::timeout(PATIENCE, following).await.unwrap()
}

/// A server that accepts and does not answer, the worst of them: its board is shown as unreachable, the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_holds_nobody_up() {
    let (world, mut servers) = on_servers().await;
    let world = Arc::new(world);
    let hub = Hub::start(world.clone());
    let mut viewer = Box::pin(hub.watch(&View::parse("sum", None, None).unwrap()).unwrap());
    let mut picture = Picture::default();
    let has = |picture: &Picture, region: usize, points: f64| {
        let seen = picture.regions.get(region).and_then(|region| region.seen.as_ref());
        seen.is_some_and(|seen| seen.rows == [("ada".to_owned(), points)])
    };
    let is_down = |picture: &Picture, region: usize| picture.regions[region].down.is_some();
    play(&world.regions[0].client, "ada", 1.0).await.unwrap();
    follow(&mut viewer, &mut picture, |picture| (0..3).all(|region| has(picture, region, 1.0))).await;
    servers[2].pause().unwrap();
    follow(&mut viewer, &mut picture, |picture| is_down(picture, 2)).await;
    play(&world.regions[1].client, "ada", 1.0).await.unwrap();
    follow(&mut viewer, &mut picture, |picture| (0..2).all(|region| has(picture, region, 2.0))).await;
    assert!(is_down(&picture, 2) && has(&picture, 2, 1.0), "{picture:?}");
    servers[2].resume().unwrap();
    follow(&mut viewer, &mut picture, |picture| !is_down(picture, 2) && has(picture, 2, 2.0)).await;
    hub.shut_down().await;
    world.close().await;
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    let taken = serving::listen(0).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = serving::listen(port).await.unwrap_err().to_string();
    assert!(said.contains(&port.to_string()) && said.contains("in use"), "{said}");
    let text = |regions: &[&str]| {
        // Nobody listens on the first few ports.
        let region = |(port, name): (usize, &&str)| format!("[regions.{name}]\nurl = \"redis://127.0.0.1:{port}\"\n");
        let regions: String = (1..).zip(regions).map(region).collect();
        format!("[keyspaces.default]\nmode = \"active-active\"\n{regions}")
    };
    let said = World::configured(text(&["eu"]).parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(said, "this example needs three regions");
    let said = World::configured(text(&["ap", "eu", "us"]).parse().unwrap()).await.unwrap_err().to_string();
    assert!(said.contains("ap") && said.contains("refused"), "{said}");
}

#[test]
fn absurd_points_and_names_are_refused_in_few_words() {
    for points in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 1e18, -1_000_000.5, f64::from(1_000_001)] {
        let said = checked_points(points).unwrap_err().what;
        assert!(said.contains("1000000") && said.len() < 100, "{points}: {said}");
    }
    assert!(checked_points(-0.0).unwrap().is_sign_positive(), "a zero has no sign on a page");
    assert_eq!(checked_points(f64::MIN_POSITIVE).unwrap(), f64::MIN_POSITIVE);
    for name in ["", " \t ", "a\0b", "a\u{1b}[2Jb", "x".repeat(1_000_000).as_str()] {
        assert!(checked_name(name).unwrap_err().what.len() < 100);
    }
    // Text like any other: the page sets it as text, in an element that keeps its direction to itself.
    for name in ["<script>", "\u{202e}ada", "a'\"&b", "é".repeat(32).as_str()] {
        assert_eq!(checked_name(name).unwrap(), name);
    }
    for (board, around) in [("x".repeat(60_000), None), ("best".to_owned(), Some("x".repeat(60_000)))] {
        let said = View::parse(&board, None, around.as_deref()).unwrap_err().what;
        assert!(said.len() < 300, "{said}");
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Any answers, drawn from this seed.
struct Chance(fastrand::Rng);

impl Chance {
    fn answer(&mut self) -> Option<Answer> {
        let draw = &mut self.0;
        if draw.u8(..8) == 0 {
            return None;
        }
        if draw.u8(..5) == 0 {
            return Some(Answer::Down(format!("reason {}", draw.u8(..2))));
        }
        let rows = (0..draw.usize(..4)).map(|_| (format!("p{}", draw.u8(..3)), f64::from(draw.u8(..3)))).collect();
        Some(Answer::Seen(Seen { players: draw.u64(..3), first: draw.u64(..2), absent: draw.bool(), rows }))
    }

    fn link(&mut self) -> LinkState {
        let draw = &mut self.0;
        LinkState { cut: draw.bool(), queued: draw.bool().then(|| draw.u64(..2)), waiting: draw.u64(..2) }
    }
}

#[test]
fn changes_lead_to_what_is_so_and_say_nothing_twice() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = Chance(fastrand::Rng::with_seed(seed));
    let mut picture = Picture::default();
    for _ in 0..5_000 {
        let answers = [chance.answer(), chance.answer()];
        let links = [chance.link(), chance.link()];
        let change = picture.change(&answers, &links);
        // As it arrives.
        let text = serde_json::to_string(&change).unwrap();
        picture.apply(&serde_json::from_str(&text).unwrap());
        for (shown, answer) in picture.regions.iter().zip(&answers) {
            match answer {
                Some(Answer::Seen(seen)) => {
                    assert_eq!((shown.seen.as_ref(), &shown.down), (Some(seen), &None), "{text}")
                }
                Some(Answer::Down(why)) => assert_eq!(shown.down.as_ref(), Some(why), "{text}"),
                None => {}
            }
        }
        assert_eq!(picture.links, links, "{text}");
        assert!(picture.change(&answers, &links).is_empty(), "said twice: {text}");
    }
}

#[test]
fn only_the_lines_that_changed_are_sent() {
    let seen = |points: f64| {
        let rows = (0..10).map(|n| (format!("player-{n}"), if n == 4 { points } else { f64::from(n) })).collect();
        Some(Answer::Seen(Seen { players: 10, first: 0, absent: false, rows }))
    };
    let mut picture = Picture::default();
    picture.apply(&picture.change(&[seen(4.0)], &[]));
    let text = serde_json::to_string(&picture.change(&[seen(5.0)], &[])).unwrap();
    assert!(text.contains("player-4") && !text.contains("player-3"), "{text}");
}

/// A viewer who does not read for a while is sent the latest, in one event: nothing was kept for them.
#[tokio::test]
async fn a_slow_viewer_gets_the_latest_alone() {
    let world = Arc::new(World::embedded().await.unwrap());
    let hub = Hub::start(world.clone());
    let view = View::parse("sum", None, None).unwrap();
    let mut quick = Box::pin(hub.watch(&view).unwrap());
    let mut slow = Box::pin(hub.watch(&view).unwrap());
    let shows = |picture: &Picture, points: f64| {
        let seen = |region: usize| picture.regions.get(region)?.seen.as_ref();
        (0..3).all(|region| seen(region).is_some_and(|seen| seen.rows == [("ada".to_owned(), points)]))
    };
    let (mut picture, mut events) = (Picture::default(), 0);
    for round in 1..=5 {
        play(&world.regions[0].client, "ada", 1.0).await.unwrap();
        events += follow(&mut quick, &mut picture, |picture| shows(picture, f64::from(round))).await;
    }
    assert!(events >= 5, "{events}");
    let mut late = Picture::default();
    late.apply(&slow.next().await.unwrap());
    assert!(shows(&late, 5.0), "{late:?}");
    hub.shut_down().await;
    assert!(slow.next().await.is_none() && quick.next().await.is_none());
    world.close().await;
}

#[tokio::test]
async fn viewers_and_pages_are_counted_and_places_become_free() {
    let world = Arc::new(World::embedded().await.unwrap());
    let hub = Hub::start(world.clone());
    let page = |number: usize| View::parse("best", Some(&number.to_string()), None).unwrap();
    let mut viewers: Vec<_> = (0..64).map(|number| hub.watch(&page(number)).unwrap()).collect();
    let refusal = |view: &View| hub.watch(view).err().map(|failure| failure.what);
    assert!(refusal(&page(64)).unwrap().contains("different pages"));
    viewers.extend((64..500).map(|_| hub.watch(&page(0)).unwrap()));
    assert!(refusal(&page(0)).unwrap().contains("viewers"));
    drop(viewers);
    assert!(refusal(&page(64)).is_none());
    hub.shut_down().await;
    world.close().await;
}

/// The page as served to a browser.
struct Served {
    browser: Chromium,
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<()>>,
}

impl Served {
    /// `None` where there is no browser, which is said.
    async fn start() -> Result<Option<Self>> {
        let Some(program) = installed() else {
            println!("LEFT OUT: no Chromium is installed, and CHROMIUM names none. Nothing was tested in a browser.");
            return Ok(None);
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, World::embedded().await?, 0, async { drop(stopped.await) }));
        let mut browser = Chromium::start(&program, 1280, 800).await?;
        browser.open(&url).await?;
        Ok(Some(Self { browser, url, stop, server }))
    }

    async fn play(&mut self, region: &str, player: &str, points: &str) -> Result<()> {
        let form = format!("[data-region='{region}'] .points");
        self.browser.type_into(&format!("{form} [name=player]"), player).await?;
        self.browser.type_into(&format!("{form} [name=points]"), points).await?;
        self.browser.click(&format!("{form} button")).await
    }

    async fn click(&mut self, selector: &str) -> Result<()> {
        self.browser.click(selector).await
    }

    /// Waits until a region's board shows a player with so many points, or not at all.
    async fn until_shown(&mut self, region: &str, player: &str, points: Option<&str>) -> Result<()> {
        let found = format!(
            "([...document.querySelectorAll(\"[data-region='{region}'] tbody tr\")] \
             .find((row) => row.cells[1].textContent === {})?.cells[2].textContent ?? null) === {}",
            json!(player),
            json!(points)
        );
        self.browser.until(&found).await
    }

    async fn until_agreed(&mut self, player: &str, points: &str) -> Result<()> {
        for region in REGIONS {
            self.until_shown(region, player, Some(points)).await?;
        }
        Ok(())
    }

    async fn until_text(&mut self, selector: &str, text: &str) -> Result<()> {
        let expression = format!("document.querySelector({}).textContent.includes({})", json!(selector), json!(text));
        self.browser.until(&expression).await
    }

    async fn finish(self) -> Result<()> {
        let complaints = self.browser.complaints.clone();
        self.browser.close().await?;
        drop(self.stop);
        self.server.await??;
        assert!(complaints.is_empty(), "{complaints:#?}");
        Ok(())
    }
}

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// The button that cuts and heals one way.
fn way(from: &str, to: &str) -> String {
    format!(".way[data-from='{from}'][data-to='{to}'] .cut")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_points_pages_and_boards_are_what_the_buttons_say() -> Result<()> {
    let Some(mut page) = Served::start().await? else { return Ok(()) };
    let [us, eu, ap] = REGIONS;
    page.play(us, "ada", "30").await?;
    page.until_agreed("ada", "30").await?;
    page.play(eu, "ada", "50").await?;
    page.until_agreed("ada", "50").await?;
    page.click("#sum").await?;
    page.until_agreed("ada", "80").await?;
    page.click("#best").await?;
    page.until_agreed("ada", "50").await?;
    for number in 1..=11 {
        let player = format!("p{number:02}");
        page.play(ap, &player, &(1_000 - number).to_string()).await?;
        if number <= 10 {
            page.until_shown(ap, &player, Some(&(1_000 - number).to_string())).await?;
        }
    }
    page.until_agreed("p10", "990").await?;
    page.until_shown(us, "ada", None).await?;
    page.click("#next").await?;
    page.until_agreed("ada", "50").await?;
    page.until_text("#place", "11 – 20").await?;
    page.click("#previous").await?;
    page.until_agreed("p01", "999").await?;
    page.browser.type_into("#around input", "p11").await?;
    page.click("#around button").await?;
    page.until_agreed("ada", "50").await?;
    page.browser.until("document.querySelectorAll('.wanted').length === 3").await?;
    page.browser.type_into("#around input", "nobody").await?;
    page.click("#around button").await?;
    page.browser
        .until("document.querySelector('.card table').dataset.note === 'nobody has no points here yet'")
        .await?;
    page.click("#top").await?;
    page.until_agreed("p01", "999").await?;
    page.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_links_are_cut_and_healed_and_regions_killed_and_restarted() -> Result<()> {
    let Some(mut page) = Served::start().await? else { return Ok(()) };
    let [us, eu, ap] = REGIONS;
    page.play(us, "ada", "30").await?;
    page.until_agreed("ada", "30").await?;
    // One way by one way, then both at once.
    for (from, to) in [(us, eu), (eu, us)] {
        page.click(&way(from, to)).await?;
        page.until_text(&way(from, to), "Heal").await?;
    }
    page.until_text(".pair-0 .both", "Heal both ways").await?;
    page.click(".pair-2 .both").await?;
    page.until_text(".pair-2 .both", "Heal both ways").await?;
    page.play(us, "ada", "40").await?;
    page.play(eu, "ada", "60").await?;
    page.until_shown(ap, "ada", Some("40")).await?;
    page.until_shown(eu, "ada", Some("60")).await?;
    page.until_shown(us, "ada", Some("40")).await?;
    page.until_text(".way[data-from='eu-west-1'][data-to='us-east-1'] .lag", "queued").await?;
    if let Some(file) = std::env::var_os("LEADERBOARD_SCREENSHOT") {
        photograph(&mut page, Path::new(&file)).await?;
    }
    page.click(&way(us, eu)).await?;
    page.until_shown(eu, "ada", Some("60")).await?;
    page.click(&way(eu, us)).await?;
    page.click(".pair-2 .both").await?;
    page.until_agreed("ada", "60").await?;
    page.until_text(".pair-2 .both", "Cut both ways").await?;
    let fate = "[data-region='ap-northeast-1'] .fate";
    page.click(fate).await?;
    page.until_text("[data-region='ap-northeast-1'] .state", "unreachable").await?;
    page.play(us, "ada", "70").await?;
    page.until_shown(eu, "ada", Some("70")).await?;
    page.until_shown(ap, "ada", Some("60")).await?;
    page.until_text(fate, "Restart").await?;
    page.click(fate).await?;
    page.until_agreed("ada", "70").await?;
    page.click(&way(us, ap)).await?;
    page.until_text(&way(us, ap), "Heal").await?;
    page.click(fate).await?;
    page.until_text(fate, "Restart").await?;
    page.click("#heal").await?;
    page.until_text(&way(us, ap), "Cut").await?;
    page.until_text(fate, "Kill").await?;
    page.finish().await
}

/// A picture for the README: more players, and the second region cut off.
async fn photograph(page: &mut Served, file: &Path) -> Result<()> {
    let names = ["Grace", "Alan", "Edsger", "Barbara", "Donald", "Hedy", "Katherine", "Linus", "Margaret"];
    for (number, name) in names.iter().enumerate() {
        let region = REGIONS[number % 3];
        page.play(region, name, &(980 - 37 * number).to_string()).await?;
        page.until_shown(region, name, Some(&(980 - 37 * number).to_string())).await?;
    }
    page.until_shown(REGIONS[2], "Margaret", Some("684")).await?;
    page.browser
        .until("Number(document.querySelector('.is-cut .lag').textContent.match(/([\\d.]+) s/)?.[1]) > 3")
        .await?;
    page.browser.screenshot(file).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_markup_and_mistakes_are_inert_and_a_phone_will_do() -> Result<()> {
    let Some(mut page) = Served::start().await? else { return Ok(()) };
    let [us, eu, _] = REGIONS;
    let name = "<img src=x onerror=go()>";
    page.play(us, name, "5").await?;
    page.until_agreed(name, "5").await?;
    assert_eq!(page.browser.evaluate("document.querySelectorAll('#stage img').length").await?, json!(0));
    page.browser.type_into("#around input", "<b>x</b>").await?;
    page.click("#around button").await?;
    page.until_text("#place", "<b>x</b>").await?;
    page.click("#top").await?;
    // The field itself refuses a number that is too large; whoever goes around it is told by the server.
    page.browser.evaluate("document.querySelectorAll('form').forEach((form) => { form.noValidate = true; })").await?;
    page.play(eu, "bob", "1e300").await?;
    page.until_text("#notice", "points").await?;
    assert_eq!(page.browser.complaints.len(), 1, "the refusal alone: {:?}", page.browser.complaints);
    page.browser.complaints.clear();
    page.browser.resize(390, 844).await?;
    let url = page.url.clone();
    page.browser.open(&url).await?;
    page.until_agreed(name, "5").await?;
    let fits = "document.documentElement.scrollWidth <= 390";
    page.browser.until(fits).await?;
    page.play(eu, "ada", "9").await?;
    page.until_agreed("ada", "9").await?;
    page.finish().await
}

/// Time passes for a viewer at the pace of the page: what changes faster comes together.
#[tokio::test]
async fn many_changes_come_in_few_events() {
    let world = Arc::new(World::embedded().await.unwrap());
    let hub = Hub::start(world.clone());
    let mut viewer = Box::pin(hub.watch(&View::parse("sum", None, None).unwrap()).unwrap());
    let (mut picture, began) = (Picture::default(), Instant::now());
    let playing = async {
        for _ in 0..500 {
            play(&world.regions[0].client, "ada", 1.0).await.unwrap();
        }
    };
    let is_all = |picture: &Picture| {
        let seen = |region: usize| picture.regions.get(region)?.seen.as_ref()?.rows.first().cloned();
        (0..3).all(|region| seen(region) == Some(("ada".to_owned(), 500.0)))
    };
    let (events, ()) = tokio::join!(follow(&mut viewer, &mut picture, is_all), playing);
    let most = began.elapsed().as_millis() / Duration::from_millis(100).as_millis() + 2;
    assert!(events as u128 <= most, "{events} events in {:?}", began.elapsed());
    hub.shut_down().await;
    world.close().await;
}
