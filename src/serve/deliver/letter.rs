//! One thing to be told to somebody.

use serde::{Deserialize, Serialize};

use crate::serve::build::{BuildId, Moment};
use crate::serve::config::{Provider, SecretPlace};
use crate::serve::request::NotifyUrl;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum Kind {
    /// Of the end of a build.
    Notification,
    /// Of a commit.
    Status,
}

impl Kind {
    /// As it is written.
    pub(in crate::serve) fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Status => "status",
        }
    }
}

/// Where it goes, and what proves who sends it. Kept with the letter; the secret itself is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum Target {
    /// Signed as Standard Webhooks says, if there is a secret.
    Notification { url: NotifyUrl, secret: Option<SecretPlace> },
    /// To a provider's API.
    Status { provider: Provider, url: String, token: SecretPlace },
}

impl Target {
    pub(in crate::serve) fn kind(&self) -> Kind {
        match self {
            Self::Notification { .. } => Kind::Notification,
            Self::Status { .. } => Kind::Status,
        }
    }

    pub(in crate::serve) fn url(&self) -> &str {
        match self {
            Self::Notification { url, .. } => url.reveal(),
            Self::Status { url, .. } => url,
        }
    }

    /// `HOST` or `HOST:PORT`, which may be shown.
    pub(in crate::serve) fn host(&self) -> String {
        let url = url::Url::parse(self.url()).ok();
        url.map_or_else(String::new, |url| url.authority().to_owned())
    }
}

/// A letter, not yet queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Letter {
    pub(in crate::serve) build: BuildId,
    /// What it says in a word, like `build.succeeded` or `pending`.
    pub(in crate::serve) subject: String,
    pub(in crate::serve) target: Target,
    /// JSON.
    pub(in crate::serve) body: String,
}

/// A letter whose time has come.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Due {
    pub(in crate::serve) number: i64,
    /// The same at every attempt.
    pub(in crate::serve) id: String,
    pub(in crate::serve) build: BuildId,
    pub(in crate::serve) kind: Kind,
    pub(in crate::serve) host: String,
    pub(in crate::serve) subject: String,
    pub(in crate::serve) target: Target,
    pub(in crate::serve) body: String,
    /// Those that have failed.
    pub(in crate::serve) attempts: u32,
    pub(in crate::serve) created: Moment,
}

/// Where a letter is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::serve) enum DeliveryState {
    /// Not there yet.
    Pending,
    /// The receiver has it.
    Delivered,
    /// The receiver does not take it.
    GivenUp,
}

impl DeliveryState {
    /// As it is written.
    pub(in crate::serve) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given-up",
        }
    }

    pub(in crate::serve) fn by_name(name: &str) -> Self {
        match name {
            "delivered" => Self::Delivered,
            "given-up" => Self::GivenUp,
            _ => Self::Pending,
        }
    }
}

/// A letter as the record of its build shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::serve) struct Delivery {
    pub(in crate::serve) id: String,
    pub(in crate::serve) kind: String,
    pub(in crate::serve) subject: String,
    pub(in crate::serve) host: String,
    pub(in crate::serve) state: DeliveryState,
    pub(in crate::serve) attempts: u32,
    /// Of the last attempt.
    pub(in crate::serve) at: Option<Moment>,
    /// Of the next attempt.
    pub(in crate::serve) next_at: Option<Moment>,
    /// Why the last attempt failed.
    pub(in crate::serve) error: Option<String>,
}
