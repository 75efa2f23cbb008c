//! A visitor's browser, as far as the examples' pages need one: cookies, forms, redirects, JSON, streams of events.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request, StatusCode},
};
use axum_extra::extract::cookie::Cookie;
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 1 << 20;

/// A browser. A clone has the same cookies: the same visitor's, until one of the two changes them.
#[derive(Clone)]
pub struct Browser {
    at: SocketAddr,
    /// By their names.
    pub cookies: BTreeMap<String, String>,
    /// What a proxy in front of the shop would say.
    pub forwarded_for: Option<String>,
}

/// What came back.
pub struct Page {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Browser {
    /// A browser that has been nowhere, for the pages at this address.
    #[must_use]
    pub const fn new(at: SocketAddr) -> Self {
        Self { at, cookies: BTreeMap::new(), forwarded_for: None }
    }

    /// Opens a page.
    ///
    /// # Errors
    /// When no answer comes, or none that is text.
    pub async fn open(&mut self, path: &str) -> Result<Page> {
        let request = Request::get(path).body(Body::empty())?;
        timeout(PATIENCE, self.send(request)).await?
    }

    /// Sends a form, and goes where the answer says.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let page = timeout(PATIENCE, self.send(request.body(Body::from(body))?)).await??;
        match page.headers.get("location") {
            Some(path) if page.status == StatusCode::SEE_OTHER => self.open(path.to_str()?).await,
            Some(_) | None => Ok(page),
        }
    }

    /// Sends JSON, as a script of the page does.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub async fn post(&mut self, path: &str, json: impl Into<Body>) -> Result<Page> {
        let request = Request::post(path).header("content-type", "application/json");
        timeout(PATIENCE, self.send(request.body(json.into())?)).await?
    }

    /// Listens to a stream of events.
    ///
    /// # Errors
    /// As [`Browser::open`], and when the answer is no such stream.
    pub async fn listen(&self, path: &str) -> Result<Events> {
        let request = Request::get(path).header("host", self.at.to_string()).body(Body::empty())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(self.at).await?)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let answer = timeout(PATIENCE, sender.send_request(request)).await??;
        if answer.status() != StatusCode::OK {
            return Err(format!("{path}: {}", answer.status()).into());
        }
        let frames = Body::new(answer.into_body()).into_data_stream();
        Ok(Events { frames, pending: Vec::new(), bytes: 0, _tasks: tasks })
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
    #[must_use]
    pub fn element(&self, id: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("id=\"{id}\">"))?;
        rest.split_once("</").map(|(text, _)| text)
    }

    /// Whether this text is in it.
    #[must_use]
    pub fn shows(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// A stream of events. Dropping it ends the connection.
#[derive(Debug)]
pub struct Events {
    frames: BodyDataStream,
    pending: Vec<u8>,
    bytes: u64,
    _tasks: JoinSet<hyper::Result<()>>,
}

impl Events {
    /// The data of the next event; `None` when the stream ended.
    ///
    /// # Errors
    /// When the connection breaks, and when nothing comes for long, not even a sign of life.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                let text = String::from_utf8(event)?;
                let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                if !lines.is_empty() {
                    return Ok(Some(lines.join("\n")));
                }
                continue;
            }
            let Some(frame) = timeout(PATIENCE, self.frames.next()).await? else { return Ok(None) };
            let frame = frame?;
            self.bytes += u64::try_from(frame.len())?;
            self.pending.extend_from_slice(&frame);
        }
    }

    /// How many bytes came so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
