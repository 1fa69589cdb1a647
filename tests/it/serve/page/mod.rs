//! The page at `/`, as a browser shows it.

mod browser;
mod builds;
mod create;
mod keyboard;
mod log;
mod screens;
mod security;

use serde_json::Value;

use super::{Service, base, context, id};
use browser::Browser;

/// A service that takes one build at a time, a browser that shows it, and the name of a base with a shell.
struct Stage {
    service: Service,
    browser: Browser,
    base: String,
}

impl Stage {
    fn new() -> Self {
        let service = Service::start(&["--cpus", "1", "--build-cpus", "1"]);
        let base = base(&service.registry);
        Self { service, browser: Browser::start(), base }
    }

    fn origin(&self) -> String {
        format!("http://{}/", self.service.address)
    }

    /// Shows a place of the page, like `#/new`.
    #[track_caller]
    fn go(&mut self, hash: &str) {
        // The same document would only be told of another hash.
        self.browser.leave();
        let url = format!("{}{hash}", self.origin());
        self.browser.go(&url);
    }

    /// A request with this behind FROM.
    fn request(&self, name: &str, steps: &str) -> Value {
        self.service.request(name, &format!("FROM {}\n{steps}", self.base))
    }

    /// Has something built, and gives its name when it has ended.
    #[track_caller]
    fn built(&self, request: &Value) -> String {
        id(&self.service.build(request, "?wait=60s").ok())
    }

    /// Has something begun, and gives its name when it says `begun`.
    #[track_caller]
    fn begun(&self, request: &Value) -> String {
        let build = id(&self.service.build(request, "").ok());
        super::ends::wait_for_run(&self.service, &build);
        build
    }
}

/// What a step does that goes on until it is ended.
const SLOW: &str = "RUN echo begun; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done\n";
