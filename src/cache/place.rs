//! Names of caches.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::image::{ImageRef, RepoName};

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachePlace {
    /// In a repository of a registry.
    Registry(RepoName),
    /// In an OCI image layout: `oci:PATH`.
    Layout(PathBuf),
}

/// Why a text names no cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCachePlaceError {
    /// Not the name of a repository.
    #[error("`{text}` is not a repository: {reason}; write REGISTRY/NAME, or oci:PATH for a directory")]
    Repository {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A tag or digest, where keys are the tags.
    #[error("`{0}` has a tag or digest; a cache is a whole repository, whose tags are keys")]
    Tagged(String),
    /// No directory.
    #[error("`oci:` needs the path of a directory")]
    NoPath,
}

impl FromStr for CachePlace {
    type Err = ParseCachePlaceError;

    /// `REGISTRY/NAME`, or `oci:PATH` as with Kaniko.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("oci:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(ParseCachePlaceError::NoPath)
            } else {
                Ok(Self::Layout(path.into()))
            };
        }
        let name: ImageRef = text.parse().map_err(|error: crate::image::ParseImageRefError| {
            ParseCachePlaceError::Repository { text: text.to_owned(), reason: error.to_string() }
        })?;
        let last = text.rsplit('/').next().unwrap_or_default();
        if name.digest().is_some() || (last.contains(':') && text.contains('/')) {
            return Err(ParseCachePlaceError::Tagged(text.to_owned()));
        }
        Ok(Self::Registry(name.repository().clone()))
    }
}

impl fmt::Display for CachePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => name.fmt(f),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_and_directories() {
        for (text, shown) in [
            ("registry:5000/cache", "registry:5000/cache"),
            ("localhost:5000/team/cache", "localhost:5000/team/cache"),
            ("team/cache", "docker.io/team/cache"),
            ("oci:/var/cache", "oci:/var/cache"),
            ("oci:///var/cache", "oci:/var/cache"),
            ("oci:cache", "oci:cache"),
        ] {
            assert_eq!(text.parse::<CachePlace>().unwrap().to_string(), shown);
        }
        for text in ["", "oci:", "registry/cache:1", "Registry/UPPER", "a/b@sha256:0"] {
            assert!(text.parse::<CachePlace>().is_err(), "{text}");
        }
    }
}
