//! The page, driven as a visitor drives it: what it promises, asserted.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use archipelago::sessions::axum::SessionLayer;
use archipelago_examples::browser::{Browser, Page};
use axum::http::StatusCode;
use tokio::net::TcpListener;

use crate::{
    Result,
    cart::MOST,
    login::LIFETIME,
    serve,
    shop::Shop,
    visitor::{ADDRESS, ID, REGION},
};

/// How far the embedded copy is behind: longer than this takes, shorter than a session lives.
pub const LAG: Duration = Duration::from_secs(600);

const PATIENCE: Duration = Duration::from_secs(30);
const LONDON: &str = "81.2.69.142";
const SEATTLE: &str = "216.160.83.56";
const TOKEN: &str = SessionLayer::COOKIE;

/// Serves the shop, checks all of it, and stops it.
pub async fn all(shop: Shop) -> Result<()> {
    let shop = Arc::new(shop);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let interrupted = async { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, shop.clone(), interrupted));
    let tour = Tour::new(at, &shop)?;
    tour.homes().await?;
    tour.mistakes().await?;
    tour.markup_is_inert().await?;
    tour.a_cart_shows_what_was_just_put_in().await?;
    tour.a_login_is_valid_everywhere_and_so_is_its_end().await?;
    tour.logging_out_everywhere_ends_every_session().await?;
    if shop.embedded.is_some() {
        tour.only_the_token_makes_a_copy_wait_for_its_turn().await?;
        tour.a_session_lives_as_long_as_it_is_used().await?;
        tour.a_cut_between_the_regions_logs_nobody_out().await?;
    }
    drop(stop);
    tokio::time::timeout(PATIENCE, server).await??
}

/// A visitor's way through the shop.
struct Tour<'s> {
    at: SocketAddr,
    shop: &'s Shop,
    /// The region that writes carts, and the other one.
    writer: String,
    other: String,
}

impl<'s> Tour<'s> {
    fn new(at: SocketAddr, shop: &'s Shop) -> Result<Self> {
        let first = shop.servers.first().ok_or("no region")?;
        let writer = first.client.active_region().ok_or("no region writes")?.to_string();
        let other = shop.servers.iter().find(|server| server.region != writer).ok_or("no other region")?;
        Ok(Self { at, shop, other: other.region.clone(), writer })
    }

    fn browser(&self) -> Browser {
        Browser::new(self.at)
    }

    /// A visitor who is logged in, and served by this region.
    async fn visitor(&self, user: &str, region: &str) -> Result<Browser> {
        let mut browser = self.browser();
        browser.submit("/region", &[("region", region)]).await?;
        let page = browser.submit("/login", &[("user", user)]).await?;
        assert_eq!((page.element("region"), page.element("user")), (Some(region), Some(user)), "{}", page.text);
        empty(&mut browser, page).await?;
        Ok(browser)
    }

    async fn homes(&self) -> Result<()> {
        let mut browser = self.browser();
        let page = browser.open("/").await?;
        assert!(page.shows("looked up: loopback address"), "{}", page.text);
        let page = browser.submit("/address", &[("address", LONDON)]).await?;
        assert_eq!(page.element("address"), Some(LONDON));
        assert_eq!(page.element("source"), Some("appended by a trusted proxy"));
        assert!(page.shows("looked up: GB, EU"), "{}", page.text);
        let home = page.element("home").map(str::to_owned);
        assert_eq!(page.element("region"), home.as_deref(), "served at home");
        if self.shop.embedded.is_some() {
            assert_eq!(home.as_deref(), Some("eu-west-1"));
        }
        let page = browser.submit("/region", &[("region", &self.writer)]).await?;
        assert_eq!(page.element("region"), Some(self.writer.as_str()));
        assert_eq!(page.element("why-region"), Some("because you switched"));
        // What a proxy appends counts, what a visitor claims left of it does not.
        browser.forwarded_for = Some(format!("1.2.3.4, {SEATTLE}, 127.0.0.1"));
        assert_eq!(browser.open("/").await?.element("address"), Some(SEATTLE));
        browser.cookies.insert(ADDRESS.to_owned(), "<b>".to_owned());
        browser.cookies.insert(REGION.to_owned(), "mars".to_owned());
        browser.forwarded_for = None;
        let page = browser.open("/").await?;
        assert_eq!((page.status, page.element("source")), (StatusCode::OK, Some("peer: the header is malformed")));
        Ok(())
    }

