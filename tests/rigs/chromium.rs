//! A Chromium without a window, for tests of pages (Debian's `chromium`, or another one of these names). It is driven through
//! the DevTools protocol on two pipes, so that nothing listens.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs"
)]

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};

use crate::within::within;

/// Puts the pipes where the browser expects them, before it becomes the browser.
const LAUNCH: &str = r#"exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec "$@""#;

const NAMES: [&str; 2] = ["chromium", "google-chrome"];

const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    // Root needs it, and so do containers without user namespaces. The pages are the test's own.
    "--no-sandbox",
    "--disable-gpu",
    // /dev/shm is small in containers.
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    // Loopback only.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// The size of the window.
const WIDTH: u32 = 900;
const HEIGHT: u32 = 600;

/// A browser with one tab. It and all its processes end when this is dropped.
pub struct Chromium {
    browser: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// The session of the tab.
    session: Option<String>,
    requests: u64,
    /// Events that no wait has looked at.
    events: VecDeque<String>,
    /// Dropped after the browser has ended.
    _profile: TempDir,
}

/// The colours that the browser prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Light,
    Dark,
}

impl Colours {
    pub fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Chromium {
    /// Starts it with an empty profile.
    ///
    /// Returns `None`, and prints a notice on standard error, on a machine without Chromium. With `CI=true` it panics
    /// instead.
    pub async fn start() -> Option<Self> {
        let exists = |name: &&str| {
            let folders = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&folders).any(|folder| folder.join(name).is_file())
        };
        let Some(name) = NAMES.iter().find(|name| exists(name)) else {
            assert!(env::var("CI").as_deref() != Ok("true"), "there is no Chromium here, and CI wants the pages");
            eprintln!("SKIPPED: there is no Chromium here, so no page was looked at");
            return None;
        };
        let profile = TempDir::new().unwrap();
        let mut browser = Command::new("sh")
            .args(["-c", LAUNCH, "sh", name])
            .args(FLAGS)
            .arg(format!("--window-size={WIDTH},{HEIGHT}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let to = ChildStdin::from_std(browser.stdin.take().unwrap()).unwrap();
        let from = BufReader::new(ChildStdout::from_std(browser.stdout.take().unwrap()).unwrap());
        let (session, events) = (None, VecDeque::new());
        let mut chromium = Self { browser, to, from, session, requests: 0, events, _profile: profile };
        let tab = chromium.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let attached = chromium.ask("Target.attachToTarget", attach).await;
        chromium.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        chromium.ask("Page.enable", json!({})).await;
        Some(chromium)
    }

    /// Opens an address, and waits until its page is loaded.
    pub async fn open(&mut self, url: &str) {
        self.events.clear();
        let opened = self.ask("Page.navigate", json!({ "url": url })).await;
        assert_eq!(opened["errorText"], Value::Null, "{opened}");
        self.loaded().await;
    }

    /// Loads the page again.
    pub async fn reload(&mut self) {
        self.events.clear();
        self.ask("Page.reload", json!({})).await;
        self.loaded().await;
    }

    /// Presses the button with this text with the mouse, and waits until the next page is loaded.
    pub async fn press(&mut self, button: &str) {
        let button = Value::from(button);
        let place = self
            .evaluate(&format!(
                "(() => {{ const all = [...document.querySelectorAll('button')];
                   const one = all.find((button) => button.innerText === {button});
                   const place = one.getBoundingClientRect();
                   return [place.x + place.width / 2, place.y + place.height / 2]; }})()"
            ))
            .await;
        self.events.clear();
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", click).await;
        }
        self.loaded().await;
    }

    /// Types a text into a field in place of its content.
    pub async fn fill(&mut self, field: &str, text: &str) {
        let field = Value::from(field);
        self.evaluate(&format!("document.querySelector({field}).select()")).await;
        self.ask("Input.insertText", json!({ "text": text })).await;
    }

    /// The words of the page, as they are seen, a line for each block.
    pub async fn words(&mut self) -> Vec<String> {
        let text = self.evaluate("document.body.innerText").await;
        let lines = text.as_str().unwrap().lines().map(str::trim);
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The address of the page.
    pub async fn address(&mut self) -> String {
        self.evaluate("location.href").await.as_str().unwrap().to_owned()
    }

    /// The value of a JavaScript expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Prefers these colours from now on.
    pub async fn prefer(&mut self, colours: Colours) {
        let feature = json!({ "name": "prefers-color-scheme", "value": colours.word() });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
    }

    /// Makes the window this wide, or as wide as it was.
    pub async fn narrow(&mut self, width: Option<u32>) {
        let width = width.unwrap_or(0);
        let size = json!({ "width": width, "height": 0, "deviceScaleFactor": 0, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Writes a picture of the page.
    pub async fn picture(&mut self, file: &Path) {
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await;
        fs::write(file, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    async fn loaded(&mut self) {
        within("a page", async {
            loop {
                while let Some(event) = self.events.pop_front() {
                    if event == "Page.loadEventFired" {
                        return;
                    }
                }
                self.read().await;
            }
        })
        .await;
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut answer = within(method.to_owned(), async {
            self.to.write_all(format!("{message}\0").as_bytes()).await.unwrap();
            loop {
                if let Some(answer) = self.read().await
                    && answer["id"] == id
                {
                    return answer;
                }
            }
        })
        .await;
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].take()
    }

    /// Reads a message. Keeps it if it is an event, and returns it if it is an answer.
    async fn read(&mut self) -> Option<Value> {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).await.unwrap();
        assert_eq!(message.pop(), Some(0), "the browser has ended");
        let message: Value = serde_json::from_slice(&message).unwrap();
        match message["method"].as_str() {
            Some(event) => {
                self.events.push_back(event.to_owned());
                None
            }
            None => Some(message),
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.browser.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.browser.wait();
    }
}
