//! The ways to confine a RUN, and how one is asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a RUN is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// A user namespace whose root is an overlay of unpacked layers: layers are shared between builds, and the
    /// upper directory is what a RUN changed.
    Overlay,
    /// A user namespace whose root is a plain directory, made for one build.
    Userns,
    /// No namespace and no `chroot`: the pod's own root directory shows the image while a command runs, its entries
    /// being renamed into `/` and out again. For a root pod whose runtime forbids the others.
    InPlace,
    /// `chroot` and nothing else. On request only: a command finds no `/proc`.
    Chroot,
}

/// The value of `--isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationChoice {
    /// The best that this machine permits.
    #[default]
    Auto,
    /// This one or an error.
    Only(Isolation),
}

/// A text that is no `--isolation`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no isolation: expected `auto`, `overlay`, `userns`, `in-place` or `chroot`")]
pub struct ParseIsolationError {
    /// What was given.
    pub text: String,
}

impl Isolation {
    /// All, best first.
    pub const ALL: [Self; 4] = [Self::Overlay, Self::Userns, Self::InPlace, Self::Chroot];

    /// Whether commands are in namespaces of their own, with mounts of their own.
    pub fn has_namespaces(self) -> bool {
        matches!(self, Self::Overlay | Self::Userns)
    }

    /// The name that `--isolation` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Userns => "userns",
            Self::InPlace => "in-place",
            Self::Chroot => "chroot",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IsolationChoice {
    type Err = ParseIsolationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let known = Isolation::ALL.into_iter().find(|isolation| isolation.name() == text);
        known.map(Self::Only).ok_or_else(|| ParseIsolationError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_parsed() {
        assert_eq!("auto".parse(), Ok(IsolationChoice::Auto));
        for isolation in Isolation::ALL {
            assert_eq!(isolation.name().parse(), Ok(IsolationChoice::Only(isolation)));
            let json = serde_json::to_string(&isolation).unwrap();
            assert_eq!(json, format!("\"{isolation}\""));
        }
        assert_eq!(
            "Auto".parse::<IsolationChoice>().unwrap_err().to_string(),
            "`Auto` is no isolation: expected `auto`, `overlay`, `userns`, `in-place` or `chroot`"
        );
    }
}