    async fn mistakes(&self) -> Result<()> {
        let mut browser = self.visitor("bea", &self.writer).await?;
        let (long, longer) = ("x".repeat(65), "x".repeat(9000));
        for (path, fields, status) in [
            ("/cart/add", ("item", long.as_str()), StatusCode::BAD_REQUEST),
            ("/cart/add", ("item", " "), StatusCode::BAD_REQUEST),
            ("/cart/add", ("item", "a\u{7}b"), StatusCode::BAD_REQUEST),
            ("/cart/add", ("item", longer.as_str()), StatusCode::PAYLOAD_TOO_LARGE),
            ("/cart/add", ("thing", "tea"), StatusCode::UNPROCESSABLE_ENTITY),
            ("/login", ("user", long.as_str()), StatusCode::BAD_REQUEST),
            ("/region", ("region", "mars"), StatusCode::BAD_REQUEST),
            ("/address", ("address", "8.8.8.8"), StatusCode::BAD_REQUEST),
            ("/nowhere", ("a", "b"), StatusCode::NOT_FOUND),
            ("/", ("a", "b"), StatusCode::METHOD_NOT_ALLOWED),
        ] {
            let page = browser.submit(path, &[fields]).await?;
            assert_eq!(page.status, status, "{path} {}", fields.0);
            assert!(page.shows("Back to the shop") && page.text.len() < 8192, "{path}: {}", page.text);
        }
        for number in 0..MOST {
            browser.submit("/cart/add", &[("item", &format!("item {number}"))]).await?;
        }
        let page = browser.submit("/cart/add", &[("item", "one more")]).await?;
        assert!(page.status == StatusCode::BAD_REQUEST && page.shows("The cart is full"), "{}", page.text);
        let page = browser.submit("/cart/add", &[("item", "item 7")]).await?;
        assert!(page.shows("<td>item 7</td><td>2</td>"), "{}", page.text);

        for forged in ["forged", "AAAA", &longer] {
            browser.cookies.insert(TOKEN.to_owned(), forged.to_owned());
            let page = browser.open("/").await?;
            let arrival = page.element("arrival").unwrap_or_default();
            assert!(
                page.status == StatusCode::OK && arrival.starts_with("a new session: the request brought"),
                "{arrival}"
            );
            assert_ne!(browser.cookies.get(TOKEN).map(String::as_str), Some(forged), "it is replaced");
        }
        browser.cookies.insert(ID.to_owned(), "forged".to_owned());
        let page = browser.submit("/cart/add", &[("item", "tea")]).await?;
        assert!(page.status == StatusCode::OK && page.shows("Log in"), "{}", page.text);
        Ok(())
    }

    async fn markup_is_inert(&self) -> Result<()> {
        let mut browser = self.visitor("cid", &self.other).await?;
        let item = "<img src=x onerror=\"alert(1)\">&'";
        let page = browser.submit("/cart/add", &[("item", item)]).await?;
        assert!(page.shows("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;"), "{}", page.text);
        assert!(!page.shows("<img") && !page.shows("alert(1)\""), "{}", page.text);
        let policy = page.headers.get("content-security-policy").ok_or("no policy")?.to_str()?;
        assert!(policy.contains("default-src 'none'"));
        let page = browser.submit("/login", &[("user", "<script>")]).await?;
        assert!(page.element("user") == Some("&lt;script&gt;") && !page.shows("<script"), "{}", page.text);
        Ok(())
    }

    /// Where the copy is read, for each of many writes; and once it has caught up, it is read at the copy.
    async fn a_cart_shows_what_was_just_put_in(&self) -> Result<()> {
        let mut browser = self.visitor("dan", &self.other).await?;
        let (mut near, mut far) = (0, 0);
        for count in 1..=10 {
            let page = browser.submit("/cart/add", &[("item", "tea")]).await?;
            assert!(page.shows(&format!("<td>tea</td><td>{count}</td>")), "write {count} is missing: {}", page.text);
            match page.element("way") {
                Some("here") => near += 1,
                _ => far += 1,
            }
            let region = if count % 5 == 0 { &self.writer } else { &self.other };
            let page = browser.submit("/region", &[("region", region)]).await?;
            assert!(page.shows(&format!("<td>tea</td><td>{count}</td>")), "missing in {region}: {}", page.text);
            browser.submit("/region", &[("region", &self.other)]).await?;
        }
        println!("10 writes at {}, each read at once: {near} at the copy there, {far} at {}.", self.other, self.writer);
        if let Some(regions) = &self.shop.embedded {
            assert_eq!(near, 0, "the copy cannot have them yet");
            regions.advance(LAG);
        }
        let page = until("the copy to catch up", async || {
            let page = browser.clone().open("/").await?;
            Ok((page.element("way") == Some("here")).then_some(page))
        });
        let page = page.await?;
        assert!(page.element("node").is_some_and(|node| node.contains("replica")), "{}", page.text);
        assert!(page.shows("<td>tea</td><td>10</td>"), "{}", page.text);
        println!(
            "Later: at {}. {}.",
            page.element("node").unwrap_or_default(),
            page.element("why-node").unwrap_or_default()
        );
        Ok(())
    }

