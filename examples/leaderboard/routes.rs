//! What the application answers.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Query, Request, State},
    http::{HeaderName, HeaderValue, header::CONTENT_TYPE},
    middleware::{Next, from_fn},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    boards::{View, checked_name, checked_points, look, play},
    failure::Failure,
    page,
    regions::Fate,
    stream::Hub,
};

/// Nothing that this page sends is longer.
const MAX_BODY: usize = 1024;

/// Everything from here, no inline scripts or styles, no frames, nothing kept.
const HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

pub fn router(hub: Arc<Hub>) -> Router {
    let missing = || async { Failure::not_found("There is no such page.") };
    Router::new()
        .route("/", get(show))
        .route("/style.css", get(|| asset("text/css; charset=utf-8", include_str!("assets/style.css"))))
        .route("/page.js", get(|| asset("text/javascript; charset=utf-8", include_str!("assets/page.js"))))
        .route("/map.svg", get(|| asset("image/svg+xml", include_str!("assets/map.svg"))))
        .route("/icon.svg", get(|| asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .route("/board", get(board))
        .route("/events", get(events))
        .route("/points", post(points))
        .route("/link", post(link))
        .route("/region", post(region))
        .fallback(missing)
        .method_not_allowed_fallback(|| async { Failure::not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(with_headers))
        .with_state(hub)
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}

async fn show(State(hub): State<Arc<Hub>>) -> Html<String> {
    page::page(&hub.world)
}

/// What a viewer asks to look at.
#[derive(Deserialize)]
struct Asked {
    board: String,
    page: Option<String>,
    around: Option<String>,
    region: Option<String>,
}

impl Asked {
    fn view(&self) -> Result<View, Failure> {
        View::parse(&self.board, self.page.as_deref(), self.around.as_deref())
    }
}

/// What one region shows at present, once.
async fn board(State(hub): State<Arc<Hub>>, Asking(asked): Asking<Asked>) -> Result<impl IntoResponse, Failure> {
    let region = hub.world.region(asked.region.as_deref().unwrap_or_default())?;
    Ok(Json(look(&region.client, &asked.view()?).await?))
}

/// What all regions show, live.
async fn events(State(hub): State<Arc<Hub>>, Asking(asked): Asking<Asked>) -> Result<impl IntoResponse, Failure> {
    let changes = hub.watch(&asked.view()?)?;
    Ok(Sse::new(changes.map(|change| Event::default().json_data(change))).keep_alive(KeepAlive::default()))
}

#[derive(Deserialize)]
struct Points {
    region: String,
    player: String,
    points: f64,
}

async fn points(State(hub): State<Arc<Hub>>, Body(round): Body<Points>) -> Result<Json<Value>, Failure> {
    let region = hub.world.region(&round.region)?;
    play(&region.client, checked_name(&round.player)?, checked_points(round.points)?).await?;
    Ok(done())
}

#[derive(Deserialize)]
struct Cut {
    from: String,
    to: String,
    cut: bool,
}

async fn link(State(hub): State<Arc<Hub>>, Body(asked): Body<Cut>) -> Result<Json<Value>, Failure> {
    hub.world.set_cut(&asked.from, &asked.to, asked.cut)?;
    Ok(done())
}

#[derive(Deserialize)]
struct Fated {
    region: String,
    fate: Fate,
}

async fn region(State(hub): State<Arc<Hub>>, Body(asked): Body<Fated>) -> Result<Json<Value>, Failure> {
    hub.world.set_fate(&asked.region, asked.fate)?;
    Ok(done())
}

fn done() -> Json<Value> {
    Json(json!({}))
}

/// JSON whose mistakes are answered by words of ours. Only JSON: a form of another site could be sent here by a browser
/// without asking, JSON cannot.
struct Body<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// A query whose mistakes are answered by words of ours.
struct Asking<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asking<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Failure> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}
