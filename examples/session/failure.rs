//! What goes wrong, as a page that says so.

use archipelago::{Error, ErrorKind};
use axum::{
    extract::rejection::FormRejection,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use redis::RedisError;

use crate::page;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// What only who is logged in may do.
    NotLoggedIn,
    /// Everything else, in words for the visitor.
    Said(StatusCode, String),
}

impl Failure {
    pub fn input(what: impl Into<String>) -> Self {
        Self::Said(StatusCode::BAD_REQUEST, what.into())
    }

    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Said(StatusCode::SERVICE_UNAVAILABLE, what.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            // Also when a home cannot be asked whether there is a session: nobody is logged out by a cut.
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::MaybeApplied => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Said(status, error.to_string())
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match Error::of(&error) {
            Some(own) => own.clone().into(),
            None => Self::Said(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl From<FormRejection> for Failure {
    fn from(rejection: FormRejection) -> Self {
        Self::Said(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotLoggedIn => Redirect::to("/").into_response(),
            Self::Said(status, what) => (status, page::failure(status, &what)).into_response(),
        }
    }
}
