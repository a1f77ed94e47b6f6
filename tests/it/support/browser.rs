//! A real Chromium without a screen, driven over a pipe by its own protocol (Chrome DevTools): opens a page, runs expressions
//! in it, keeps what it asked of the network, and takes pictures.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);

/// A browser with one page; it ends with the test.
pub(crate) struct Browser {
    child: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    number: u64,
    /// What the browser sent without being asked, in order.
    pub(crate) events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it. `None`, and a line on stderr, if it is not installed; where the variable `CI` is set that is a failure.
    pub(crate) fn start() -> Option<Self> {
        if !super::is_installed("chromium", "chromium") {
            return None;
        }
        let profile = tempfile::tempdir().expect("a folder");
        // The shell hands its standard input and output over as the third and fourth file, where Chromium expects orders and
        // puts answers. Containers have no sandbox to give, and nothing but our page is opened.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >&2", "sh"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--remote-debugging-pipe", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let orders = child.stdin.take().expect("a pipe");
        let messages = read(child.stdout.take().expect("a pipe"));
        let (session, events) = (None, Vec::new());
        let mut browser = Self { child, orders, messages, session, number: 0, events, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Gives an order and returns its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut order = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).expect("taken");
        loop {
            let message = self.messages.recv_timeout(BOUND).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a page.
    pub(crate) fn open(&mut self, url: &str) {
        let before = self.events.len();
        self.call("Page.navigate", &json!({"url": url}));
        while !self.events.iter().skip(before).any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.messages.recv_timeout(BOUND).expect("the page is loaded");
            self.events.push(event);
        }
    }

    /// The value of an expression in the page; promises are waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let ms = BOUND.as_millis() / 2;
        let wait = format!(
            "new Promise(done => {{ const end = Date.now() + {ms}; const look = () => ({expression}) ? done(true) : \
             Date.now() > end ? done(false) : setTimeout(look, 10); look(); }})"
        );
        let came = self.value(&wait);
        assert!(came == true, "{expression} did not come true:\n{}", self.value("document.body.innerText"));
    }

    /// How large the window is, and whether it is dark.
    pub(crate) fn look(&mut self, width: u32, height: u32, theme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.call("Emulation.setEmulatedMedia", &feature);
    }

    /// What the window shows as a picture.
    pub(crate) fn picture(&mut self, path: &Path) {
        let taken = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes =
            base64::prelude::BASE64_STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    /// URLs of everything that the page asked for.
    pub(crate) fn requested(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.map(|event| event["params"]["request"]["url"].as_str().expect("a URL").to_owned()).collect()
    }

    /// What went wrong in the page: exceptions, dialogs, violations of its policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let kinds =
            ["Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded", "Runtime.consoleAPICalled"];
        let bad = self.events.iter().filter(|event| kinds.iter().any(|kind| event["method"] == *kind));
        bad.map(ToString::to_string).collect()
    }
}

/// Messages, each ended by a zero byte.
fn read(output: impl Read + Send + 'static) -> Receiver<Value> {
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            if sender.send(serde_json::from_slice(&message).expect("JSON")).is_err() {
                return;
            }
        }
    });
    messages
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
