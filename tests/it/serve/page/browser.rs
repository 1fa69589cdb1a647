//! Debian's Chromium without a window, driven by its `DevTools` protocol over a pipe: JSON, each message ended by a zero.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Notes what the page must never cause.
const WATCH: &str = "window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
        violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    window.hacked = false; window.alert = () => { window.hacked = true; };";

type Waiting = Arc<Mutex<HashMap<u64, Sender<Value>>>>;

/// A browser with one page.
pub(super) struct Browser {
    process: Child,
    to: ChildStdin,
    waiting: Waiting,
    events: Arc<Mutex<Vec<Value>>>,
    session: String,
    next: u64,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    pub(super) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // Chromium reads from 3 and writes to 4. Everything is a page of the test's own service, and containers grant
        // no sandbox.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh", "chromium"])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let waiting = Waiting::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let from = process.stdout.take().unwrap();
        let (waiters, kept) = (Arc::clone(&waiting), Arc::clone(&events));
        std::thread::spawn(move || read(from, &waiters, &kept));
        let to = process.stdin.take().unwrap();
        let session = String::new();
        let mut browser = Self { process, to, waiting, events, session, next: 0, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": WATCH}));
        browser.size(1280, 800);
        browser
    }

    /// Asks the browser for something.
    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|problem| panic!("{method}: {problem}"))
    }

    #[track_caller]
    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.next += 1;
        let (answer, answered): (Sender<Value>, Receiver<Value>) = channel();
        self.waiting.lock().unwrap().insert(self.next, answer);
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        let answer = answered.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|_| {
            panic!("chromium does not answer {method}; is it installed (tests/tools/packages.sh)?")
        });
        match answer.get("error") {
            None => Ok(answer["result"].clone()),
            Some(error) => Err(error.to_string()),
        }
    }

    /// What JavaScript makes of this in the page.
    #[track_caller]
    pub(super) fn eval(&mut self, script: &str) -> Value {
        self.try_eval(script).unwrap_or_else(|problem| panic!("{script}: {problem}"))
    }

    /// The same, which fails while the page changes, or what is looked for is not there.
    fn try_eval(&mut self, script: &str) -> Result<Value, String> {
        let parameters = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let answer = self.try_call("Runtime.evaluate", &parameters)?;
        match answer.get("exceptionDetails") {
            None => Ok(answer["result"]["value"].clone()),
            Some(details) => Err(details["exception"]["description"].to_string()),
        }
    }

    /// Waits until this is true in the page; gives it.
    #[track_caller]
    pub(super) fn until(&mut self, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.try_eval(script);
            match &value {
                Ok(Value::Bool(false) | Value::Null) | Err(_) => {}
                Ok(value) => return value.clone(),
            }
            if Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                self.screenshot("timeout");
                panic!(
                    "never true: {script}\n{value:?}\n{}\n{:?}",
                    text.as_str().unwrap_or_default(),
                    self.faults()
                );
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until this text is seen.
    #[track_caller]
    pub(super) fn see(&mut self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text)));
    }

    #[track_caller]
    pub(super) fn go(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        self.until(
            "document.readyState === 'complete' && document.querySelector('main').childElementCount > 0",
        );
    }

    /// Leaves the page, so that the same address loads it anew.
    pub(super) fn leave(&mut self) {
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        self.until("location.href === 'about:blank'");
    }

    pub(super) fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(super) fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Clicks on what the selector finds first, with the mouse.
    #[track_caller]
    pub(super) fn click(&mut self, selector: &str) {
        let find = format!("document.querySelector({})", json!(selector));
        self.until(&format!("{find} !== null && {find}.checkVisibility() && !{find}.disabled"));
        let place = self.eval(&format!(
            "(() => {{ const one = {find}; one.scrollIntoView({{block: 'center'}});
               const box = one.getBoundingClientRect();
               return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Turns the wheel over what the selector finds.
    pub(super) fn wheel(&mut self, selector: &str, by: i32) {
        let place = self.eval(&format!(
            "(() => {{ const box = document.querySelector({}).getBoundingClientRect();
               return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ));
        let event = json!({"type": "mouseWheel", "x": place[0], "y": place[1], "deltaX": 0, "deltaY": by});
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// Writes where the focus is.
    pub(super) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Presses a key: a character, or `Tab`, `Enter`, `Shift+Tab` and the like.
    pub(super) fn press(&mut self, key: &str) {
        let (key, modifiers) = key.strip_prefix("Shift+").map_or((key, 0), |key| (key, 8));
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            " " => (32, " "),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "PageUp" => (33, ""),
            text => (0, text),
        };
        let mut event = json!({"type": "keyDown", "key": key, "modifiers": modifiers});
        if code > 0 {
            event["windowsVirtualKeyCode"] = json!(code);
        }
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", &event);
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Chooses a file in an input.
    pub(super) fn choose(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let found = self.call("DOM.querySelector", &json!({"nodeId": root, "selector": selector}));
        self.call("DOM.setFileInputFiles", &json!({"nodeId": found["nodeId"], "files": [file]}));
    }

    /// Has the page's downloads put there.
    pub(super) fn download_to(&mut self, directory: &Path) {
        let settings = json!({"behavior": "allow", "downloadPath": directory});
        self.call("Page.setDownloadBehavior", &settings);
    }

    /// Keeps what is seen, for people to look at: CI keeps the directory.
    pub(super) fn screenshot(&mut self, name: &str) -> PathBuf {
        use base64::Engine as _;
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let directory = target.join("screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Addresses that were asked for.
    pub(super) fn requests(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let sent = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What went wrong in the page: exceptions, and what the browser has complained about; not answers with errors.
    pub(super) fn faults(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let faults = events.iter().filter_map(|event| match event["method"].as_str()? {
            "Runtime.exceptionThrown" => Some(event["params"]["exceptionDetails"].to_string()),
            "Log.entryAdded" => {
                let entry = &event["params"]["entry"];
                let is_fault = entry["level"] == "error" && entry["source"] != "network";
                is_fault.then(|| entry["text"].to_string())
            }
            _ => None,
        });
        faults.collect()
    }

    /// Nothing was refused, nothing broke, nothing came from elsewhere.
    #[track_caller]
    pub(super) fn is_sound(&mut self, origin: &str) {
        assert_eq!(self.eval("window.violations"), json!([]));
        assert_eq!(self.eval("window.hacked"), json!(false));
        assert_eq!(self.faults(), Vec::<String>::new());
        let is_own = |url: &String| {
            url.starts_with(origin)
                || url.starts_with("data:")
                || url.starts_with("blob:")
                || url == "about:blank"
        };
        let foreign: Vec<String> = self.requests().into_iter().filter(|url| !is_own(url)).collect();
        assert_eq!(foreign, Vec::<String>::new());
    }

    /// Nothing but the log is wider than the window.
    #[track_caller]
    pub(super) fn fits(&mut self, what: &str) {
        let wide = self.eval(
            "(() => { const limit = document.documentElement.clientWidth;
               if (document.documentElement.scrollWidth <= limit) return null;
               const all = [...document.body.querySelectorAll('*')];
               const out = all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > limit + 1
                   && !one.closest('.log-scroll, .unseen'));
               return `${document.documentElement.scrollWidth} of ${limit}: `
                   + out.map((one) => `${one.tagName}.${one.className}`).join(', '); })()",
        );
        assert!(wide.is_null(), "{what}: {wide}");
    }
}

fn read(from: ChildStdout, waiting: &Waiting, events: &Mutex<Vec<Value>>) {
    let mut from = BufReader::new(from);
    loop {
        let mut message = Vec::new();
        match from.read_until(0, &mut message) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        message.pop();
        let Ok(message) = serde_json::from_slice::<Value>(&message) else { continue };
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(waiter) = waiting.lock().unwrap().remove(&id) {
                    let _ = waiter.send(message);
                }
            }
            None => events.lock().unwrap().push(message),
        }
    }
}
