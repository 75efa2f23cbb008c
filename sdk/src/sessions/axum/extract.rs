//! What handlers take: the request's session, and how it began.

use std::fmt;

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::sessions::{Session, TokenError};

/// A request's session: an extractor for handlers behind a [`SessionLayer`](super::SessionLayer).
///
/// Use it with [`Connection::with_session`](crate::Connection::with_session). All extractors of one request give the same
/// session.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// The session; its token is written back when the request has added to it.
    pub session: Session,
    /// How it began.
    pub arrival: Arrival,
}

/// How a request's session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// With the token that the request brought; several were merged.
    Resumed,
    /// Anew: the request brought no token. A new visitor, or one who takes no cookies.
    Missing,
    /// Anew: the request brought something that is no token. It is replaced with the answer.
    Malformed(TokenError),
}

/// The extractor was used without a [`SessionLayer`](super::SessionLayer): a mistake in the application's routes, which
/// would show as stale reads if it were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SessionToken without SessionLayer: add `.layer(SessionLayer::new())` to these routes")]
pub struct MissingLayer;

impl SessionToken {
    /// Merges into a session what a request brought.
    pub(super) fn new(session: Session, texts: &[&[u8]]) -> Self {
        let read = |text: &[u8]| {
            let text = std::str::from_utf8(text).map_err(|_| TokenError::Damaged)?;
            session.merge(text)
        };
        let arrival = texts.iter().fold(Arrival::Missing, |arrival, text| match (arrival, read(text)) {
            (_, Ok(())) | (Arrival::Resumed, Err(_)) => Arrival::Resumed,
            (Arrival::Missing | Arrival::Malformed(_), Err(why)) => Arrival::Malformed(why),
        });
        Self { session, arrival }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionToken {
    type Rejection = MissingLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingLayer> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingLayer)
    }
}

impl IntoResponse for MissingLayer {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resumed => f.write_str("the session goes on"),
            Self::Missing => f.write_str("a new session: the request brought no token"),
            Self::Malformed(why) => write!(f, "a new session: the request brought {why}"),
        }
    }
}
