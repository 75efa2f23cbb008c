//! A real browser for tests: Chromium without a window, by the DevTools protocol over a pair of pipes. It needs no port
//! that another program could take, and no WebSocket.

use std::{path::Path, process::Stdio, time::Duration};

use archipelago_examples::Result;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(50);

/// Where a browser may be, unless `CHROMIUM` names one.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one open page. It ends with this value.
pub struct Chromium {
    browser: Child,
    to: ChildStdin,
    from: ChildStdout,
    pending: Vec<u8>,
    calls: u64,
    session: Option<String>,
    /// What went wrong in the page: messages of the console, exceptions, refused loads.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The browser of this machine; `None` when there is none.
pub fn installed() -> Option<String> {
    if let Ok(named) = std::env::var("CHROMIUM") {
        return Some(named);
    }
    let path = std::env::var_os("PATH")?;
    let is_there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    NAMES.into_iter().find(|name| is_there(name)).map(str::to_owned)
}

impl Chromium {
    /// Starts a browser with an empty page of this size.
    pub async fn start(program: &str, width: u32, height: u32) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        // The protocol's pipes are the descriptors 3 and 4. A sandbox needs rights that a test in a container has not;
        // the only page opened here is our own.
        let script = "exec \"$0\" \"$@\" 3<&0 4>&1 1>&2";
        let mut browser = Command::new("sh")
            .args(["-c", script, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
            .args(["--remote-debugging-pipe", &format!("--user-data-dir={}", profile.path().display())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let to = browser.stdin.take().ok_or("no pipe to the browser")?;
        let from = browser.stdout.take().ok_or("no pipe from the browser")?;
        let (pending, complaints) = (Vec::new(), Vec::new());
        let mut this = Self { browser, to, from, pending, calls: 0, session: None, complaints, _profile: profile };
        let target = this.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = this.call("Target.attachToTarget", attach).await?;
        this.session = Some(session["sessionId"].as_str().ok_or("no session")?.to_owned());
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            this.call(domain, json!({})).await?;
        }
        this.resize(width, height).await?;
        Ok(this)
    }

    /// Gives the page another size, as a phone has.
    pub async fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await.map(drop)
    }

    /// Opens a page.
    pub async fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await?;
        match answer["errorText"].as_str() {
            Some(error) => Err(format!("{url}: {error}").into()),
            None => self.until("document.readyState === 'complete'").await,
        }
    }

    /// What an expression of the page's own language comes to.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked).await?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(format!("{expression}: {exception}").into()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) -> Result<()> {
        let began = Instant::now();
        while self.evaluate(expression).await? != json!(true) {
            if began.elapsed() > PATIENCE {
                let text = self.evaluate("document.body.innerText").await?;
                return Err(format!("waited {PATIENCE:?} for {expression}; the page: {text}").into());
            }
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Clicks with the mouse on what a selector finds, where a viewer would: in its middle, if it is not covered there.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        let quoted = json!(selector);
        let place = self
            .evaluate(&format!(
                "(() => {{ const it = document.querySelector({quoted}); it.scrollIntoView({{ block: 'nearest' }}); \
                 const box = it.getBoundingClientRect(); \
                 const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
                 return {{ x, y, hit: !it.disabled && it.contains(document.elementFromPoint(x, y)) }}; }})()"
            ))
            .await?;
        if place["hit"] != json!(true) {
            return Err(format!("{selector} cannot be clicked: {place}").into());
        }
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", mouse).await?;
        }
        Ok(())
    }

    /// Types a text into what a selector finds, in place of what is there.
    pub async fn type_into(&mut self, selector: &str, text: &str) -> Result<()> {
        self.click(selector).await?;
        self.evaluate("document.activeElement.select()").await?;
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// Keeps a picture of the page.
    pub async fn screenshot(&mut self, file: &Path) -> Result<()> {
        use base64::Engine;
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = answer["data"].as_str().ok_or("no picture")?;
        Ok(tokio::fs::write(file, base64::engine::general_purpose::STANDARD.decode(data)?).await?)
    }

    /// Ends the browser, and waits until it is gone.
    pub async fn close(mut self) -> Result<()> {
        self.session = None;
        // It may be gone before it answers.
        let _ = self.call("Browser.close", json!({})).await;
        timeout(PATIENCE, self.browser.wait()).await??;
        Ok(())
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let (Some(session), Some(fields)) = (&self.session, message.as_object_mut()) {
            fields.insert("sessionId".to_owned(), json!(session));
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.to.write_all(&text).await?;
        let calls = self.calls;
        let answer = async {
            loop {
                let mut message = self.message().await?;
                if message["id"] == json!(calls) {
                    return match message.get("error") {
                        Some(error) => Err(format!("{method}: {error}").into()),
                        None => Ok(message["result"].take()),
                    };
                }
                self.complaints.extend(complaint(&message));
            }
        };
        timeout(PATIENCE, answer).await.map_err(|_| format!("{method}: no answer from the browser"))?
    }

    async fn message(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message))?);
            }
            if self.from.read_buf(&mut self.pending).await? == 0 {
                return Err("the browser ended".into());
            }
        }
    }
}

/// What an event of the page has to complain about. Refused loads are told as entries of its log.
fn complaint(message: &Value) -> Option<String> {
    let what = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(what["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" => Some(what["args"].to_string()),
        "Log.entryAdded" => Some(format!("{}: {}", what["entry"]["text"], what["entry"]["url"])),
        _ => None,
    }
}
