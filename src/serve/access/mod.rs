//! Who may do what: bearer tokens and what they are good for.
//!
//! ```json
//! {"tokens": [{"name": "shop-ci", "sha256": "9f86…", "projects": ["shop"],
//!              "destinations": ["registry.example.com/shop/**"],
//!              "contexts": ["upload", "git:https://git.example.com/shop/**"],
//!              "deployments": ["shop/deployment/web"], "notify": ["https://n8n.example.com/webhook-waiting/**"],
//!              "max_upload": "512MiB", "max_timeout": "30m", "max_priority": 0, "max_queued": 20}]}
//! ```
//!
//! The file has digests of tokens only. It is read again when it has changed; one that makes no sense is not heeded,
//! and the log says so.

mod pattern;
mod tokens;

use std::sync::Arc;

pub(super) use pattern::Patterns;
pub(super) use tokens::TokenFile;
pub use tokens::TokensError;

use super::request::Source;
use crate::units;

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grants {
    /// What the token is called; never the token.
    pub(super) name: String,
    /// Projects it may build for, and whose builds it sees.
    pub(super) projects: Patterns,
    /// Repositories that images and caches may be pushed to.
    pub(super) destinations: Patterns,
    /// Where files may come from: `upload`, `git:URL`, `artifact:REPOSITORY`.
    pub(super) contexts: Patterns,
    /// Addresses that may be told of the end of a build, without their queries.
    pub(super) notify: Patterns,
    /// What may get the image: `NAMESPACE/deployment/NAME`.
    pub(super) deployments: Patterns,
    /// In bytes.
    pub(super) max_upload: Option<u64>,
    /// In seconds.
    pub(super) max_timeout: Option<u64>,
    pub(super) max_priority: i32,
    pub(super) max_queued: Option<u64>,
    /// It may only look.
    pub(super) read_only: bool,
}

impl Grants {
    /// Of those who need no token: programs on loopback, and what `cooper.yaml` says.
    pub(super) fn everything(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            projects: Patterns::all(),
            destinations: Patterns::all(),
            contexts: Patterns::all(),
            notify: Patterns::all(),
            deployments: Patterns::all(),
            max_upload: None,
            max_timeout: None,
            max_priority: i32::MAX,
            max_queued: None,
            read_only: false,
        }
    }

    /// The project of builds that name none.
    pub(super) fn usual_project(&self) -> String {
        self.projects.first_literal().unwrap_or_else(|| self.name.clone())
    }

    /// Whether files may come from there; `None` is an upload.
    pub(super) fn admits_context(&self, source: Option<&Source>) -> bool {
        self.contexts.matches(&context_name(source))
    }
}

/// A context as patterns see it.
pub(super) fn context_name(source: Option<&Source>) -> String {
    match source {
        None => "upload".to_owned(),
        Some(Source::Git(git)) => format!("git:{}", git.url),
        Some(Source::Artifact(image)) => format!("artifact:{}", image.repository()),
    }
}

/// Who is let in.
#[derive(Debug)]
pub(super) enum Access {
    /// Who has a token of this file.
    Tokens(TokenFile),
    /// Everybody.
    Anonymous(Arc<Grants>),
}

impl Access {
    pub(super) fn anonymous() -> Self {
        Self::Anonymous(Arc::new(Grants::everything("anonymous")))
    }

    /// What the holder of `token` may do; `None` if nothing.
    pub(super) fn admit(&self, token: Option<&str>) -> Option<Arc<Grants>> {
        match self {
            Self::Tokens(file) => file.find(token?),
            Self::Anonymous(grants) => Some(Arc::clone(grants)),
        }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous(_))
    }
}

/// Reads a limit in the file.
fn limit<T>(
    name: &str,
    text: Option<String>,
    read: fn(&str) -> Result<T, units::ParseUnitError>,
) -> Result<Option<T>, String> {
    text.map(|text| read(&text).map_err(|error| format!("{name}: {error}"))).transpose()
}
