//! Pushes in, statuses and notifications out, all against stand-ins on loopback.

mod configuration;
mod delivery;
mod github;
mod providers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use super::{Answer, Service};
use crate::support::{Reply, Repositories, Request, WebServer, WorkingCopy};

const SECRET: &str = "It's a Secret to Everybody";
const TOKEN: &str = "token-of-statuses";
const SIGNING: &str = "whsec_c2lnbnMgd2hhdCBnb2VzIG91dA==";
const BEFORE: &str = "89abcdef0123456789abcdef0123456701234567";

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).unwrap();
    code.update(text);
    code.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Takes what it is told, or answers with another status for as long as it is told to.
struct Receiver {
    server: WebServer,
    status: Arc<AtomicU16>,
    refused: Arc<AtomicUsize>,
}

impl Receiver {
    fn start() -> Self {
        let (status, refused) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&status), Arc::clone(&refused));
        let server = WebServer::start(None, move |_| {
            let status = now.load(Ordering::SeqCst);
            if status >= 300 {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Reply::new(status, "").header("Retry-After", "1")
        });
        Self { server, status, refused }
    }

    fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What came for this path.
    fn received(&self, path: &str) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.path == path).collect()
    }

    /// Waits until so many came for this path.
    #[track_caller]
    fn wait(&self, path: &str, count: usize, service: &Service) -> Vec<Request> {
        eventually(service, || {
            let received = self.received(path);
            (received.len() >= count).then_some(received)
        })
    }
}

