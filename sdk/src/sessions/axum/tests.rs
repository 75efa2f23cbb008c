//! What the layer promises, over routers of axum.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Path,
    http::{HeaderName, Request, Response, StatusCode},
    routing::{get, post},
};
use proptest::prelude::*;
use tower_service::Service;

use super::*;
use crate::sessions::{
    DataSet, Position, Session, SessionBuilder, SessionKind, TokenError,
    session::Demand,
    token::{Mark, Token},
};

const SET: DataSet = DataSet(7);

/// A write that landed at an offset.
fn land(session: &Session, offset: u64) {
    let position = Position { is_primary: true, mark: Mark { id: 1, offset }, before: None };
    session.write(SET, SessionKind::Token).landed(&position);
}

fn token_at(offset: u64) -> String {
    let session = Session::new();
    land(&session, offset);
    session.token()
}

async fn write(SessionToken { session, .. }: SessionToken, Path(offset): Path<u64>) {
    land(&session, offset);
}

async fn tag(SessionToken { session, .. }: SessionToken) {
    drop(session.write(SET, SessionKind::Tag));
}

/// Says how the session began.
async fn read(SessionToken { session, arrival }: SessionToken) -> String {
    let has_seen = session.demand(SET) != Demand::Nothing;
    format!("{arrival}; {has_seen}")
}

async fn fail(SessionToken { session, .. }: SessionToken) -> StatusCode {
    land(&session, 9);
    StatusCode::INTERNAL_SERVER_ERROR
}

fn app(layer: SessionLayer) -> Router {
    let routes = Router::new().route("/", get(read)).route("/write/{offset}", post(write)).route("/tag", post(tag));
    routes.route("/fail", post(fail)).layer(layer)
}

async fn send(app: &Router, request: &str, cookies: &[&[u8]]) -> Response<Body> {
    let (method, path) = request.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for cookie in cookies {
        request = request.header("cookie", *cookie);
    }
    app.clone().call(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 4096).await.unwrap().to_vec()).unwrap()
}

/// The token that was written back.
fn written(response: &Response<Body>) -> Option<String> {
    let line = response.headers().get("set-cookie")?.to_str().unwrap();
    let rest = line.strip_prefix("archipelago-token=").unwrap();
    Some(rest.strip_suffix("; Path=/; HttpOnly; SameSite=Lax; Secure").unwrap().to_owned())
}

fn cookie(token: &str) -> Vec<u8> {
    format!("archipelago-token={token}").into_bytes()
}

#[tokio::test]
async fn what_a_request_wrote_is_in_the_cookie_and_the_next_request_goes_on() {
    let app = app(SessionLayer::new());
    let wrote = send(&app, "POST /write/5", &[]).await;
    let token = written(&wrote).unwrap();
    assert_eq!(token, token_at(5));
    let read = send(&app, "GET /", &[&cookie(&token)]).await;
    assert_eq!(written(&read), None, "nothing new");
    assert_eq!(text(read).await, "the session goes on; true");
    let again = send(&app, "POST /write/6", &[&cookie(&token)]).await;
    assert_eq!(written(&again), Some(token_at(6)));
}

