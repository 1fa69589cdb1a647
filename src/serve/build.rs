//! A build as the service keeps it: one record, and the ways its state can go.
//!
//! ```text
//! queued ──► running ──► succeeded | failed | cancelled
//!    ▲  │       │
//!    │  └───────┼──────► cancelled (by somebody, or by a newer request that supersedes it)
//!    └──────────┘ the service stopped, or the worker was killed: once
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::config::Provider;
use super::deploy::Deployment;
use super::request::{NotifyUrl, Request};
use crate::layer::Digest;
use crate::outcome::CacheUse;

/// How often a build is begun before it counts as failed.
pub(super) const ATTEMPTS: u32 = 2;

/// Names a build. Later ones sort behind earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct BuildId(String);

/// Digits of a build's name: 12 of the moment, 12 of chance.
const ID_LENGTH: usize = 24;

/// Why a text names no build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a build is named by {ID_LENGTH} hexadecimal digits")]
pub struct ParseBuildIdError;

impl BuildId {
    /// A new one. Fails when the system has no random numbers.
    pub(super) fn new(now: Moment) -> std::io::Result<Self> {
        use fmt::Write as _;
        let mut chance = [0_u8; 6];
        rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty())?;
        let mut text = format!("{:012x}", now.0 & 0xffff_ffff_ffff);
        for byte in chance {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildId {
    type Err = ParseBuildIdError;

    fn from_str(text: &str) -> Result<Self, ParseBuildIdError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == ID_LENGTH && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseBuildIdError)
        }
    }
}

impl TryFrom<String> for BuildId {
    type Error = ParseBuildIdError;

    fn try_from(text: String) -> Result<Self, ParseBuildIdError> {
        text.parse()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Milliseconds since 1970; written as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(pub i64);

impl Moment {
    /// By the system's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// So many seconds from `other` to this; 0 if it is before.
    pub fn seconds_since(self, other: Self) -> f64 {
        let milliseconds = u32::try_from((self.0 - other.0).max(0)).unwrap_or(u32::MAX);
        f64::from(milliseconds) / 1000.0
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        let timestamp = jiff::Timestamp::from_millisecond(moment.0).unwrap_or_default();
        format!("{timestamp:.3}")
    }
}

impl TryFrom<String> for Moment {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|timestamp| Self(timestamp.as_millisecond()))
    }
}

/// Where a build is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// A worker is at it.
    Running,
    /// The image was pushed, and deployed if that was asked for.
    Succeeded,
    /// It was not; `error` says why. If there is a `result`, the image was pushed, and deploying it failed.
    Failed,
    /// Somebody did not want it any more, or a newer one took its place.
    Cancelled,
}

impl State {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What a build takes of the budget while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Thousandths of a processor.
    pub millicpus: u32,
    /// Bytes of memory. Also the worker's limit, where the system grants one.
    pub memory: u64,
}

impl Need {
    /// Whether this much is left when `used` is taken away.
    pub(super) fn leaves(self, used: Self, need: Self) -> bool {
        used.millicpus.saturating_add(need.millicpus) <= self.millicpus
            && used.memory.saturating_add(need.memory) <= self.memory
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            millicpus: self.millicpus.saturating_add(other.millicpus),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            millicpus: self.millicpus.saturating_sub(other.millicpus),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    /// Nothing.
    pub(super) const NONE: Self = Self { millicpus: 0, memory: 0 };
}

/// An uploaded context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Of the archive's bytes.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// The image that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Of the manifest, or of the index.
    pub digest: Digest,
    /// The names it was pushed under.
    pub images: Vec<String>,
}

/// The push that a build was asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The name of the hook that it came by.
    pub hook: String,
    /// Who sent it.
    pub provider: Provider,
    /// As its provider calls it.
    pub repository: String,
    /// The full name of what was pushed, like `refs/heads/main`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What is built.
    pub commit: String,
    /// Which of the repository's builds this is.
    pub rule: String,
    /// Who made the commit.
    pub author: Option<String>,
    /// The first line of what the author said.
    pub message: Option<String>,
    /// Where the commit is shown.
    pub link: Option<String>,
}

