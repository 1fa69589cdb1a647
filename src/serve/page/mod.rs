//! The page at `/`: HTML, CSS and a little script, all in the program, nothing loaded from elsewhere.
//!
//! The page has no rights of its own: it asks the API with the token that somebody has typed in. What it shows was
//! written by others (logs, tags, reasons), so the browser is told to run nothing but the files here, to load nothing
//! from elsewhere, and to refuse to parse texts as HTML.
//!
//! ```text
//!  /  ─► index.html, asked for anew each time (ETag)
//!        └─► page/VERSION/main.js, style.css, …: VERSION is a hash of all files, so they are kept for good
//! ```

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::layer::Hasher;

const INDEX: &str = include_str!("index.html");

/// What stands for the version in `index.html`.
const PLACEHOLDER: &str = "{VERSION}";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The other files: name, type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("api.js", SCRIPT, include_str!("api.js")),
    ("base.css", STYLE, include_str!("base.css")),
    ("build.css", STYLE, include_str!("build.css")),
    ("build.js", SCRIPT, include_str!("build.js")),
    ("builds.css", STYLE, include_str!("builds.css")),
    ("builds.js", SCRIPT, include_str!("builds.js")),
    ("command.js", SCRIPT, include_str!("command.js")),
    ("create.js", SCRIPT, include_str!("create.js")),
    ("details.js", SCRIPT, include_str!("details.js")),
    ("dialogs.js", SCRIPT, include_str!("dialogs.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("format.js", SCRIPT, include_str!("format.js")),
    ("layers.js", SCRIPT, include_str!("layers.js")),
    ("log.css", STYLE, include_str!("log.css")),
    ("log.js", SCRIPT, include_str!("log.js")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("model.js", SCRIPT, include_str!("model.js")),
    ("parts.js", SCRIPT, include_str!("parts.js")),
    ("queue.js", SCRIPT, include_str!("queue.js")),
    ("search.js", SCRIPT, include_str!("search.js")),
    ("status.js", SCRIPT, include_str!("status.js")),
    ("stream.js", SCRIPT, include_str!("stream.js")),
    ("tar.js", SCRIPT, include_str!("tar.js")),
    ("text.js", SCRIPT, include_str!("text.js")),
    ("theme.js", SCRIPT, include_str!("theme.js")),
    ("timeline.js", SCRIPT, include_str!("timeline.js")),
    ("token.js", SCRIPT, include_str!("token.js")),
];

/// Only the page's own scripts and styles; requests only to the service; no text becomes HTML or script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer says besides its own.
const GUARDS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// `index.html` as it is served.
struct Front {
    text: String,
    version: String,
}

static FRONT: LazyLock<Front> = LazyLock::new(|| {
    let mut hasher = Hasher::new();
    for text in FILES.iter().map(|(_, _, text)| *text).chain([INDEX]) {
        hasher.update(text.as_bytes());
    }
    let mut version = hasher.finish().hex();
    version.truncate(16);
    Front { text: INDEX.replace(PLACEHOLDER, &version), version }
});

/// `GET /`
pub(super) async fn front(headers: HeaderMap) -> Response {
    let tag = format!("\"{}\"", FRONT.version);
    let own = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        return (StatusCode::NOT_MODIFIED, own, GUARDS).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (own, kind, GUARDS, FRONT.text.as_str()).into_response()
}

/// `GET /page/{version}/{file}`
pub(super) async fn file(Path((version, name)): Path<(String, String)>) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(known, ..)| *known == name && version == FRONT.version);
    let Some((_, kind, text)) = found else {
        let detail = "the page has no such file, or not any more: load the page again";
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-such-file", detail));
    };
    let own = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((own, GUARDS, *text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that follow `before` in `text`.
    fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn files_name_only_each_other() {
        let is_file = |name: &str| FILES.iter().any(|(known, ..)| *known == name);
        let prefix = format!("=\"page/{PLACEHOLDER}/");
        let first = named(INDEX, &prefix);
        assert!(first.contains(&"main.js"), "{first:?}");
        let mut all = first;
        for (_, _, text) in FILES {
            all.extend(named(text, "from \"./"));
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{text}");
        }
        assert!(all.iter().all(|name| is_file(name)), "{all:?}");
        for (name, ..) in FILES {
            assert!(all.contains(name), "{name} is not used");
        }
        for text in FILES.iter().map(|(_, _, text)| *text).chain([INDEX]) {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("src=\"http") && !elsewhere.contains("url(http"), "{text}");
        }
    }
}