    async fn a_login_is_valid_everywhere_and_so_is_its_end(&self) -> Result<()> {
        let mut browser = self.visitor("eve", &self.writer).await?;
        // At once: the next request of the browser is served elsewhere.
        let page = browser.submit("/region", &[("region", &self.other)]).await?;
        assert_eq!(page.element("user"), Some("eve"));
        let mut stolen = browser.clone();
        stolen.submit("/region", &[("region", &self.writer)]).await?;
        let page = browser.submit("/logout", &[]).await?;
        assert!(page.shows("Log in") && !browser.cookies.contains_key(ID), "{}", page.text);
        let page = stolen.open("/").await?;
        assert!(page.element("ended").is_some(), "a copy of the cookie is worth nothing: {}", page.text);
        assert!(!stolen.cookies.contains_key(ID));
        Ok(())
    }

    async fn logging_out_everywhere_ends_every_session(&self) -> Result<()> {
        let mut here = self.visitor("fay", &self.writer).await?;
        let mut there = self.visitor("fay", &self.other).await?;
        let stolen = here.clone();
        assert_eq!(there.open("/").await?.element("user"), Some("fay"));
        here.submit("/logout-everywhere", &[]).await?;
        assert!(stolen.clone().open("/").await?.element("user").is_none());
        until("the other region to hear of it", async || {
            Ok(there.clone().open("/").await?.element("user").is_none().then_some(()))
        })
        .await?;
        // Who logs in afterwards stays.
        let mut again = self.visitor("fay", &self.other).await?;
        assert_eq!(again.submit("/region", &[("region", &self.writer)]).await?.element("user"), Some("fay"));
        Ok(())
    }

    /// The same visitor without the token does not see what they wrote: so it is the token that shows it.
    async fn only_the_token_makes_a_copy_wait_for_its_turn(&self) -> Result<()> {
        let mut browser = self.visitor("gus", &self.other).await?;
        let page = browser.submit("/cart/add", &[("item", "tea")]).await?;
        assert!(page.shows("<td>tea</td>") && page.element("way") == Some("far away"), "{}", page.text);
        let why = page.element("why-node").unwrap_or_default();
        assert!(why.contains("it has not all that this session has seen"), "{why}");
        let mut forgetful = browser.clone();
        forgetful.cookies.remove(TOKEN);
        let page = forgetful.open("/").await?;
        assert!(page.element("empty").is_some() && page.element("way") == Some("here"), "{}", page.text);
        Ok(())
    }

    async fn a_session_lives_as_long_as_it_is_used(&self) -> Result<()> {
        let Some(regions) = &self.shop.embedded else { return Ok(()) };
        let mut browser = self.visitor("hal", &self.other).await?;
        for _ in 0..3 {
            regions.advance(LIFETIME * 2 / 3);
            assert_eq!(browser.open("/").await?.element("user"), Some("hal"));
        }
        regions.advance(LIFETIME + Duration::from_secs(1));
        assert!(browser.open("/").await?.element("ended").is_some());
        Ok(())
    }

    /// Where a session has not arrived and its home cannot be asked, nobody knows: that is no "not logged in".
    async fn a_cut_between_the_regions_logs_nobody_out(&self) -> Result<()> {
        let Some(regions) = &self.shop.embedded else { return Ok(()) };
        regions.partition(&self.writer, &self.other)?;
        let mut browser = self.visitor("ida", &self.writer).await?;
        let page = browser.submit("/region", &[("region", &self.other)]).await?;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text);
        assert!(page.shows("its home us-east-1 cannot be asked") && browser.cookies.contains_key(ID), "{}", page.text);
        regions.heal();
        assert_eq!(browser.open("/").await?.element("user"), Some("ida"));
        Ok(())
    }
}

/// Real servers remember an earlier run.
async fn empty(browser: &mut Browser, mut page: Page) -> Result<()> {
    while let Some((_, rest)) = page.text.split_once("aria-label=\"Remove ") {
        let Some((item, _)) = rest.split_once('"') else { break };
        let item = item.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        page = browser.submit("/cart/remove", &[("item", &item)]).await?;
    }
    assert!(page.element("empty").is_some(), "{}", page.text);
    Ok(())
}

async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, mut ask: impl FnMut() -> F) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("waited for {what} for more than {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
