//! What the application answers.

use std::sync::Arc;

use archipelago::sessions::axum::{SessionLayer, SessionToken};
use axum::{
    Form, Router,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::cookie::CookieJar;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    cart::MOST,
    failure::Failure,
    page,
    shop::Shop,
    visitor::{ADDRESS, ADDRESSES, ID, REGION, Visitor, cookie},
};

/// No form of this page is longer.
const MAX_BODY: usize = 4096;
const MAX_USER: usize = 32;
const MAX_ITEM: usize = 64;

/// Nothing from elsewhere, no scripts, no frames, nothing kept.
const HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

pub fn router(shop: Arc<Shop>) -> Router {
    let missing = || async { Failure::Said(StatusCode::NOT_FOUND, "There is no such page.".to_owned()) };
    let wrong = || async { Failure::Said(StatusCode::METHOD_NOT_ALLOWED, "This page is not asked so.".to_owned()) };
    Router::new()
        .route("/", get(show))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .route("/region", post(switch_region))
        .route("/address", post(choose_address))
        .route("/cart/add", post(add))
        .route("/cart/remove", post(remove))
        .fallback(missing)
        .method_not_allowed_fallback(wrong)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(SessionLayer::new().insecure())
        .layer(from_fn(with_headers))
        .with_state(shop)
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn show(visitor: Visitor, token: SessionToken, jar: CookieJar) -> Result<(CookieJar, Html<String>), Failure> {
    let cart = match &visitor.login {
        Some(login) => Some(visitor.server()?.cart(&token.session, &login.user).await?),
        None => None,
    };
    let jar = renewed(jar, &visitor);
    Ok((jar, page::shop(&visitor, &token, cart.as_ref())?))
}

/// The cookie lives as long as the session, which was renewed; without a session it goes.
fn renewed(jar: CookieJar, visitor: &Visitor) -> CookieJar {
    match (&visitor.id, &visitor.login) {
        (Some(id), Some(_)) => jar.add(cookie(ID, id.to_text())),
        (_, None) | (None, _) => jar.remove(cookie(ID, String::new())),
    }
}

fn back() -> Redirect {
    Redirect::to("/")
}

async fn log_in(
    visitor: Visitor,
    jar: CookieJar,
    Fields(form): Fields<LoginForm>,
) -> Result<impl IntoResponse, Failure> {
    let user = checked("a name", &form.user, MAX_USER)?;
    let server = visitor.server()?;
    // Always a new id: one that somebody had planted in this browser is worth nothing (session fixation).
    let id = server.log_in(user).await?;
    if let Some(old) = &visitor.id {
        server.log_out(old).await?;
    }
    Ok((jar.add(cookie(ID, id.to_text())), back()))
}

async fn log_out(visitor: Visitor, jar: CookieJar) -> Result<impl IntoResponse, Failure> {
    if let Some(id) = &visitor.id {
        visitor.server()?.log_out(id).await?;
    }
    Ok((jar.remove(cookie(ID, String::new())), back()))
}

async fn log_out_everywhere(visitor: Visitor, jar: CookieJar) -> Result<impl IntoResponse, Failure> {
    if let (Some(id), Some(login)) = (&visitor.id, &visitor.login) {
        visitor.server()?.log_out_everywhere(id, login).await?;
    }
    Ok((jar.remove(cookie(ID, String::new())), back()))
}

/// Asks no region who this is: the one that serves the visitor now may be the reason to leave it.
async fn switch_region(
    State(shop): State<Arc<Shop>>,
    jar: CookieJar,
    Fields(form): Fields<RegionForm>,
) -> Result<impl IntoResponse, Failure> {
    let is_known = shop.position(&form.region).is_some();
    is_known.then_some(()).ok_or_else(|| Failure::input("There is no such region."))?;
    Ok((jar.add(cookie(REGION, form.region)), back()))
}

async fn choose_address(jar: CookieJar, Fields(form): Fields<AddressForm>) -> Result<impl IntoResponse, Failure> {
    let is_known = ADDRESSES.iter().any(|(address, _)| *address == form.address);
    is_known.then_some(()).ok_or_else(|| Failure::input("That address is none of those to choose from."))?;
    // From now on served at home again.
    let jar = jar.remove(cookie(REGION, String::new()));
    Ok((jar.add(cookie(ADDRESS, form.address)), back()))
}

async fn add(
    visitor: Visitor,
    SessionToken { session, .. }: SessionToken,
    Fields(form): Fields<ItemForm>,
) -> Result<Redirect, Failure> {
    let item = checked("an item", &form.item, MAX_ITEM)?;
    match visitor.server()?.add_to_cart(&session, visitor.user()?, item).await? {
        true => Ok(back()),
        false => Err(Failure::input(format!("The cart is full: it holds {MOST} different things."))),
    }
}

async fn remove(
    visitor: Visitor,
    SessionToken { session, .. }: SessionToken,
    Fields(form): Fields<ItemForm>,
) -> Result<Redirect, Failure> {
    visitor.server()?.remove_from_cart(&session, visitor.user()?, &form.item).await?;
    Ok(back())
}

/// A text that a visitor typed: not empty, not long, nothing that moves a cursor.
fn checked<'t>(what: &str, text: &'t str, most: usize) -> Result<&'t str, Failure> {
    let text = text.trim();
    let is_fine = (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_fine.then_some(text).ok_or_else(|| Failure::input(format!("Give {what} of 1 to {most} characters.")))
}

#[derive(Deserialize)]
struct LoginForm {
    user: String,
}

#[derive(Deserialize)]
struct RegionForm {
    region: String,
}

#[derive(Deserialize)]
struct AddressForm {
    address: String,
}

#[derive(Deserialize)]
struct ItemForm {
    item: String,
}

/// A form whose mistakes are answered by a page of ours.
struct Fields<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Form(fields) = Form::from_request(request, state).await?;
        Ok(Self(fields))
    }
}
