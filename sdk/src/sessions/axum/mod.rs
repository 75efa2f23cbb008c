//! Sessions of an [axum](https://docs.rs/axum/0.8) application: the token travels in a cookie or a header.
//!
//! A [`SessionLayer`] reads the token of each request and writes it back when the request has added to it. A handler takes
//! the session with the extractor [`SessionToken`]. Needs the feature `axum`; for axum 0.8, and for whatever else is a
//! tower service of HTTP requests.
//!
#![doc = include_str!("../../docs/sessions.md")]
//!
//! # A visitor and their cookie
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use archipelago::{Client, Connection, Embedded, routing::RoutingConfig};
//! use archipelago::sessions::axum::{SessionLayer, SessionToken};
//! use axum::{Router, body::{Body, to_bytes}, extract::State, http::{Request, StatusCode}, routing::get};
//! use redis::AsyncCommands;
//! use std::time::Duration;
//!
//! async fn read(SessionToken { session, .. }: SessionToken, State(profiles): State<Connection>) -> Result<String, StatusCode> {
//!     let name = profiles.with_session(&session).get("ada").await;
//!     name.map(Option::unwrap_or_default).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
//! }
//!
//! async fn write(SessionToken { session, .. }: SessionToken, State(profiles): State<Connection>) -> StatusCode {
//!     let written = profiles.with_session(&session).set("ada", "Lovelace").await;
//!     written.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::NO_CONTENT)
//! }
//!
//! let regions = Embedded::builder().region("eu").weight("eu", 2).region("us");
//! let regions = regions.replica("eu", "us", Duration::from_secs(60)).build()?; // a minute behind
//! let routing = RoutingConfig { local_replica: true, ..RoutingConfig::default() };
//! let client = Client::builder().embedded(&regions).local_region("us").routed("profiles", routing).build().await?;
//! let profiles = client.connection("profiles")?;
//! let mut app = Router::new().route("/", get(read).post(write)).layer(SessionLayer::new()).with_state(profiles);
//!
//! # use tower_service::Service;
//! let wrote = app.call(Request::post("/").body(Body::empty())?).await?;
//! let cookie = wrote.headers()["set-cookie"].to_str()?;
//! assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"));
//!
//! // The next request of this browser reads what it wrote, although the replica here lacks it. Another one's does not.
//! let (token, _) = cookie.split_once(';').unwrap();
//! let read = app.call(Request::get("/").header("cookie", token).body(Body::empty())?).await?;
//! assert_eq!(to_bytes(read.into_body(), 1024).await?, "Lovelace");
//! let read = app.call(Request::get("/").body(Body::empty())?).await?;
//! assert_eq!(to_bytes(read.into_body(), 1024).await?, "");
//! # client.shut_down().await; Ok(()) }
//! ```
//!
//! # What is promised
//!
//! - The layer fails no request for its token. One that is missing, damaged, too long or of a newer version begins a new
//!   session; [`SessionToken::arrival`] says which it was. One that is well-formed and names what no region has may cost
//!   the handler's first read a wait and [`ErrorKind::Lost`](crate::ErrorKind::Lost); the answer's cookie is then rid of it.
//! - The token is written back with every answer of the application, also when the handler failed or was rejected: what
//!   it had written before may be there. It is written only when there is something new, so that answers that only read
//!   can be cached.
//! - The work for one request is bounded: 16 KiB of each `Cookie` line and four tokens are looked at.
//!
//! # What is not
//!
//! - That the token knows of a request under way at the same time: of two answers the browser keeps the cookie of the
//!   later one, which may lack what the other wrote. A form that is sent and then read again has no such two.
//! - That it knows what a handler does after its answer: in the body's stream, or in a task of its own. Nor is there an
//!   answer to write it into where a handler panics, unless a layer within catches that.
//! - That the token is secret or genuine: it says nothing about the data, and a forged one costs its own sender the way to
//!   the primary. It is no login; that is what [`web_sessions`](crate::web_sessions) are for.

mod carrier;
mod extract;
mod layer;

#[cfg(test)]
mod tests;

pub use self::{
    carrier::CookieNameError,
    extract::{Arrival, MissingLayer, SessionToken},
    layer::{SessionLayer, SessionService},
};