/// The record of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its name.
    pub id: BuildId,
    /// Whose builds it takes turns with.
    pub project: String,
    /// Where it is on its way.
    pub state: State,
    /// The token that asked for it first.
    pub by: String,
    /// Higher ones begin first.
    pub priority: i32,
    /// After so many seconds it is ended.
    pub timeout_seconds: u64,
    /// What it takes of the budget.
    pub need: Need,
    /// What was asked for.
    pub request: Request,
    /// The context, if it came with the request.
    pub upload: Option<Upload>,
    /// When it was asked for.
    pub created_at: Moment,
    /// When it was begun last.
    pub started_at: Option<Moment>,
    /// When it came to its end.
    pub ended_at: Option<Moment>,
    /// How often it was begun.
    pub attempts: u32,
    /// How many requests it answers.
    pub requests: u32,
    /// The push that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Who asked to be told of the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<NotifyUrl>,
    /// The build that this is a repetition of.
    pub rebuild_of: Option<BuildId>,
    /// The build that took its place in the queue.
    pub superseded_by: Option<BuildId>,
    /// Whether it is to end as cancelled.
    pub is_cancelling: bool,
    /// The image, once pushed.
    pub result: Option<Built>,
    /// Who gets the image, and how that goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<Deployment>,
    /// What the cluster said last of its Job, when builds are Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Why it failed, or was cancelled.
    pub error: Option<String>,
    /// What its worker ended with.
    pub exit_code: Option<u8>,
    /// What the caches were good for, once it has ended and if it came so far.
    pub cache: Option<CacheUse>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Succeeded(Built),
    Failed { error: String, exit_code: Option<u8> },
    Cancelled { reason: String },
}

impl Build {
    /// Whether the image is pushed, and only deploying it is left.
    pub(super) fn is_deploying(&self) -> bool {
        self.result.is_some() && !self.request.set_image.is_empty() && !self.state.is_end()
    }

    /// What it takes of the budget now: nothing, once there is nothing left to build.
    pub(super) fn present_need(&self) -> Need {
        if self.is_deploying() { Need::NONE } else { self.need }
    }

    /// Queued → running.
    pub(super) fn start(&mut self, now: Moment) {
        debug_assert_eq!(self.state, State::Queued);
        self.state = State::Running;
        self.started_at = Some(now);
        self.attempts += 1;
    }

    /// Queued or running → an end. What has ended stays as it is; says whether this was the end.
    pub(super) fn end(&mut self, ending: Ending, now: Moment) -> bool {
        if self.state.is_end() {
            return false;
        }
        self.ended_at = Some(now);
        match ending {
            Ending::Succeeded(built) => {
                self.state = State::Succeeded;
                self.result = Some(built);
                self.exit_code = Some(0);
            }
            Ending::Failed { error, exit_code } => {
                self.state = State::Failed;
                self.error = Some(error);
                self.exit_code = exit_code;
            }
            Ending::Cancelled { reason } => {
                self.state = State::Cancelled;
                self.error = Some(reason);
            }
        }
        true
    }

    /// Running → queued, or to its end if it was begun often enough or is not wanted any more.
    pub(super) fn interrupt(&mut self, why: &str, now: Moment) {
        if self.is_cancelling {
            self.end(Ending::Cancelled { reason: "cancelled".to_owned() }, now);
        } else if self.attempts >= ATTEMPTS {
            let error = format!("{why}, {} times; it is not tried again", self.attempts);
            self.end(Ending::Failed { error, exit_code: None }, now);
        } else {
            self.state = State::Queued;
        }
    }

    /// Running → queued as if it had not been begun, since it was the service that ended it in good order.
    pub(super) fn hand_back(&mut self, now: Moment) {
        self.attempts = self.attempts.saturating_sub(1);
        self.interrupt("the service was stopped", now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_moments_are_read_back() {
        let (one, two) = (BuildId::new(Moment(1)).unwrap(), BuildId::new(Moment(2)).unwrap());
        assert!(one < two);
        assert_eq!(one.to_string().parse(), Ok(one));
        for text in ["", "../../../etc/passwd00000", "00000000000000000000000G"] {
            assert!(text.parse::<BuildId>().is_err());
        }
        let text = String::from(Moment(1_767_225_600_123));
        assert_eq!(text, "2026-01-01T00:00:00.123Z");
        assert_eq!(Moment::try_from(text).unwrap(), Moment(1_767_225_600_123));
    }
}
