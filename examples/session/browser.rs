//! A visitor's browser, as far as this page needs one: cookies, forms, redirects.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use axum_extra::extract::cookie::Cookie;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 1 << 20;

/// A browser. A clone has the same cookies: the same visitor's, until one of the two changes them.
#[derive(Clone)]
pub struct Browser {
    at: SocketAddr,
    pub cookies: BTreeMap<String, String>,
    /// What a proxy in front of the shop would say.
    pub forwarded_for: Option<String>,
}

/// What came back.
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Browser {
    pub fn new(at: SocketAddr) -> Self {
        Self { at, cookies: BTreeMap::new(), forwarded_for: None }
    }

    pub async fn open(&mut self, path: &str) -> Result<Page> {
        let request = Request::get(path).body(Body::empty())?;
        timeout(PATIENCE, self.send(request)).await?
    }

    /// Sends a form, and goes where the answer says.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let page = timeout(PATIENCE, self.send(request.body(Body::from(body))?)).await??;
        match page.headers.get("location") {
            Some(path) if page.status == StatusCode::SEE_OTHER => self.open(path.to_str()?).await,
            Some(_) | None => Ok(page),
        }
    }

    async fn send(&mut self, mut request: Request<Body>) -> Result<Page> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = request.headers_mut();
        headers.insert("host", self.at.to_string().parse()?);
        headers.insert("cookie", cookies.join("; ").parse()?);
        if let Some(line) = &self.forwarded_for {
            headers.insert("x-forwarded-for", line.parse()?);
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(self.at).await?)).await?;
        let driver = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let text = String::from_utf8(axum::body::to_bytes(Body::new(body), MOST).await?.to_vec())?;
        driver.abort();
        self.keep_cookies(&head.headers)?;
        Ok(Page { status: head.status, headers: head.headers, text })
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) -> Result<()> {
        for line in headers.get_all("set-cookie") {
            let cookie = Cookie::parse(line.to_str()?)?;
            assert!(cookie.http_only() == Some(true) && cookie.path() == Some("/"), "{cookie}");
            match cookie.max_age().is_some_and(|age| age.is_zero()) {
                true => drop(self.cookies.remove(cookie.name())),
                false => drop(self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned())),
            }
        }
        Ok(())
    }
}

impl Page {
    /// The text of the element with this id, as it stands in the page.
    pub fn element(&self, id: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("id=\"{id}\">"))?;
        rest.split_once("</").map(|(text, _)| text)
    }

    pub fn shows(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}