#[tokio::test]
async fn a_token_that_is_none_begins_a_new_session_is_replaced_and_fails_nobody() {
    let app = app(SessionLayer::new());
    let whole = token_at(5);
    let long = "A".repeat(5000);
    let damaged = ["", "forged", &whole[1..], &long, "\u{e9}", "\"", "a=b"];
    for text_of in damaged {
        let answer = send(&app, "GET /", &[&cookie(text_of)]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{text_of:?}");
        assert_eq!(written(&answer), Some(Session::new().token()), "{text_of:?}");
        let said = text(answer).await;
        assert!(said.starts_with("a new session: the request brought "), "{said}");
        assert!(said.ends_with("false") && !said.contains("no token"), "{said}");
    }
    let answer = send(&app, "GET /", &[b"archipelago-token=\xff\xfe"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = send(&app, "GET /", &[]).await;
    assert_eq!(written(&answer), None, "a visitor who only reads gets no cookie");
    assert_eq!(text(answer).await, "a new session: the request brought no token; false");
}

#[tokio::test]
async fn the_token_is_written_back_when_the_handler_fails_or_its_input_is_rejected() {
    let app = app(SessionLayer::new());
    let failed = send(&app, "POST /fail", &[]).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(written(&failed), Some(token_at(9)));
    let rejected = send(&app, "POST /write/minus", &[&cookie("forged")]).await;
    assert_eq!(rejected.status(), StatusCode::BAD_REQUEST);
    assert_eq!(written(&rejected), Some(Session::new().token()));
}

#[tokio::test]
async fn tokens_are_found_among_others_and_merged() {
    let app = app(SessionLayer::new());
    let (five, six) = (token_at(5), token_at(6));
    let among = format!("a=\u{e9}; xarchipelago-token=x; archipelago-token2=y;archipelago-token=\"{five}\" ; b");
    let second = cookie(&six);
    let third = cookie("forged");
    let answer = send(&app, "POST /fail", &[&[among.as_bytes(), b"\xff"].concat(), &second, &third]).await;
    assert_eq!(written(&answer), Some(token_at(9)));
    let answer = send(&app, "GET /", &[among.as_bytes(), &second, &third]).await;
    assert_eq!(text(answer).await, "the session goes on; true");
    // Behind the fourth, and behind 16 KiB, nothing is looked at.
    let junk = [cookie("x"), cookie("x"), cookie("x"), cookie("x"), cookie(&five)];
    let answer = send(&app, "GET /", &junk.each_ref().map(Vec::as_slice)).await;
    assert!(text(answer).await.ends_with("false"));
    let far = format!("a={}; archipelago-token={five}", "x".repeat(16 * 1024));
    let answer = send(&app, "GET /", &[far.as_bytes()]).await;
    assert!(text(answer).await.ends_with("false"));
}

#[tokio::test]
async fn a_tag_is_not_prolonged_by_reading() {
    let app = app(SessionLayer::new());
    let tagged = send(&app, "POST /tag", &[]).await;
    let token = written(&tagged).unwrap();
    let read = send(&app, "GET /", &[&cookie(&token)]).await;
    assert_eq!(written(&read), None);
    assert!(text(read).await.ends_with("true"));
    // One that is longer than ours has another text when it is read, whatever the time.
    let forged = Token { tagged_until: u32::MAX, ..Token::default() }.encode();
    let read = send(&app, "GET /", &[&cookie(&forged)]).await;
    assert_eq!(written(&read), None);
}

#[tokio::test]
async fn a_header_does_as_well() {
    let name = HeaderName::from_static("x-session-token");
    let app = app(SessionLayer::header(name.clone()));
    let wrote = send(&app, "POST /write/5", &[]).await;
    assert_eq!(wrote.headers()[&name], token_at(5).as_str());
    assert!(!wrote.headers().contains_key("set-cookie"));
    let request = Request::get("/").header(&name, token_at(5)).body(Body::empty()).unwrap();
    let read = app.clone().call(request).await.unwrap();
    assert!(!read.headers().contains_key(&name));
    assert_eq!(text(read).await, "the session goes on; true");
}

#[tokio::test]
async fn a_name_of_ones_own_without_secure_and_others_cookies_stay() {
    let app = Router::new().route(
        "/",
        post(|SessionToken { session, .. }: SessionToken| async move {
            land(&session, 5);
            [("set-cookie", "theme=dark")]
        }),
    );
    let app = app.layer(SessionLayer::cookie("seen").unwrap().insecure());
    let wrote = send(&app, "POST /", &[]).await;
    let lines: Vec<_> = wrote.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let ours = format!("seen={}; Path=/; HttpOnly; SameSite=Lax", token_at(5));
    assert_eq!(lines, ["theme=dark", &ours]);
    for name in ["", "a b", "a;b", "a=b", "\u{e9}", "a\r\nb"] {
        assert!(SessionLayer::cookie(name).is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn without_the_layer_the_application_is_told() {
    let app = Router::new().route("/", get(read));
    let answer = send(&app, "GET /", &[]).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(answer).await.contains("SessionLayer::new()"));
}

#[test]
fn the_longest_token_fits_into_a_cookie() {
    let mut token = Token::default();
    for set in 0..99 {
        for id in 1..9 {
            let position = Position { is_primary: true, mark: Mark { id, offset: u64::MAX }, before: None };
            token.settle(DataSet(set), None, &position);
        }
    }
    assert!(token.encode().len() < 3000, "browsers keep 4096 bytes with name and attributes");
}

proptest! {
    /// A sender can make of their session what they like, and nothing else of ours.
    #[test]
    fn whatever_is_sent_nothing_panics_and_what_is_taken_is_a_token(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..6), whole in 0..20_u64, at in 0..6_usize,
    ) {
        let layer = SessionBuilder::default();
        let token = token_at(whole);
        let mut texts: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        texts.insert(at.min(texts.len()), token.as_bytes());
        let taken = SessionToken::new(layer.build(), &texts);
        prop_assert_eq!(taken.arrival, Arrival::Resumed);
        prop_assert!(Session::from_token(&taken.session.token()).is_ok());
        let none: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let taken = SessionToken::new(SessionBuilder::default().build(), &none);
        let is_expected = match taken.arrival {
            Arrival::Missing => none.is_empty(),
            Arrival::Malformed(TokenError::TooLong | TokenError::Damaged | TokenError::Version(_)) => !none.is_empty(),
            Arrival::Resumed => false,
        };
        prop_assert!(is_expected, "{:?}", taken.arrival);
    }
}