/// Waits until there is something.
#[track_caller]
fn eventually<T>(service: &Service, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A repository behind a web server, a receiver, and a service that builds the one and tells the other.
struct Scene {
    service: Service,
    receiver: Receiver,
    copy: WorkingCopy,
    configuration: Arc<TempDir>,
    _git: WebServer,
    _repositories: Repositories,
}

/// The configuration of a scene; places like `@GIT@` are filled in.
const CONFIGURATION: &str = "
hooks:
  - name: hub
    provider: github
    secret: {file: secret}
    statuses:
      token: {file: token}
      api: @RECEIVER@/api/v3/
  - name: lab
    provider: gitlab
    secret: {file: secret}
    statuses:
      token: {file: token}
      api: @RECEIVER@/api/v4
      label: images
  - name: tea
    provider: gitea
    secret: {file: secret}
    statuses:
      token: {file: token}
      api: @RECEIVER@/api/v1
  - name: other
    provider: generic
    secret: {file: secret}
repositories:
  - hook: hub
    name: shop/app
    url: @GIT@/app.git
    builds: &builds
      - branches: [main, \"release/*\"]
        tags: [\"v*\"]
        ignore_paths: [\"**.md\"]
        build_args: {SOURCE_DATE_EPOCH: 1000000000}
        destinations: [\"@REGISTRY@/app:{branch}\", \"@REGISTRY@/app:{tag}\"]
    notify:
      - url: @RECEIVER@/notify?key=of-address
        secret: {file: signing}
  - {hook: lab, name: shop/app, url: @GIT@/app.git, builds: *builds}
  - {hook: tea, name: shop/app, url: @GIT@/app.git, builds: *builds}
  - {hook: other, name: shop/app, url: @GIT@/app.git, builds: *builds}
signing_secret: {file: signing}
";

impl Scene {
    fn start(arguments: &[&str]) -> Self {
        Self::with(CONFIGURATION, arguments, None)
    }

    fn with(configuration: &str, arguments: &[&str], tokens: Option<&Value>) -> Self {
        let repositories = Repositories::new();
        let copy = repositories.create("app");
        copy.write("Dockerfile", "FROM scratch\nCOPY file /\n").write("file", "one");
        let git = WebServer::git(None, repositories.path(), None);
        let receiver = Receiver::start();
        let directory = Arc::new(tempfile::tempdir().unwrap());
        for (name, text) in [("secret", SECRET), ("token", TOKEN), ("signing", SIGNING)] {
            std::fs::write(directory.path().join(name), format!("{text}\n")).unwrap();
        }
        let path = directory.path().join("cooper.yaml");
        let registry = Arc::new(crate::registry::Registry::start());
        let text = configuration
            .replace("@GIT@", &git.url())
            .replace("@RECEIVER@", &receiver.server.url())
            .replace("@REGISTRY@", &registry.host());
        std::fs::write(&path, text).unwrap();
        let reach = "public,127.0.0.1";
        let mut all: Vec<String> = ["--config", &path.display().to_string(), "--min-free", "1MiB"]
            .iter()
            .chain(&["--source-reach", reach, "--notify-reach", reach, "--public-url", "https://ci.example/"])
            .chain(arguments)
            .map(ToString::to_string)
            .collect();
        let data = Arc::new(tempfile::tempdir().unwrap());
        match tokens {
            None => all.push("--allow-anonymous".to_owned()),
            Some(tokens) => {
                let path = data.path().join("tokens.json");
                std::fs::write(&path, tokens.to_string()).unwrap();
                all.extend(["--tokens".to_owned(), path.display().to_string()]);
            }
        }
        let service = Service::spawn(all, data, registry);
        Self { service, receiver, copy, configuration: directory, _git: git, _repositories: repositories }
    }

    /// A message of GitHub.
    fn github(&self, delivery: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let signature = format!("sha256={}", hex(&hmac(SECRET.as_bytes(), body.as_bytes())));
        self.github_signed(delivery, "push", &signature, body.as_bytes())
    }

    fn github_signed(&self, delivery: &str, event: &str, signature: &str, body: &[u8]) -> Answer {
        let headers = [
            ("X-GitHub-Event", event),
            ("X-GitHub-Delivery", delivery),
            ("X-Hub-Signature-256", signature),
            ("Content-Type", "application/json"),
            ("User-Agent", "GitHub-Hookshot/044aadd"),
        ];
        self.service.ask("POST", "/v1/hooks/hub", &headers, body)
    }

    /// The headers of Standard Webhooks for a body.
    fn standard(id: &str, timestamp: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let signature = format!("v1,{}", STANDARD.encode(hmac(SECRET.as_bytes(), &signed)));
        vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ]
    }

    fn hook(&self, name: &str, headers: &[(&str, String)], body: &[u8]) -> Answer {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.service.ask("POST", &format!("/v1/hooks/{name}"), &headers, body)
    }

    fn builds(&self) -> Vec<Value> {
        self.service.get("/v1/builds").ok()["builds"].as_array().unwrap().clone()
    }
}

/// What GitHub sends of a push, as far as it matters.
fn push(reference: &str, before: &str, after: &str) -> Value {
    let commit = json!({
        "id": after, "tree_id": BEFORE, "distinct": true, "message": "Fix it\n\nAt last.",
        "timestamp": "2026-11-22T14:00:00+01:00", "url": format!("https://github.com/shop/app/commit/{after}"),
        "author": {"name": "Ada", "email": "ada@example.org", "username": "ada"},
        "committer": {"name": "GitHub", "email": "noreply@github.com", "username": "web-flow"},
        "added": [], "removed": [], "modified": ["file"],
    });
    json!({
        "ref": reference, "before": before, "after": after, "created": false, "deleted": false, "forced": false,
        "base_ref": null, "compare": "https://github.com/shop/app/compare/a...b", "commits": [commit], "head_commit": commit,
        "repository": {"id": 186_853_002, "name": "app", "full_name": "shop/app", "private": true,
                       "owner": {"name": "shop", "login": "shop"}, "html_url": "https://github.com/shop/app",
                       "clone_url": "https://github.com/shop/app.git", "default_branch": "main",
                       "pushed_at": now()},
        "pusher": {"name": "ada", "email": "ada@example.org"}, "sender": {"login": "ada", "id": 1},
    })
}

/// Seconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The id of the one build that an answer names.
#[track_caller]
fn built(answer: &Answer) -> String {
    let answer = answer.ok();
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    assert_eq!(answer["builds"].as_array().unwrap().len(), 1, "{answer}");
    super::id(&answer["builds"][0])
}

#[track_caller]
fn ignored(answer: &Answer, why: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["outcome"], "ignored", "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains(why), "{answer}");
}

/// Checks the signature of what was received; gives its name and what it says.
#[track_caller]
fn verified(request: &Request) -> (String, Value) {
    let header = |name: &str| request.headers[name].clone();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    assert!((now() - timestamp.parse::<i64>().unwrap()).abs() < 120);
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &request.body].concat();
    let key = STANDARD.decode(SIGNING.strip_prefix("whsec_").unwrap()).unwrap();
    assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(hmac(&key, &signed))));
    (id, serde_json::from_slice(&request.body).unwrap())
}
