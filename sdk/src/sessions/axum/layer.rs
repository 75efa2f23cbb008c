//! The layer: reads the token in front of a handler, writes it back behind.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    carrier::{Carrier, CookieNameError},
    extract::{Arrival, SessionToken},
};
use crate::sessions::SessionBuilder;

/// Carries the token of each visitor's session in a cookie, or in a header; see the [module](super).
///
/// By default in the cookie `archipelago-token`, which is `HttpOnly` (no script reads it), `SameSite=Lax` (no other site's
/// form sends it), `Secure` (no plain connection carries it), for all paths, and forgotten when the browser is closed.
///
/// ```
/// use archipelago::sessions::{Guarantee, Session, axum::{CookieNameError, SessionLayer}};
/// use axum::{Router, http::HeaderName};
///
/// let monotonic = Session::builder().guarantee(Guarantee::MonotonicReads);
/// let app: Router = Router::new().layer(SessionLayer::cookie("__Host-seen")?.with_sessions(monotonic));
/// let api: Router = Router::new().layer(SessionLayer::header(HeaderName::from_static("x-session-token")));
/// assert_eq!(SessionLayer::cookie("no name").unwrap_err(), CookieNameError);
/// # Ok::<(), CookieNameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionLayer {
    carrier: Carrier,
    sessions: SessionBuilder,
}

impl SessionLayer {
    /// The name of the cookie unless another is given.
    pub const COOKIE: &str = "archipelago-token";

    /// In the cookie [`Self::COOKIE`].
    #[must_use]
    pub fn new() -> Self {
        Self::with(Carrier::Cookie { name: Self::COOKIE.to_owned(), is_secure: true })
    }

    /// In a cookie of this name. One that begins with `__Host-` no other host can set.
    ///
    /// # Errors
    /// [`CookieNameError`] when no cookie can have that name.
    pub fn cookie(name: &str) -> Result<Self, CookieNameError> {
        Carrier::cookie(name).map(Self::with)
    }

    /// In a header of this name, of requests and of answers: for clients that are no browsers. They send with each request
    /// what the last answer that had one gave them.
    #[must_use]
    pub fn header(name: HeaderName) -> Self {
        Self::with(Carrier::Header(name))
    }

    fn with(carrier: Carrier) -> Self {
        Self { carrier, sessions: SessionBuilder::default() }
    }

    /// What the sessions ask for; default: to read their own writes.
    #[must_use]
    pub fn with_sessions(self, sessions: SessionBuilder) -> Self {
        Self { sessions, ..self }
    }

    /// Leaves out `Secure`, for development over plain HTTP. Browsers refuse a cookie named `__Host-` or `__Secure-` then.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        if let Carrier::Cookie { is_secure, .. } = &mut self.carrier {
            *is_secure = false;
        }
        self
    }
}

impl Default for SessionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, layer: self.clone() }
    }
}

/// A service behind a [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    layer: SessionLayer,
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let carrier = self.layer.carrier.clone();
        let token = SessionToken::new(self.layer.sessions.clone().build(), &carrier.read(request.headers()));
        let before = token.session.seen();
        request.extensions_mut().insert(token.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let SessionToken { session, arrival } = token;
            // The texts are not compared: that of a tag counts seconds, rounded up. Written back at every request, it
            // would go on for ever.
            if matches!(arrival, Arrival::Malformed(_)) || session.seen() != before {
                carrier.write(&session.token(), response.headers_mut());
            }
            Ok(response)
        })
    }
}
