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
pub enum ParseIsolationError {
    /// Known, but not built yet.
    #[error("isolation `{0}` is not supported yet: use `auto`, `overlay` or `userns`")]
    Unsupported(String),
    /// Not a name of an isolation.
    #[error("`{0}` is no isolation: expected `auto`, `overlay` or `userns`")]
    Unknown(String),
}

impl Isolation {
    /// The name that `--isolation` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Userns => "userns",
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
        match text {
            "auto" => Ok(Self::Auto),
            "overlay" => Ok(Self::Only(Isolation::Overlay)),
            "userns" => Ok(Self::Only(Isolation::Userns)),
            "in-place" | "chroot" => Err(ParseIsolationError::Unsupported(text.to_owned())),
            _ => Err(ParseIsolationError::Unknown(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_parsed() {
        assert_eq!("auto".parse(), Ok(IsolationChoice::Auto));
        for isolation in [Isolation::Overlay, Isolation::Userns] {
            assert_eq!(isolation.name().parse(), Ok(IsolationChoice::Only(isolation)));
        }
        for (text, message) in [
            ("in-place", "isolation `in-place` is not supported yet: use `auto`, `overlay` or `userns`"),
            ("Auto", "`Auto` is no isolation: expected `auto`, `overlay` or `userns`"),
        ] {
            assert_eq!(text.parse::<IsolationChoice>().unwrap_err().to_string(), message);
        }
    }
}
