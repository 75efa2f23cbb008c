//! Who asks: from which address, with which home, served by which region, and logged in or not.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use archipelago::{
    homes::{HomeRequest, Place, UserAddress},
    routing::Location,
    web_sessions::SessionId,
};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderValue, header::COOKIE, request::Parts},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

use crate::{
    failure::Failure,
    login::{LIFETIME, Login},
    shop::{AppServer, Shop},
};

/// The cookie with the id of the web session.
pub const ID: &str = "id";
/// The cookie with the region that the visitor has switched to.
pub const REGION: &str = "region";
/// The cookie with the address that the visitor pretends to have.
pub const ADDRESS: &str = "address";

/// Addresses to choose from. The places stand in for a database, which the feature `homes` reads.
pub const ADDRESSES: [(&str, &str); 5] = [
    ("81.2.69.142", "London"),
    ("216.160.83.56", "Milton, near Seattle"),
    ("10.0.0.1", "a private network"),
    ("not an address", "a proxy that writes nonsense"),
    ("", "your own"),
];

/// Who asks.
pub struct Visitor {
    pub shop: Arc<Shop>,
    /// The server that serves this request.
    at: usize,
    pub has_switched: bool,
    pub address: IpAddr,
    /// How the address is known.
    pub source: String,
    pub home: String,
    pub why_home: String,
    pub id: Option<SessionId>,
    pub login: Option<Login>,
}

impl Visitor {
    pub fn server(&self) -> Result<&AppServer, Failure> {
        self.shop.servers.get(self.at).ok_or_else(|| Failure::unavailable("no app server"))
    }

    /// The name of whoever is logged in.
    pub fn user(&self) -> Result<&str, Failure> {
        self.login.as_ref().map(|login| login.user.as_str()).ok_or(Failure::NotLoggedIn)
    }

    async fn new(shop: Arc<Shop>, peer: IpAddr, headers: &HeaderMap) -> Result<Self, Failure> {
        let cookies = cookies_of(headers);
        let cookie = |name: &str| cookies.get(name).map(Cookie::value);
        let client = match cookie(ADDRESS).filter(|chosen| !chosen.is_empty()) {
            // What a proxy would append. A real header counts for more.
            Some(chosen) if !headers.contains_key("x-forwarded-for") => shop.proxies.client(peer, [chosen]),
            Some(_) | None => {
                let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
                shop.proxies.client(peer, lines)
            }
        };
        let mut request = HomeRequest::new().with_address(client.address);
        request.place = place_of(request.address);
        let home = shop.homes.resolve(&request);
        let (home, why_home) = (home.region().to_string(), home.to_string());
        let switched = cookie(REGION).and_then(|name| shop.position(name));
        let at = switched.or_else(|| shop.position(&home)).unwrap_or(0);
        let id: Option<SessionId> = cookie(ID).and_then(|text| text.parse().ok());
        let login = match (&id, shop.servers.get(at)) {
            (Some(id), Some(server)) => server.logged_in(id).await?,
            (None, _) | (_, None) => None,
        };
        let (address, source, has_switched) = (client.address, client.source.to_string(), switched.is_some());
        Ok(Self { shop, at, has_switched, address, source, home, why_home, id, login })
    }
}

/// All cookies that can be read. The extractor would read none of a line in which any other has bytes beyond ASCII.
fn cookies_of(headers: &HeaderMap) -> CookieJar {
    let mut readable = HeaderMap::new();
    for line in headers.get_all(COOKIE) {
        let ascii: Vec<u8> = line.as_bytes().iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
        readable.extend(HeaderValue::from_bytes(&ascii).map(|line| (COOKIE, line)));
    }
    CookieJar::from_headers(&readable)
}

/// What a database of places would say.
fn place_of(address: Option<UserAddress>) -> Option<Place> {
    let Some(UserAddress::Ip(address)) = address else { return None };
    let (country, lat, lon) = match address.to_string().as_str() {
        "81.2.69.142" => ("GB", 51.5, -0.1),
        "216.160.83.56" => ("US", 47.3, -122.3),
        _ => return None,
    };
    Some(Place::in_country(country.parse().ok()?).with_location(Location::new(lat, lon).ok()?))
}

impl FromRequestParts<Arc<Shop>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Failure> {
        let ConnectInfo(peer) = ConnectInfo::<SocketAddr>::from_request_parts(parts, shop)
            .await
            .map_err(|_| Failure::unavailable("nobody knows who asks"))?;
        Self::new(shop.clone(), peer.ip(), &parts.headers).await
    }
}

/// A cookie of this example. An application leaves `Secure` on: this one is served over plain HTTP.
pub fn cookie(name: &'static str, value: String) -> Cookie<'static> {
    let cookie = Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Lax);
    cookie.max_age(LIFETIME.try_into().unwrap_or_default()).build()
}
