//! What a request says of all its RUNs at once. None of it is part of a step's identity.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::process::Resource;
use serde::{Deserialize, Serialize};

/// What all RUNs of a build have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunSettings {
    /// `--shm-size`: most bytes in `/dev/shm`; 64 MiB if not given.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--emulator`: a static program that executes programs of other architectures.
    pub emulator: Option<PathBuf>,
}

/// A limit of the resources of each process, see setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ulimit {
    /// As in docker: `nofile`, `nproc`, …
    name: String,
    /// What is in force, and how far a process may raise it; `None` is no limit.
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUlimitError {
    /// It has another form.
    #[error("`{0}` is no limit: write NAME=SOFT[:HARD] with numbers, or -1 for no limit")]
    Form(String),
    /// There is no such limit.
    #[error("there is no limit `{name}`; there are {}", Ulimit::NAMES.map(|(name, _)| name).join(", "))]
    Name {
        /// What was given.
        name: String,
    },
    /// The soft limit is above the hard one.
    #[error("in `{0}` the soft limit is above the hard one")]
    Order(String),
}

impl Ulimit {
    const NAMES: [(&'static str, Resource); 15] = [
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];

    /// The resource, the limit in force, and the highest.
    pub(super) fn parts(&self) -> Option<(Resource, Option<u64>, Option<u64>)> {
        let (_, resource) = Self::NAMES.into_iter().find(|(name, _)| *name == self.name)?;
        Some((resource, self.soft, self.hard))
    }
}

impl FromStr for Ulimit {
    type Err = ParseUlimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseUlimitError::Form(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        if !Self::NAMES.iter().any(|(known, _)| *known == name) {
            return Err(ParseUlimitError::Name { name: name.to_owned() });
        }
        let value = |text: &str| match text {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| form()),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(soft)?, value(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(ParseUlimitError::Order(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

impl TryFrom<String> for Ulimit {
    type Error = ParseUlimitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Ulimit> for String {
    fn from(limit: Ulimit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<u64>| value.map_or("-1".to_owned(), |value| value.to_string());
        write!(f, "{}={}:{}", self.name, value(self.soft), value(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed() {
        for (text, expected) in [
            ("nofile=1024:2048", Some("nofile=1024:2048")),
            ("nproc=7", Some("nproc=7:7")),
            ("core=-1", Some("core=-1:-1")),
            ("stack=1:-1", Some("stack=1:-1")),
            ("nofile", None),
            ("nofile=", None),
            ("files=1", None),
            ("nofile=2:1", None),
            ("nofile=-1:1", None),
            ("nofile=1:2:3", None),
        ] {
            assert_eq!(
                text.parse::<Ulimit>().ok().map(|limit| limit.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
