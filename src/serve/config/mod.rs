//! `cooper.yaml`: which pushes to which repositories are built as what, and who is told.
//!
//! ```text
//! hooks ──────────► POST /v1/hooks/NAME: provider, secret, where commit statuses go
//! repositories ───► of a hook: address, builds (branches, tags, paths → a build request)
//! notify ─────────► told of the end of every build; repositories have their own besides
//! ```
//!
//! The file has no secrets, only the names of files and environment variables that have them. Addresses that are
//! fetched from or told something come from this file; from what a provider sends come commits and names of branches
//! and tags.

mod file;
mod place;
mod read;
mod rule;
mod secret;
mod template;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

pub(super) use rule::Rule;
pub(super) use secret::{SecretError, SecretPlace};
pub(super) use template::Values;

use super::build::State;
use crate::dockerfile::Diagnostics;

/// A file that is longer is none.
const MAX_FILE: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is longer than any configuration.
    #[error("`{}` has more than {MAX_FILE} bytes, which is the most a configuration may have", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It makes no sense.
    #[error("the configuration makes no sense:\n{0}")]
    Content(Diagnostics),
}

/// Who sends webhooks, and takes commit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub and GitHub Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
    /// Anybody who signs as Standard Webhooks says. Takes no statuses.
    Generic,
}

/// What is behind `/v1/hooks/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) provider: Provider,
    /// What signs, or is, the proof of who sends.
    pub(super) secret: SecretPlace,
    pub(super) statuses: Option<Statuses>,
}

/// Where commit statuses go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statuses {
    pub(super) token: SecretPlace,
    /// Without a slash at the end.
    pub(super) api: Url,
    /// What the statuses are called.
    pub(super) label: String,
}

/// Who is told of the end of builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotifyPlace {
    pub(super) url: Url,
    pub(super) secret: Option<SecretPlace>,
    /// Of which ends.
    pub(super) on: Vec<State>,
}

/// A repository whose pushes are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) hook: String,
    /// As its provider calls it, like `shop/app`.
    pub(super) name: String,
    pub(super) has_statuses: bool,
    pub(super) notify: Vec<NotifyPlace>,
    pub(super) rules: Vec<Rule>,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Config {
    pub(super) hooks: Vec<Hook>,
    pub(super) repositories: Vec<Repository>,
    pub(super) notify: Vec<NotifyPlace>,
    /// What notifications that requests ask for are signed with.
    pub(super) signing_secret: Option<SecretPlace>,
}

/// What a file has, for people who check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Webhooks that are taken.
    pub hooks: usize,
    /// Repositories.
    pub repositories: usize,
    /// Builds of all repositories.
    pub builds: usize,
}

impl Config {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        use std::io::Read as _;
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            return Err(ConfigError::TooLong { path: path.to_owned() });
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        Self::parse(&path.to_string_lossy(), &text, directory)
    }

    /// Understands a text. Files of secrets are beside it, in `directory`, if their paths are relative.
    pub(super) fn parse(name: &str, text: &str, directory: &Path) -> Result<Self, ConfigError> {
        let source = Arc::new(crate::dockerfile::Source::new(name, text));
        read::config(&source, directory).map_err(ConfigError::Content)
    }

    /// The hook of this name.
    pub(super) fn hook(&self, name: &str) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.name == name)
    }

    /// A hook's repository. Providers do not care for upper and lower case.
    pub(super) fn repository(&self, hook: &str, name: &str) -> Option<&Repository> {
        let is_it = |other: &&Repository| other.hook == hook && other.name.eq_ignore_ascii_case(name);
        self.repositories.iter().find(is_it)
    }

    /// All places of secrets.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretPlace> {
        let hooks = self.hooks.iter();
        let of_hooks = hooks
            .flat_map(|hook| [Some(&hook.secret), hook.statuses.as_ref().map(|statuses| &statuses.token)]);
        let of_repositories = self.repositories.iter().flat_map(|repository| &repository.notify);
        let of_notify = self.notify.iter().chain(of_repositories).map(|notify| notify.secret.as_ref());
        of_hooks.chain(of_notify).chain([self.signing_secret.as_ref()]).flatten()
    }

    fn summary(&self) -> Summary {
        Summary {
            hooks: self.hooks.len(),
            repositories: self.repositories.len(),
            builds: self.repositories.iter().map(|repository| repository.rules.len()).sum(),
        }
    }
}

/// Reads a file and says what it has.
pub fn check_config(path: &Path) -> Result<Summary, ConfigError> {
    Config::read(path).map(|config| config.summary())
}

#[cfg(test)]
mod tests;
